"""Which files there are: discovery, the journal that numbers them, what a batch takes."""

"""Who is told what goes wrong, once, until it is well again."""

"""The orders: the example that the project's own ``lakehouse.yaml`` declares, with what is theirs alone."""

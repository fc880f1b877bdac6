"""``lakehouse.yaml``: read, checked, and made into a ``Catalogue``."""

from lakehouse.declaration.reading import read_catalogue

__all__ = ["read_catalogue"]

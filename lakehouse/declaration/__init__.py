"""``lakehouse.yaml``: read, checked, and made into a ``Catalogue``."""

from lakehouse.declaration.problems import DeclarationInvalid, Problem
from lakehouse.declaration.reading import read_catalogue

__all__ = ["DeclarationInvalid", "Problem", "read_catalogue"]

"""``lakehouse.yaml``: read, checked, and made into a ``Catalogue``."""

from lakehouse.declaration.naming import check_names
from lakehouse.declaration.options import notes_of_options
from lakehouse.declaration.problems import DeclarationInvalid, Problem
from lakehouse.declaration.reading import catalogue_or_none, read_catalogue
from lakehouse.declaration.schema import json_schema
from lakehouse.declaration.variables import unknown_variables, warnings_of_variables

__all__ = [
    "DeclarationInvalid",
    "Problem",
    "catalogue_or_none",
    "check_names",
    "json_schema",
    "notes_of_options",
    "read_catalogue",
    "unknown_variables",
    "warnings_of_variables",
]

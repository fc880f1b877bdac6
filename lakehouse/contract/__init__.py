"""The contract of a table: the columns its readers count on, pinned in a file of the Open Data Contract Standard."""

from lakehouse.contract.columns import SIGNS, Difference, differences, schema_changes, types, types_of_table
from lakehouse.contract.pinned import Contract, accept, convert, pin, read_contract
from lakehouse.contract.writing import as_odcs

__all__ = [
    "SIGNS",
    "Contract",
    "Difference",
    "accept",
    "as_odcs",
    "convert",
    "differences",
    "pin",
    "read_contract",
    "schema_changes",
    "types",
    "types_of_table",
]

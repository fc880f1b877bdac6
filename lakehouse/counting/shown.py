"""Rows for samples: Arrow's values as the Python values that Spark would return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from lakehouse.counting.conditions import Condition
from lakehouse.counting.data_files import DataFiles
from lakehouse.python_values import listed_rows

_VARIANT = {"value": pa.binary(), "metadata": pa.binary()}


def first_rows(
    files: DataFiles, paths: Sequence[str], condition: Condition, columns: Sequence[str], most: int
) -> list[dict[str, Any]]:
    """The first rows of some files that fulfil a condition, ``most`` at most."""
    found: list[dict[str, Any]] = []
    for path in paths:
        for _, batch in files.batches([path], list(dict.fromkeys((*columns, *condition.columns)))):
            found += rows_shown(batch.filter(condition.holds(batch)).slice(0, most - len(found)).select(list(columns)))
        if len(found) >= most:
            break
    return found


def rows_shown(batch: pa.RecordBatch | pa.Table) -> list[dict[str, Any]]:
    """The rows, each a dictionary by column."""
    return [
        {name: _shown(row[name], type_) for name, type_ in zip(batch.schema.names, batch.schema.types, strict=True)}
        for row in listed_rows(batch)
    ]


def _shown(value: Any, type_: pa.DataType) -> Any:
    if value is None or isinstance(value, str):  # a time that Python has not is its text
        return value
    if pa.types.is_timestamp(type_):
        return value.astimezone().replace(tzinfo=None) if type_.tz is not None else value
    if pa.types.is_struct(type_):
        fields = {type_.field(number).name: type_.field(number).type for number in range(type_.num_fields)}
        if fields == _VARIANT:
            from pyspark.sql.types import VariantVal

            return VariantVal(value["value"], value["metadata"])
        return {name: _shown(item, type_.field(name).type) for name, item in value.items()}
    if pa.types.is_map(type_):
        return {_shown(key, type_.key_type): _shown(item, type_.item_type) for key, item in value}
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return [_shown(item, type_.value_type) for item in value]
    return value

"""Whole files as bytes: one row a file, with the columns of Spark's ``binaryFile``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import IO

import numpy as np
import pyarrow as pa
from pyspark.sql.types import StructType

from lakehouse.autoloader.formats.rows import BadFile, Rows, Target
from lakehouse.errors import ConfigurationError

MAX_BYTES = 2**31 - 1
"""The length limit of a BINARY value of Spark."""

_COLUMNS = {"path": "string", "modificationTime": "timestamp", "length": "bigint", "content": "binary"}


def parse_binary_file(file: IO[bytes], target: Target) -> Iterator[Rows]:
    """The file's one row. Errors as ``binary_file_rows``."""
    modified = target.modified or datetime.fromtimestamp(0, UTC)
    yield binary_file_rows(file.read(), path=target.path, modified=modified, schema=target.schema)


def infer_binary_file(files: Iterable[IO[bytes]], *, reader: Mapping[str, str], infer_column_types: bool) -> StructType:
    """Spark's four columns; no file is looked at."""
    schema = StructType()
    for name, type_ in _COLUMNS.items():
        schema.add(name, "long" if type_ == "bigint" else type_)  # without a session only JSON's names are known
    return schema


def binary_file_rows(content: bytes, *, path: str, modified: datetime, schema: StructType) -> Rows:
    """The file's row.

    Args:
        content: All bytes of the file.
        path: Its full path.
        modified: When it was written; aware.
        schema: Any of Spark's four columns, in any order.

    Raises:
        BadFile: the file is longer than a BINARY value can be.
        ConfigurationError: the schema has other columns or types.
    """
    if len(content) > MAX_BYTES:
        raise BadFile("TOO_LARGE", f"{len(content):,} bytes are more than the {MAX_BYTES:,} of a BINARY value")
    for field in schema.fields:
        if _COLUMNS.get(field.name) != field.dataType.simpleString():
            known = ", ".join(f"{name} {type_.upper()}" for name, type_ in _COLUMNS.items())
            raise ConfigurationError(
                f"binary files have the columns {known}, not {field.name} {field.dataType.simpleString().upper()}"
            )
    arrow = {"path": pa.string(), "modificationTime": pa.timestamp("us", "UTC"), "length": pa.int64()}
    values = {"path": path, "modificationTime": modified, "length": len(content), "content": content}
    fields = [pa.field(column.name, arrow.get(column.name, pa.binary()), column.nullable) for column in schema.fields]
    arrays = [pa.array([values[field.name]], field.type) for field in fields]
    return Rows(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), np.zeros(1, np.int64))

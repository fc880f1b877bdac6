"""Whether a table can be written directly. Where it cannot, the reason is logged, and Spark writes the table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import types as T  # noqa: N812

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.errors import ConfigurationError

if TYPE_CHECKING:
    from deltalake import DeltaTable

_WRITABLE = {"appendOnly", "timestampNtz"}
"""Table features that demand nothing of a writer that only adds rows."""
_MERGEABLE = {*_WRITABLE, "changeDataFeed", "invariants"}
"""Table features that ``deltalake`` respects in a MERGE."""
_PLAIN = (
    T.StringType,
    T.BooleanType,
    T.ByteType,
    T.ShortType,
    T.IntegerType,
    T.LongType,
    T.FloatType,
    T.DoubleType,
    T.DecimalType,
    T.DateType,
    T.TimestampType,
    T.BinaryType,
)
_PARTITIONING = (
    *(T.StringType, T.BooleanType, T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.DateType, T.DecimalType),
)
"""Types whose values every writer spells alike in a folder's name."""


class NotDirect(Exception):
    """Only Spark can write the table; the text says why. Nothing of the batch is committed."""


def why_not(options: CloudFilesOptions) -> str:
    """Why a stream's options need Spark; empty when they do not."""
    if options.profile:
        return "cloudFiles.profile names other keys than the lake's"
    return ""


def require_direct(
    opened: DeltaTable | None, rows: T.StructType, partition_by: Sequence[str], *, merges: bool = False
) -> None:
    """Makes sure that rows of these columns can be added to a table without Spark.

    Args:
        opened: The table; None before there is one.
        rows: The columns.
        partition_by: The partition columns.
        merges: Whether ``deltalake`` merges them, which respects more features than a commit of our own.

    Raises:
        NotDirect: they cannot.
        ConfigurationError: a partition column is not there.
    """
    for field in rows.fields:
        if not _plain(field.dataType) and (merges or not isinstance(field.dataType, T.TimestampNTZType)):
            raise NotDirect(f"column {field.name} is a {field.dataType.simpleString()}")
    for name in partition_by:
        if name not in rows.names:
            raise ConfigurationError(
                f"partition_by names {name}, and the files have no such column",
                where="partition_by",
                state="nothing was read or written",
                next_command=f"name one of: {', '.join(rows.names)}",
            )
        if not isinstance(rows[name].dataType, _PARTITIONING):
            raise NotDirect(f"partition column {name} is a {rows[name].dataType.simpleString()}")
    if opened is None:
        return
    protocol = opened.protocol()
    features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
    writable, versions = (_MERGEABLE, (1, 2, 3, 4, 7)) if merges else (_WRITABLE, (1, 2, 7))
    if features - writable or protocol.min_writer_version not in versions:
        raise NotDirect(
            f"the table has features of its own: {', '.join(sorted(features)) or protocol.min_writer_version}"
        )
    local = next((column.name for column in rows.fields if isinstance(column.dataType, T.TimestampNTZType)), None)
    if local and "timestampNtz" not in features:
        raise NotDirect(f"column {local} needs the feature timestampNtz, which the table has not")
    metadata = opened.metadata()
    if any(name.startswith("delta.constraints.") for name in metadata.configuration):
        raise NotDirect("the table has constraints")
    if tuple(metadata.partition_columns) != tuple(partition_by):
        raise NotDirect("the table has other partition columns than its declaration")
    known = {field["name"].lower(): field for field in _fields(opened)}
    for field in rows.fields:
        has = known.get(field.name.lower())
        if has is None:
            continue
        if has["name"] != field.name or has["type"] != field.dataType.jsonValue():
            raise NotDirect(f"column {field.name} has another type or spelling in the table")
    if any(not field["nullable"] or field["metadata"] for field in known.values()):
        raise NotDirect("columns of the table are NOT NULL or have metadata")


def _fields(opened: DeltaTable) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(opened.schema().to_json())["fields"]
    return found


def _plain(type_: T.DataType) -> bool:
    if isinstance(type_, T.StructType):
        return all(_plain(field.dataType) for field in type_.fields)
    if isinstance(type_, T.ArrayType):
        return _plain(type_.elementType)
    if isinstance(type_, T.MapType):
        return _plain(type_.keyType) and _plain(type_.valueType)
    return type(type_) in _PLAIN

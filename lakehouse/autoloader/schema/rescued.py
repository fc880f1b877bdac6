"""The column that ``rescuedDataColumn`` names, added to a given schema by code that builds the reading itself."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql.types import StringType, StructField, StructType

from lakehouse.autoloader.formats.registry import FORMATS

_NAMES = ("rescueddatacolumn", "cloudfiles.rescueddatacolumn")


def named_rescued(options: Mapping[str, str]) -> str | None:
    """The column for rescued data that a stream's options name, as they were given; None where they name none."""
    lower = {name.lower(): value for name, value in options.items()}
    format_ = FORMATS.get(lower.get("cloudfiles.format", "").strip())
    named = next((lower[name].strip() for name in _NAMES if name in lower), "")
    return named or None if format_ and format_.has_fields else None


def with_rescued(schema: StructType, options: Mapping[str, str]) -> StructType:
    """The schema with that column at its end, as Databricks adds it, where it has none of the name."""
    name = named_rescued(options)
    if name is None or name in schema.names:
        return schema
    return StructType([*schema.fields, StructField(name, StringType())])

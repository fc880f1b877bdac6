"""Columns as a document of the Open Data Contract Standard; what people wrote into an older document stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pyspark.sql.types import ArrayType, DataType, DecimalType, MapType, StructField, StructType

from lakehouse.autoloader.schema.hints import written

API_VERSION = "v3.1.0"
"""All that is written here is in it; later ones read it."""

_LOGICAL = {
    "tinyint": "integer",
    "smallint": "integer",
    "int": "integer",
    "bigint": "integer",
    "float": "number",
    "double": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp_ntz": "timestamp",
    "string": "string",
}
_TYPE_KEYS = ("logicalType", "physicalType", "properties", "items", "map")


def as_odcs(
    table: str, columns: StructType, *, description: str = "", before: Mapping[str, Any] | None = None, at: int = 0
) -> dict[str, Any]:
    """The document of one table.

    Args:
        table: ``layer.name``.
        columns: Its columns.
        description: What the table is.
        before: An older document, whose words and other schemas stay.
        at: Which of its schemas is the table's.
    """
    name = table.split(".", 1)[1]
    if before is None:
        head = {"name": name, "physicalName": table, "physicalType": "table", "logicalType": "object"}
        about = {"description": description} if description else {}
        schema = {**head, **about, "properties": _properties(columns, ())}
        ids = {"kind": "DataContract", "apiVersion": API_VERSION, "id": table, "name": table, "version": "1.0.0"}
        return {**ids, "status": "active", "schema": [schema]}
    schemas = list(before["schema"])
    schemas[at] = {**schemas[at], "properties": _properties(columns, schemas[at].get("properties") or ())}
    return {**before, "schema": schemas}


def text_of(document: Mapping[str, Any]) -> str:
    """The document as YAML."""
    return yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=120)


def _properties(columns: StructType, before: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    known = {entry.get("physicalName") or entry.get("name"): entry for entry in before}
    return [_property(column, known.get(column.name, {})) for column in columns.fields]


def _property(column: StructField, before: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in before.items() if key not in _TYPE_KEYS}
    return {"name": column.name, **kept, **_type(column.dataType, before)}


def _type(type_: DataType, before: Mapping[str, Any]) -> dict[str, Any]:
    match type_:
        case StructType():
            return {
                "logicalType": "object",
                "physicalType": "struct",
                "properties": _properties(type_, before.get("properties") or ()),
            }
        case ArrayType():
            items = before.get("items") or {}
            kept = {key: value for key, value in items.items() if key not in _TYPE_KEYS}
            return {
                "logicalType": "array",
                "physicalType": "array",
                "items": {**kept, **_type(type_.elementType, items)},
            }
        case MapType():
            return {"logicalType": "object", "physicalType": written(type_)}
        case DecimalType():
            return {"logicalType": "number", "physicalType": type_.simpleString()}
    name = type_.simpleString()
    # the standard's JSON Schema takes a property without a logical type for a map
    return {"logicalType": _LOGICAL.get(name, "string"), "physicalType": name}

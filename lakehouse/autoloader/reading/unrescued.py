"""What would be rescued where the given schema has no column for it: the stream ends there, and nothing is lost.

Databricks adds the column that ``rescuedDataColumn`` names to a schema of ``.schema(...)``. Spark lets a Python data
source add none: files in which all fits are loaded, and the first value that does not is an error.
"""

from __future__ import annotations

import json
from collections.abc import Container

import pyarrow.compute as pc

from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.formats.rows import NOTES
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import key_uri
from lakehouse.autoloader.reading.loaded import Loaded
from lakehouse.errors import StreamFailed


def without_place(options: CloudFilesOptions, columns: Container[str]) -> str | None:
    """The column for rescued data that the options name and the stream's columns lack; None without such a column."""
    name = options.rescued_data_column
    return None if name is None or name in columns or not FORMATS[options.format].has_fields else name


def refuse_unrescued(loaded: Loaded, column: str, bucket: str) -> None:
    """Raises where a row has a value for ``column``, which was read beside the stream's own.

    Raises:
        StreamFailed: there is such a row.
    """
    texts = loaded.table[column]
    if texts.null_count == len(texts):
        return
    row = pc.index(pc.is_valid(texts), True).as_py()
    fields = ", ".join(name for name in json.loads(texts[row].as_py()) if name not in NOTES) or "the whole record"
    raise StreamFailed(
        f"a value does not fit the schema of .schema(...), without the column {column} that would keep it: {fields}",
        where=f"{key_uri(bucket, loaded.spans[loaded.owners[row]].key)}, record {int(loaded.records[row]):,}",
        state="the batch was not committed; nothing is lost",
        next_command=f"add `{column} STRING` to the schema and start the stream again: it goes on here; "
        "or leave rescuedDataColumn out",
    )

"""From rescued data back into columns: values that a column can take now leave ``_rescued_data`` for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import ArrayType, StringType, StructField, StructType

from lakehouse.autoloader.formats.arrow_columns import converted
from lakehouse.autoloader.formats.json import parse_json_lines
from lakehouse.autoloader.formats.json_text import LineScanner, Members, dump
from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.formats.rows import FILE_PATH
from lakehouse.autoloader.formats.text import values_of

PROMOTED = "_promoted"
"""Names of the columns that a row got a value for; only in what ``Promoter`` returns."""


@dataclass(frozen=True)
class Promoter:
    """For ``mapInArrow``: reads what was rescued again, with the columns that there are now.

    Attributes:
        schema: The table's columns as they shall be.
        columns: Those that fields of files fill.
        rescued: The column of rescued data.
        format: ``cloudFiles.format``: values from CSV are text of their types, all others JSON.
        reader: Options of the format's reader.
    """

    schema: StructType
    columns: StructType
    rescued: str
    format: str
    reader: Mapping[str, str]

    @property
    def returns(self) -> StructType:
        """The schema of the result: the table's columns, and ``_promoted`` ARRAY<STRING>."""
        return StructType([*self.schema.fields]).add(PROMOTED, ArrayType(StringType()))

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows with something rescued; each comes out once, in its place, with what can be promoted."""
        wanted = to_arrow_schema(self.returns, timezone="UTC")
        for batch in batches:
            arrays = {
                field.name: converted(batch.column(field.name), field.type)
                if field.name in batch.schema.names
                else pa.nulls(batch.num_rows, field.type)
                for field in wanted
                if field.name != PROMOTED
            }
            promoted = self._promote(arrays)
            yield pa.RecordBatch.from_arrays([*arrays.values(), promoted], schema=wanted)

    def _promote(self, arrays: dict[str, pa.Array]) -> pa.Array:
        texts = arrays[self.rescued].to_pylist()
        documents = [_members(text) for text in texts]
        read, unread = self._read(documents)
        done: list[list[str]] = [[] for _ in texts]
        taken = {name: np.arange(len(texts)) for name in self.columns.names}
        for row, document in enumerate(documents):
            names = {name for name, _ in document}
            complete = set()
            for name in names & set(self.columns.names):
                old, new = arrays[name][row].as_py(), read[name][row].as_py()
                if new is None or not _extends(new, old):
                    continue
                if new != old:
                    taken[name][row] += len(texts)
                if name not in unread[row]:
                    complete.add(name)
                if new != old or name in complete:
                    done[row].append(name)
            if complete:
                texts[row] = _without(document, complete)
        for name, index in taken.items():
            if (index >= len(texts)).any():
                both = pa.chunked_array([arrays[name], _one(read[name])])
                arrays[name] = _one(both.take(pa.array(index)))
        arrays[self.rescued] = pa.array(texts, pa.string())
        return pa.array(done, pa.list_(pa.string()))

    def _read(self, documents: list[Members]) -> tuple[dict[str, Any], list[set[str]]]:
        """For each column its values, and for each row the names of fields that are not, or not wholly, in them."""
        if FORMATS[self.format].rescues_text:
            return self._read_texts(documents)
        lines = "\n".join(_text(document) for document in documents).encode()
        schema = StructType([*self.columns.fields, StructField(self.rescued, StringType())])
        read = parse_json_lines(lines, schema, reader={}, path_at=lambda line: "", rescued_column=self.rescued).table
        unread = [set(json.loads(text)) if text else set() for text in read[self.rescued].to_pylist()]
        return {name: read[name] for name in self.columns.names}, unread

    def _read_texts(self, documents: list[Members]) -> tuple[dict[str, Any], list[set[str]]]:
        read: dict[str, Any] = {}
        unread: list[set[str]] = [set() for _ in documents]
        for field in self.columns.fields:
            texts = [_only_text(document, field.name) for document in documents]
            read[field.name] = values_of(pa.array(texts, pa.string()), field.dataType, self.reader)
            for row in range(len(documents)):
                if not read[field.name][row].is_valid:
                    unread[row].add(field.name)
        return read, unread


def _members(text: str) -> Members:
    document, _ = LineScanner({}).scan(text)
    return document if type(document) is Members else Members()


def _text(members: Members) -> str:
    fields = (f"{json.dumps(name, ensure_ascii=False)}:{dump(value)}" for name, value in members if name != FILE_PATH)
    return "{" + ",".join(fields) + "}"


def _without(members: Members, names: set[str]) -> str | None:
    """The rescued data that are left; None when only the file's path is."""
    left = [(name, value) for name, value in members if name not in names]
    if all(name == FILE_PATH for name, _ in left):
        return None
    return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{dump(value)}" for name, value in left) + "}"


def _only_text(members: Members, name: str) -> str | None:
    found = [value for key, value in members if key == name]
    return str(found[0]) if len(found) == 1 and isinstance(found[0], str) else None


def _extends(new: Any, old: Any) -> bool:
    """Whether a value has all that the present value has: a promotion never overwrites another value."""
    if old is None:
        return True
    if isinstance(old, dict) and isinstance(new, dict):
        return all(_extends(new.get(name), part) for name, part in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_extends, new, old))
    return bool(new == old)


def _one(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array

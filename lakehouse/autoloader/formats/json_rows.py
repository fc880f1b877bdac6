"""Reads the JSON that the fast path leaves over, by Spark's rules, a document at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import types as T  # noqa: N812

from lakehouse.autoloader.formats.collected import Collector, Part
from lakehouse.autoloader.formats.format import is_true
from lakehouse.autoloader.formats.json_text import (
    BLANK,
    LineScanner,
    Malformed,
    Members,
    Spelling,
    SpellingNeeded,
)
from lakehouse.autoloader.formats.json_values import BAD, TEXTS, Converters, as_string
from lakehouse.autoloader.formats.rows import QUARANTINE, PathAt
from lakehouse.autoloader.lineage import CORRUPT_RECORD

_BOM = "\ufeff"


_FEW = 16


def in_order(parts: list[Part]) -> Part:
    """The rows of all parts in the order of their records."""
    parts = [part for part in parts if part[0].num_rows] or parts[:1]
    records = np.concatenate([numbers for _, numbers in parts])
    table = pa.concat_tables([table for table, _ in parts]) if len(parts) > 1 else parts[0][0]
    if (records[1:] >= records[:-1]).all():
        return table, records
    order = np.argsort(records, kind="stable")
    return table.take(order), records[order]


class RowReader(Collector):
    """Collects rows of documents."""

    unit = "line"

    def __init__(
        self,
        schema: T.StructType,
        reader: Mapping[str, str],
        path_at: PathAt,
        corrupt_column: str | None,
        rescued_column: str | None,
    ) -> None:
        super().__init__(schema, reader, path_at, corrupt_column, rescued_column)
        self._multi_line = is_true(reader, "multiline")
        self._converters = Converters(reader)
        self._scanner = LineScanner(reader)
        special = (self._corrupt, self._rescued)
        self._columns = {
            field.name: (index, self._converters.of(field.dataType, field.name))
            for index, field in enumerate(schema.fields)
            if index not in special
        }
        self._any_case = not is_true(reader, "readercasesensitive", True)
        self._by_lower_case = {name.lower(): column for name, column in self._columns.items()}

    def read(self, data: bytes, first_line: int) -> Part:
        """The rows of lines, with those before them that ``document`` read.

        Lines with the same fields in the same order become columns together, which takes half the time.
        """
        try:
            lines = data.decode().split("\n")
        except UnicodeDecodeError:
            for number, line in enumerate(data.split(b"\n"), first_line):
                self.document(line, number)
            return self.take()
        alike: dict[tuple[str, ...], tuple[list[tuple[Any, ...]], list[int]]] = {}
        for number, text in enumerate(lines):
            try:
                value, end = self._scanner.scan(text)
            except Malformed:
                end = -1
            if end == len(text) and type(value) is Members and value and "\r" not in text:
                names, values = zip(*value, strict=True)
                group = alike.get(names)
                if group is None:
                    group = alike[names] = ([], [])
                group[0].append(values)
                group[1].append(number)
            else:
                self.document(text, first_line + number)
        parts = []
        for names, (rows, numbers) in alike.items():
            table, rest = self._together(names, rows, numbers, first_line)
            for number in rest:
                self.document(lines[number], first_line + number)
            if table is not None:
                chosen = np.array(numbers if not rest else sorted(set(numbers).difference(rest)), dtype=np.int64)
                parts.append((table, chosen + first_line))
        return in_order([*parts, self.take()])

    def _together(
        self, names: tuple[str, ...], rows: list[tuple[Any, ...]], numbers: list[int], first_line: int
    ) -> tuple[pa.Table | None, list[int]]:
        """A table of the rows that convert, all with the same fields, and the numbers of the rows that do not."""
        if len(rows) < _FEW or self._any_case or len(set(names)) < len(names):
            return None, numbers
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        converters, converted = self._converters, {}
        bad: set[int] = set()
        for name, (index, convert) in self._columns.items():
            column = columns.get(name)
            if column is None:
                continue
            converters.partial = converters.incomplete = False
            try:
                values = column if convert is as_string and set(map(type, column)) <= TEXTS else [*map(convert, column)]
            except SpellingNeeded:
                return None, numbers
            if converters.partial or (converters.incomplete and self._rescued is not None):
                return None, numbers
            bad.update(row for row, value in enumerate(values) if value is BAD)
            converted[index] = values
        unknown = [name for name in names if name not in self._columns]
        self.new_fields.update(name for name in unknown if name.lower() not in self._known)
        if self._rescued is not None and unknown:
            left = (
                [(name, value) for name, value in zip(unknown, values, strict=True) if value is not None]
                for values in zip(*(columns[name] for name in unknown), strict=True)
            )
            try:
                converted[self._rescued] = [
                    self._rescue(found, first_line + number) if found else None
                    for number, found in zip(numbers, left, strict=True)
                ]
            except SpellingNeeded:
                return None, numbers
        if bad:
            good = [row for row in range(len(rows)) if row not in bad]
            converted = {index: [values[row] for row in good] for index, values in converted.items()}
        size = len(rows) - len(bad)
        arrays = [
            pa.array(converted[index], field.type) if index in converted else pa.nulls(size, field.type)
            for index, field in enumerate(self.arrow_schema)
        ]
        return pa.Table.from_arrays(arrays, schema=self.arrow_schema), [numbers[row] for row in sorted(bad)]

    def document(self, data: bytes | str, record: int) -> None:
        """Reads a document, or without ``multiline`` a line; blank text has no row.

        A carriage return alone ends a line, too, but the line after it has no number of its own.
        """
        try:
            line = data if isinstance(data, str) else data.decode()
        except UnicodeDecodeError as error:
            self.malformed(str(error.object, errors="replace"), record, str(error))
            return
        if "\r" in line and not self._multi_line:
            for part in line.split("\r"):
                self.document(part, record)
            return
        line = line.removeprefix(_BOM)
        text = line.lstrip(BLANK)
        if not text:
            return
        try:
            for spelling in Spelling:
                try:
                    self._add(line, text, record, spelling)
                    break
                except SpellingNeeded:
                    continue
        except Malformed as error:
            self.malformed(line, record, str(error))

    def _add(self, line: str, text: str, record: int, spelling: Spelling) -> None:
        value, end = self._scanner.scan(text, spelling)
        several = isinstance(value, list) and type(value) is not Members
        rows: list[tuple[list[Any], str | None, list[tuple[str, Any]]]] = []
        for element in value if several else (value,):
            if type(element) is not Members:
                raise Malformed("neither an object nor an array of objects")
            rows.append(self._row(element))
        keep_mismatches = self._rescued is not None
        mismatch = None if keep_mismatches else next((name for _, name, _ in rows if name is not None), None)
        corrupt = mismatch is not None
        if mismatch is not None and self._leaves_out(mismatch, line, record):
            return
        # Spark drops what follows the document; here it is kept where there is a column for it.
        rest = self.mode in ("PERMISSIVE", QUARANTINE) and not self._scanner.ends(text, end)
        if rest and (not rows or self.mode == QUARANTINE):
            raise Malformed("text after the document")
        for row, _, rescued in rows:
            if self._corrupt is not None and (corrupt or rest):
                row[self._corrupt] = line
            elif rest:
                rescued.append((CORRUPT_RECORD, line))
            if self._rescued is not None and rescued:
                row[self._rescued] = self._rescue(rescued, record)
            self._rows.append(row)
        self._records += range(len(rows)) if self._multi_line and several else [record] * len(rows)

    def _row(self, members: Members) -> tuple[list[Any], str | None, list[tuple[str, Any]]]:
        """A row, the name of a value of it that has a wrong type, and what the row does not show of the document."""
        row: list[Any] = [None] * len(self.arrow_schema)
        columns, converters, mismatch = self._columns, self._converters, None
        rescued: list[tuple[str, Any]] = []
        twice = len(dict(members)) < len(members)
        taken: dict[int, tuple[str, Any]] = {}
        converters.partial = converters.incomplete = False
        for name, value in members:
            column = columns.get(name)
            if column is None and self._any_case:
                column = self._by_lower_case.get(name.lower())
            if column is None:
                if value is not None:
                    rescued.append((name, value))
                if name.lower() not in self._known:
                    self.new_fields.add(name)
                continue
            index, convert = column
            converted = convert(value)
            if converted is BAD or converters.partial:
                mismatch = name
            if converted is BAD or converters.partial or converters.incomplete:
                rescued.append((name, value))
                converters.partial = converters.incomplete = False
            if converted is not BAD:
                row[index] = converted
                if twice or self._any_case:
                    if index in taken:
                        rescued.append(taken[index])
                    taken[index] = (name, value)
        return row, mismatch, rescued

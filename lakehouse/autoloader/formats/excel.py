"""The format ``excel``: the cells of one sheet become rows, or the names of all sheets do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyspark.sql.types as spark
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import DataType, StructType

from lakehouse.autoloader.formats.excel_values import column_of, plain, text_of, type_of
from lakehouse.autoloader.formats.excel_workbook import Row, Workbook
from lakehouse.autoloader.formats.rows import BadFile, Rows, Target, raise_if_environment
from lakehouse.autoloader.formats.text import flag, header_names
from lakehouse.errors import ConfigurationError

_CHUNK_CELLS = 1 << 18
_NAMED_BY_PLACE = re.compile(r"_c[0-9]+")
_SHEETS = {"sheetIndex": spark.LongType(), "sheetName": spark.StringType()}


def parse_excel(file: IO[bytes], target: Target) -> Iterator[Rows]:
    """Rows of the sheet and range of ``dataAddress``; a row without a value is left out.

    With ``headerRows`` columns go by the names in the first row; without, by their place: ``_c1``, ``_c2`` and so on.

    Raises:
        BadFile: it is no workbook that can be read, or a value does not fit its column, and no column rescues it.
        ConfigurationError: a column has a type that no cell can have.
    """
    book = Workbook(file, target.reader)
    if _lists(target.reader):
        yield _sheets(book, target)
        return
    if not book.has_sheet() and flag(target.reader, "ignoremissingsheet"):
        return
    rows, names = _headed(book, target.reader)
    if not _has_header(target.reader):
        names = _given_names(names, target)
    done = int(_has_header(target.reader))
    step = max(1, _CHUNK_CELLS // max(len(names), 1))
    while chunk := list(islice(rows, step)):
        yield _rows(target, names, [row for row in chunk if not row.blank], done)


def infer_excel(files: Iterable[IO[bytes]], *, reader: Mapping[str, str], infer_column_types: bool) -> StructType:
    """The columns of all files: STRING, or with ``infer_column_types`` the narrowest type for all their values."""
    if _lists(reader):
        return StructType([spark.StructField(name, type_) for name, type_ in _SHEETS.items()])
    found: dict[str, DataType | None] = {}
    for file in files:
        try:
            rows, names = _headed(Workbook(file, reader), reader)
            found.update({name: None for name in names if name not in found})
            step = max(1, _CHUNK_CELLS // max(len(names), 1))
            while infer_column_types and (chunk := list(islice(rows, step))):
                for at, name in enumerate(names):
                    found[name] = type_of((row.cells[at] for row in chunk), found[name])
        except (BadFile, OSError) as error:
            raise_if_environment(error, "a sample of the files")
            continue  # the stream itself says so, when it comes to the file
    return StructType([spark.StructField(name, type_ or spark.StringType()) for name, type_ in found.items()])


def _lists(reader: Mapping[str, str]) -> bool:
    return reader.get("operation", "").strip().lower() == "listsheets"


def _has_header(reader: Mapping[str, str]) -> bool:
    return reader.get("headerrows", "0").strip() == "1"


def _headed(book: Workbook, reader: Mapping[str, str]) -> tuple[Iterator[Row], list[str]]:
    """The rows of the range, without the header, and the names of its columns."""
    rows = book.rows()
    first = next(rows, None)
    if first is None:
        return iter(()), []
    if _has_header(reader):
        return rows, _names(first)
    return _chained(first, rows), [f"_c{number + 1}" for number in range(len(first.cells))]


def _chained(first: Row, rows: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rows


def _names(header: Row) -> list[str]:
    return header_names([text_of(cell) for cell in header.cells], first=1)


def _given_names(names: list[str], target: Target) -> list[str]:
    """The columns by their place, where the schema has names of its own for them."""
    wanted = [field.name for field in target.wanted]
    if any(_NAMED_BY_PLACE.fullmatch(name) for name in wanted):
        return names
    return [*wanted[: len(names)], *names[len(wanted) :]]


def _rows(target: Target, names: list[str], rows: list[Row], header: int) -> Rows:
    arrow = to_arrow_schema(target.schema, timezone="UTC")
    columns = {field.name: pa.nulls(len(rows), field.type) for field in arrow}
    types = {field.name: field.dataType for field in target.wanted}
    left: dict[int, dict[str, Any]] = {}
    goals = target.source(names)
    for at, name in enumerate(names):
        cells = [record.cells[at] for record in rows]
        if goal := goals[name]:
            columns[goal], lost = column_of(cells, types[goal], target.reader)
            if lost and not target.rescued:
                problem = f"the column {name}: {plain(cells[lost[0]])!r} is no {types[goal].simpleString()}"
                raise BadFile("WRONG_TYPE", f"{problem}, and no column rescues its values"[:400])
        else:
            lost = [row for row, cell in enumerate(cells) if cell != ""]
        for row in lost if target.rescued else ():
            left.setdefault(row, {})[name] = plain(cells[row])
    if target.rescued:
        for row, record in enumerate(rows):
            if record.errors:
                left.setdefault(row, {}).update({names[at]: text for at, text in record.errors.items()})
        texts = [target.rescued_json(left[row]) if row in left else None for row in range(len(rows))]
        columns[target.rescued] = pa.array(texts, pa.string())
    table = pa.Table.from_arrays(list(columns.values()), schema=arrow)
    records = np.array([record.number - header for record in rows], np.int64)
    return Rows(table, records, frozenset(name for name, goal in goals.items() if goal is None))


def _sheets(book: Workbook, target: Target) -> Rows:
    for field in target.wanted:
        if _SHEETS.get(field.name) != field.dataType:
            raise ConfigurationError(
                f"a list of sheets has the columns sheetIndex BIGINT, sheetName STRING, not {field.name} "
                f"{field.dataType.simpleString().upper()}"
            )
    arrow = to_arrow_schema(target.schema, timezone="UTC")
    values = {"sheetIndex": list(book.sheets), "sheetName": list(book.sheets.values())}
    arrays = [pa.array(values.get(column.name, [None] * len(book.sheets)), column.type) for column in arrow]
    return Rows(pa.Table.from_arrays(arrays, schema=arrow), np.arange(len(book.sheets)))

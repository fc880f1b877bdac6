"""CSV as Spark reads it. Arrow parses plain blocks; ``csv_records`` parses the others by Spark's rules for quotes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyspark.sql.types as spark
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import DataType, StructType

from lakehouse.autoloader.formats.csv_records import Block, Dialect, Tokens
from lakehouse.autoloader.formats.format import SINGLE_VARIANT
from lakehouse.autoloader.formats.rows import QUARANTINE, BadFile, Rows, Target, bad_table, raise_if_environment
from lakehouse.autoloader.formats.text import as_utf8, flag, header_names, values_of

_CHUNK_ROWS = 65_536


def _blocks(data: bytes, dialect: Dialect, width: int) -> Iterator[Block]:
    line = data[: (data.find(b"\n") + 1) or None]
    if line.count(dialect.sep.encode()) + 1 == width and (plain := dialect.plain(data, width)) is not None:
        whole = cache(lambda: [record[1] for record in dialect.records(data)])
        for at in range(0, len(plain[0]), _CHUNK_ROWS):
            columns = [column.slice(at, _CHUNK_ROWS) for column in plain]
            yield Block(columns, np.full(len(columns[0]), width), lambda at=at: whole()[at:])  # type: ignore[misc]
        return
    records = dialect.records(data)
    while chunk := list(islice(records, _CHUNK_ROWS)):
        tokens = [record[0] for record in chunk]
        padded = [values if len(values) == width else (values + [None] * width)[:width] for values in tokens]
        columns = [pa.array(column, pa.string()) for column in zip(*padded, strict=True)]
        extra = {row: values[width:] for row, values in enumerate(tokens) if len(values) > width}
        counts = np.array([len(values) for values in tokens])
        yield Block(columns, counts, lambda chunk=chunk: [entry[1] for entry in chunk], extra)  # type: ignore[misc]


def _names(tokens: Tokens, dialect: Dialect, reader: Mapping[str, str]) -> list[str]:
    """Names of the columns that a header gives: Spark's names, also for empty and repeated texts."""
    names = ["" if token is None or token == dialect.null else token for token in tokens]
    if SINGLE_VARIANT in reader and all(names) and len(set(names)) == len(names):
        return names  # fields of an object are told apart by case
    return header_names(names, first=0)


def _named_blocks(
    file: BinaryIO, reader: Mapping[str, str], dialect: Dialect, names: list[str] | None, path: str = ""
) -> Iterator[tuple[list[str], Block]]:
    """Blocks of a file, each with its columns' names: those given, else the header's, else ``_c0`` and so on."""
    header = dialect.header
    for data in dialect.blocks(as_utf8(file, reader, path)):
        if header or names is None:
            first = next(dialect.records(data), None)
            if first is None:
                continue
            if names is None:
                names = _names(first[0] if header else [None] * len(first[0]), dialect, reader)
            elif not flag(reader, "enforceschema", True):
                _refuse_header(first[0], names)
            data = data[first[2] :] if header else data
            header = False
            yield names, Block([], np.zeros(0, np.int64), list)
        for block in _blocks(data, dialect, len(names)):
            yield names, block


def _refuse_header(found: Tokens, names: list[str]) -> None:
    """Raises where a header is not the columns' names: as Spark compares them, in any case."""
    have, want = ([(text or "").lower() for text in texts] for texts in (found, names))
    if have != want:
        raise BadFile("HEADER_MISMATCH", f"its header is {found}, the columns are {names}, and enforceSchema is false")


def parse_csv(file: BinaryIO, target: Target) -> Iterator[Rows]:
    """Rows of a CSV file: columns by name with ``header``, by position without it or with ``enforceSchema``.

    Raises:
        BadFile: the file is no text, with ``enforceSchema`` false its header is not the columns' names, or with
            ``FAILFAST`` a record is malformed (reason ``MALFORMED``).
        ConfigurationError: an option or a type of column is not supported.
    """
    dialect, done = Dialect(target.reader), 0
    if SINGLE_VARIANT in target.reader:
        from lakehouse.autoloader.formats.csv_variant import VariantShape

        whole = VariantShape(target, dialect)
        for names, block in _named_blocks(file, target.reader, dialect, None, target.path):
            yield whole.rows(names, block, done)
            done += len(block.counts)
        return
    for column in target.wanted:
        values_of(pa.array([], pa.string()), column.dataType, target.reader)
    shape = _Shape(target, dialect)
    by_name = dialect.header and "enforceschema" not in target.reader
    given = None if by_name else [column.name for column in target.wanted]
    for names, block in _named_blocks(file, target.reader, dialect, given, target.path):
        yield shape.rows(names, block, done)
        done += len(block.counts)


@dataclass
class _Shape:
    """From columns of text to the columns of the schema."""

    target: Target
    dialect: Dialect

    def rows(self, names: list[str], block: Block, first: int) -> Rows:
        """The block's rows; ``first`` is the number of its first record."""
        arrow, size, width = to_arrow_schema(self.target.schema, timezone="UTC"), len(block.counts), len(names)
        columns = {column.name: pa.nulls(size, column.type) for column in arrow}
        target, types = self.target, {column.name: column.dataType for column in self.target.wanted}
        goals = target.source(names)
        bad = block.counts < width if target.rescued else block.counts != width
        left: dict[int, dict[str, str]] = {}
        wrong: dict[int, str] = {}
        new = {name for name, goal in goals.items() if goal is None}
        for name, texts in zip(names, block.columns, strict=False):
            texts = pc.if_else(pc.equal(texts, self.dialect.null), None, texts)
            lost = pc.is_valid(texts)
            if goal := goals[name]:
                columns[goal] = values_of(texts, types[goal], target.reader)
                lost = pc.and_(lost, pc.is_null(columns[goal]))
                if not target.rescued:
                    bad = bad | lost.to_numpy(False)
                    wrong = {**dict.fromkeys(np.flatnonzero(lost.to_numpy(False)).tolist(), name), **wrong}
            if target.rescued:
                for row in np.flatnonzero(lost.to_numpy(False)).tolist():
                    left.setdefault(row, {})[name] = texts[row].as_py()
        for row, values in block.extra.items():
            extra = {f"_c{width + n}": value for n, value in enumerate(values)}
            new |= extra.keys()
            left.setdefault(row, {}).update({name: value for name, value in extra.items() if value is not None})
        if target.rescued:
            texts = [left.get(row) and target.rescued_json(left[row]) for row in range(size)]
            columns[target.rescued] = pa.array([text or None for text in texts], pa.string())
        table = pa.Table.from_arrays(list(columns.values()), schema=arrow)
        if self.dialect.mode == QUARANTINE and bad.any():
            return self._kept_apart(block, Rows(table, np.arange(first, first + size), frozenset(new)), bad, wrong)
        return self._moded(block, table, bad, first, frozenset(new))

    def _kept_apart(self, block: Block, rows: Rows, bad: np.ndarray, wrong: Mapping[int, str]) -> Rows:
        """The good rows; ``wrong`` says for a row which value of it is not of its column's type."""
        texts, kept = block.texts(), []
        for row in np.flatnonzero(bad).tolist():
            reason = (
                f"WRONG_TYPE: the value of {wrong[row]} is not of its column's type"
                if row in wrong and block.counts[row] == len(block.columns)
                else f"MALFORMED: {block.counts[row]} values for {len(block.columns)} columns"
            )
            kept.append((int(rows.records[row]), texts[row], reason))
        return Rows(rows.table.filter(pa.array(~bad)), rows.records[~bad], rows.new_fields, bad_table(kept))

    def _moded(self, block: Block, table: pa.Table, bad: np.ndarray, first: int, new: frozenset[str]) -> Rows:
        numbers = np.arange(first, first + len(bad))
        if bad.any() and self.dialect.mode == "FAILFAST":
            row = int(bad.argmax())
            raise BadFile("MALFORMED", f"record {first + row:,} of {self.target.path}: {block.texts()[row][:200]!r}")
        if self.target.corrupt and bad.any():
            texts = [text if wrong else None for text, wrong in zip(block.texts(), bad.tolist(), strict=False)]
            at = table.schema.get_field_index(self.target.corrupt)
            table = table.set_column(at, table.schema.field(at), pa.array(texts, pa.string()))
        if self.dialect.mode == "DROPMALFORMED" and bad.any():
            table, numbers = table.filter(pa.array(~bad)), numbers[~bad]
        return Rows(table, numbers, new)


def infer_csv(files: Iterable[BinaryIO], *, reader: Mapping[str, str], infer_column_types: bool) -> StructType:
    """The columns of all files: STRING, or with ``infer_column_types`` the narrowest type for all their values.

    With ``singleVariantColumn`` it is that column alone, and no file is read.
    """
    if column := reader.get(SINGLE_VARIANT):
        return StructType().add(column, spark.VariantType())
    dialect = Dialect(reader)
    found: dict[str, DataType | None] = {}
    for file in files:
        try:
            for names, block in _named_blocks(file, reader, dialect, None):
                found.update({name: None for name in names if name not in found})
                if not infer_column_types:
                    break
                for name, texts in zip(names, block.columns, strict=False):
                    texts = texts.filter(pc.invert(pc.is_in(texts, pa.array(["", dialect.null, None], pa.string()))))
                    found[name] = _wider(found[name], _type_of(texts.unique(), reader))
        except (BadFile, OSError) as error:
            raise_if_environment(error, "a sample of the files")
            continue  # the stream itself says so, when it comes to the file
    schema = StructType()
    for name, type_ in found.items():
        schema.add(name, type_ or spark.StringType())
    return schema


def _type_of(texts: pa.Array, reader: Mapping[str, str]) -> DataType | None:
    if not len(texts):
        return None
    day, moment = ("." if f"{kind}format" in reader else r"^\d{4}-\d" for kind in ("date", "timestamp"))
    digits = pc.max(pc.utf8_length(pc.utf8_trim(texts, "+-"))).as_py()
    whole = spark.DecimalType(min(digits, 38), 0)
    looks: list[tuple[DataType, str]] = [(spark.IntegerType(), "."), (spark.LongType(), ".")]
    looks += [(whole, "^[+-]?[0-9]+$")] if digits <= 38 else []
    looks += [(spark.DoubleType(), "."), (spark.DateType(), day if day == "." else r"^\d{4}-\d{2}-\d{2}$")]
    if not flag(reader, "preferdate", True):
        del looks[-1]
    looks += [(spark.TimestampType(), moment), (spark.BooleanType(), ".")]
    for type_, pattern in looks:
        if pc.all(pc.match_substring_regex(texts, pattern)).as_py() and not values_of(texts, type_, reader).null_count:
            return type_
    return spark.StringType()


def _wider(left: DataType | None, right: DataType | None) -> DataType | None:
    """The narrowest type for the values of both types."""
    if left is None or right is None or left == right:
        return left or right
    if {type(left), type(right)} == {spark.DateType, spark.TimestampType}:
        return spark.TimestampType()
    order = [spark.IntegerType, spark.LongType, spark.DecimalType, spark.DoubleType]
    if type(left) not in order or type(right) not in order:
        return spark.StringType()
    low, high = sorted((left, right), key=lambda type_: order.index(type(type_)))
    if isinstance(high, spark.DecimalType):
        least = low.precision if isinstance(low, spark.DecimalType) else 20 if isinstance(low, spark.LongType) else 10
        return spark.DecimalType(max(least, high.precision), 0)
    return high

"""XML as Spark reads it: each element that ``rowTag`` names is a row.

Differences from Spark's own reader, all intended:

- *a file that is no XML*, or ends too early, is in quarantine as a whole; Spark keeps the rows before the fault, and
  says nothing where only the end tag of the outermost element is missing. With the mode FAILFAST both stop.
- *several documents* in a file, as one a line, are read one after another; Spark reads the first.
- *declarations* within a DOCTYPE, and entities that are declared elsewhere, are refused; Spark passes over both.
- *a value of a wrong type* costs only itself; Spark loses its place and with it what follows in the record. What is
  kept in the corrupt record is the record; Spark keeps the whole file.
- *an empty attribute* of a column that is no STRING is NULL, as an empty element is; to Spark its record is malformed.
- *numbers with text behind them* in DOUBLE and FLOAT are mismatches; Spark reads ``12abc`` as 12.
- *comments and processing instructions* within a text do not divide it; Spark makes two values of it.
- *repeated elements* of a column that is no array are rescued but for the last, as are attributes of one that is no
  struct; Spark drops them.
- *names* are told apart by case, as Auto Loader does, unless ``readerCaseSensitive`` is false.
- *nesting*: more than 250 levels are refused; more than 30 are inferred as STRING.
- *inference*: a time of day is a string; so is what fits no other type, whatever the mode. What ``nullValue`` names has
  no type (to Spark 4.2 it is a string, to later versions not), ``preferDate=false`` is heeded, and with
  ``ignoreSurroundingSpaces=false`` a time between blanks is a string.
- *encoding*: it decides where it is given; else the file's own declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any

from pyspark.sql.types import StructType, VariantType

from lakehouse.autoloader.formats.collected import Collector
from lakehouse.autoloader.formats.format import SINGLE_VARIANT, encoding_called
from lakehouse.autoloader.formats.json_text import Malformed
from lakehouse.autoloader.formats.json_values import BAD
from lakehouse.autoloader.formats.rows import BadFile, Rows, Target, raise_if_environment
from lakehouse.autoloader.formats.xml_infer import XmlInference
from lakehouse.autoloader.formats.xml_records import Element, Record, records
from lakehouse.autoloader.formats.xml_values import Item, Shape, Values
from lakehouse.errors import ConfigurationError

_CHUNK_ROWS, _CHUNK_BYTES = 2_000, 4 << 20


def parse_xml(file: IO[bytes], target: Target) -> Iterator[Rows]:
    """Rows of a file, some thousand at a time.

    Raises:
        BadFile: the file is no XML, is refused, or with ``FAILFAST`` has something malformed.
        ConfigurationError: a type of column or an option is not supported.
    """
    reader = _RowReader(target)
    number = first = size_bytes = 0
    try:
        for number, record in enumerate(_records(file, target.reader, target.max_record_bytes), 1):
            reader.add(record, number - 1)
            size_bytes += record.size_bytes
            if number - first >= _CHUNK_ROWS or size_bytes >= _CHUNK_BYTES:
                yield reader.rows()
                first, size_bytes = number, 0
    except BadFile as error:
        if error.reason in ("NOT_XML", "TRUNCATED") and reader.mode == "FAILFAST":
            raise BadFile("MALFORMED", f"{target.path}: {error.detail}") from error
        raise
    if number > first or not number:
        yield reader.rows()


def infer_xml(files: Iterable[IO[bytes]], *, reader: Mapping[str, str], infer_column_types: bool) -> StructType:
    """The columns of all files that are whole; with ``singleVariantColumn`` that column alone, and no file is read."""
    if column := reader.get(SINGLE_VARIANT):
        return StructType().add(column, VariantType())
    inference = XmlInference(reader, Shape(reader), infer_column_types=infer_column_types)
    merged: Any = StructType([])
    for file in files:
        try:
            found: Any = StructType([])
            for record in _records(file, reader):
                found = inference.merge(found, inference.record(record.element))
            merged = inference.merge(merged, found)
        except (BadFile, OSError) as error:
            raise_if_environment(error, "a sample of the files")
            continue  # the stream itself says so, when it comes to the file
    final = inference.final(merged)
    return final if isinstance(final, StructType) else StructType([])


def _records(file: IO[bytes], reader: Mapping[str, str], most_bytes: int = 256 << 20) -> Iterator[Record]:
    if not (row_tag := reader.get("rowtag", "").strip()):
        raise ConfigurationError("rowTag is missing: the name of the elements of XML that are rows")
    named = reader.get("encoding", reader.get("charset", "")).strip()
    return records(
        file,
        row_tag,
        any_namespace=reader.get("ignorenamespace", "") == "true",
        encoding=encoding_called(named) if named else "",
        most_bytes=most_bytes,
    )


class _RowReader(Collector):
    """Collects rows of records."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.schema, target.reader, lambda record: target.path, target.corrupt, target.rescued)
        self._shape = Shape(target.reader)
        self._variant: Callable[[Element, Shape], Any] | None = None
        if name := target.reader.get(SINGLE_VARIANT):
            from lakehouse.autoloader.formats.variant import require_variant
            from lakehouse.autoloader.formats.xml_variant import variant_of

            require_variant(target.schema, name, target.corrupt, target.rescued)
            self._variant = variant_of
        self._values = Values(target.reader, self._shape)
        self._columns = self._values.columns(StructType([] if self._variant else target.wanted))
        self._index = {name: index for index, name in enumerate(target.schema.names)}
        self._check: Callable[[Record], str] | None = None
        if path := target.reader.get("rowvalidationxsdpath"):
            from lakehouse.autoloader.formats.xml_xsd import checked_by

            self._check = checked_by(path)

    def rows(self) -> Rows:
        """The rows since the last call."""
        table, numbers = self.take()
        return Rows(table, numbers, frozenset(self.new_fields), self.bad())

    def add(self, record: Record, number: int) -> None:
        """Takes in a record."""
        if self._check is not None and (wrong := self._check(record)):
            self.malformed(record.text(), number, wrong)
        elif self._variant is None:
            self._add_columns(record, number)
        else:
            self._add_variant(self._variant, record, number)

    def _add_variant(self, variant_of: Callable[[Element, Shape], Any], record: Record, number: int) -> None:
        try:
            value = variant_of(record.element, self._shape)
        except Malformed as error:
            self.malformed(record.text(), number, str(error))
            return
        special = (self._corrupt, self._rescued)
        self._rows.append([None if index in special else value for index in range(len(self.arrow_schema))])
        self._records.append(number)

    def _add_columns(self, record: Record, number: int) -> None:
        row, mismatch, rescued = self._row(record)
        if mismatch is not None and self._rescued is None:
            text = record.text()
            if self._leaves_out(mismatch, text, number):
                return
            if self._corrupt is not None:
                row[self._corrupt] = text
        if self._rescued is not None and rescued:
            document = self._shape.document
            several = {name: [document(item) for item in items] for name, items in rescued.items()}
            fields = [(name, values[0] if len(values) == 1 else values) for name, values in several.items()]
            row[self._rescued] = self._rescue(fields, number)
        self._rows.append(row)
        self._records.append(number)

    def _row(self, record: Record) -> tuple[list[Any], str | None, dict[str, list[Item]]]:
        """A row, the name of a value of it that has a wrong type, and what the row does not show of the record."""
        row: list[Any] = [None] * len(self.arrow_schema)
        values, mismatch = self._values, None
        rescued: dict[str, list[Item]] = {}
        whole: set[str] = set()
        last: dict[str, tuple[str, Item]] = {}
        for name, item in self._shape.items(record.element):
            column = self._columns.of(name, item)
            if column is None:
                rescued.setdefault(name, []).append(item)
                if name.lower() not in self._known:
                    self.new_fields.add(name)
                continue
            index = self._index[column.name]
            values.partial = values.incomplete = False
            value = column.convert(item)
            if value is BAD or values.partial:
                mismatch = name
            if value is BAD or values.partial or values.incomplete:
                rescued.setdefault(name, []).append(item)
            if column.several:
                if value is BAD:
                    whole.add(column.name)
                elif row[index] is None:
                    row[index] = [value]
                else:
                    row[index].append(value)
            elif value is not BAD:
                if (before := last.get(column.name)) and before[1] not in rescued.get(before[0], ()):
                    rescued.setdefault(before[0], []).append(before[1])
                last[column.name] = (name, item)
                row[index] = value
        for name in whole:
            row[self._index[name]] = None
            rescued[name] = [item for own, item in self._shape.items(record.element) if own == name]
        return row, mismatch, rescued

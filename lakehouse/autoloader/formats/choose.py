"""The format that ``cloudFiles.format`` names, behind one interface."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO, Any

from pyspark.sql.types import StringType, StructType, VariantType

from lakehouse.autoloader.formats.rows import QUARANTINE, PathAt, Rows, Target
from lakehouse.autoloader.lineage import CORRUPT_RECORD, RESCUED_DATA
from lakehouse.autoloader.options import CloudFilesOptions
from lakehouse.autoloader.plan import Span


def reads_lines(options: CloudFilesOptions) -> bool:
    """Whether files of this format, with these options, are independent lines."""
    if options.format == "json":
        return not _is_true(options.reader.get("multiline"))
    whole = _is_true(options.reader.get("wholetext")) or "linesep" in options.reader
    return options.format == "text" and not whole


@dataclass(frozen=True)
class ChosenFormat:
    """``read.Format`` for one stream.

    Attributes:
        options: The stream's options.
        schema: The columns that files fill: neither ``_metadata`` nor partition columns.
    """

    options: CloudFilesOptions
    schema: StructType

    @property
    def lines(self) -> bool:
        """See ``read.Format``."""
        return reads_lines(self.options)

    def parse_lines(self, data: bytes, path_at: PathAt) -> Rows:
        """See ``read.Format``."""
        if self.options.format == "text":
            return _function("text", "parse_text_lines")(data, self.schema, reader=self.options.reader)
        return self._parse_json(data, path_at)

    def knowing(self, columns: StructType) -> ChosenFormat:
        """See ``read.Format``."""
        others = [one for one in self.schema.fields if one.name not in columns.names]
        return replace(self, schema=StructType([*columns.fields, *others]))

    def parse_file(self, file: IO[bytes], span: Span, path: str) -> Iterator[Rows]:
        """See ``read.Format``."""
        name, reader = self.options.format, self._reader
        if name == "binaryfile":
            rows = _function("binary_file", "binary_file_rows")
            yield rows(file.read(), path=path, modified=span.last_modified, schema=self.schema)
        elif name == "json":
            yield self._parse_json(file.read(), lambda line: path)
        else:
            columns = self._columns()
            target = Target(self.schema, reader, path, columns["corrupt_column"], columns["rescued_column"])
            yield from _function(name, f"parse_{name}")(file, target)

    @property
    def _reader(self) -> Mapping[str, str]:
        told = self.options.reader
        return {**told, "mode": QUARANTINE} if self.options.bad_records_path else told

    def _parse_json(self, data: bytes, path_at: PathAt) -> Rows:
        module = "variant" if "singlevariantcolumn" in self.options.reader else "json"
        parse = _function(module, f"parse_{module}_lines")
        rows: Rows = parse(data, self.schema, reader=self._reader, path_at=path_at, **self._columns())
        return rows

    def _columns(self) -> dict[str, str | None]:
        strings = {one.name for one in self.schema.fields if isinstance(one.dataType, StringType)}
        corrupt = self.options.reader.get("columnnameofcorruptrecord", CORRUPT_RECORD)
        rescued = self.options.rescued_data_column or RESCUED_DATA
        return {
            "corrupt_column": corrupt if corrupt in strings else None,
            "rescued_column": rescued if rescued in strings else None,
        }


def infer(options: CloudFilesOptions, files: Iterable[IO[bytes]]) -> StructType:
    """The columns of sample files."""
    name = options.format
    if name == "json" and (column := options.reader.get("singlevariantcolumn")):
        return StructType().add(column, VariantType())
    if name == "json":
        samples = (file.read() for file in files)
        return _function("json", "infer_json")(
            samples, reader=options.reader, infer_column_types=options.infer_column_types
        )
    if name == "text":
        return StructType().add("value", "string")
    if name == "binaryfile":
        fixed = {"path": "string", "modificationTime": "timestamp", "length": "long", "content": "binary"}
        schema = StructType()
        for column, type_ in fixed.items():
            schema.add(column, type_)
        return schema
    return _function(name, f"infer_{name}")(files, reader=options.reader, infer_column_types=options.infer_column_types)


def _function(module: str, name: str) -> Callable[..., Any]:
    """Formats are imported when they are used: a worker that reads JSON needs no Avro."""
    return getattr(importlib.import_module(f"lakehouse.autoloader.formats.{module}"), name)


def _is_true(value: str | None) -> bool:
    return (value or "").lower() == "true"

"""The format that ``cloudFiles.format`` names, behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from typing import IO, Any

from pyspark.sql.types import StringType, StructType

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.formats.format import Format
from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.formats.rows import QUARANTINE, PathAt, Rows, Target
from lakehouse.autoloader.lineage import CORRUPT_RECORD, RESCUED_DATA
from lakehouse.autoloader.options.parse import CloudFilesOptions


def reads_lines(options: CloudFilesOptions) -> bool:
    """Whether files of this format, with these options, are independent lines."""
    return FORMATS[options.format].is_lines(options.reader)


@dataclass(frozen=True)
class ChosenFormat:
    """The ``part.Format`` of one stream.

    Attributes:
        options: The stream's options.
        schema: The columns that files fill: neither ``_metadata`` nor partition columns.
    """

    options: CloudFilesOptions
    schema: StructType

    @property
    def lines(self) -> bool:
        """See ``part.Format``."""
        return reads_lines(self.options)

    def parse_lines(self, data: bytes, path_at: PathAt) -> Rows:
        """See ``part.Format``."""
        rows: Rows = _function(self._format.parse_lines)(data, path_at, self._target(""))
        return rows

    def knowing(self, columns: StructType) -> ChosenFormat:
        """See ``part.Format``."""
        others = [field for field in self.schema.fields if field.name not in columns.names]
        return replace(self, schema=StructType([*columns.fields, *others]))

    def parse_file(self, file: IO[bytes], span: Span, path: str) -> Iterator[Rows]:
        """See ``part.Format``."""
        rows: Iterator[Rows] = _function(self._format.parse)(file, self._target(path, span.last_modified))
        return rows

    @property
    def _format(self) -> Format:
        return FORMATS[self.options.format]

    def _target(self, path: str, modified: datetime | None = None) -> Target:
        reader = self.options.reader
        if self.options.bad_records_path:
            reader = {**reader, "mode": QUARANTINE}
        strings = {field.name for field in self.schema.fields if isinstance(field.dataType, StringType)}
        corrupt = reader.get("columnnameofcorruptrecord", CORRUPT_RECORD)
        rescued = self.options.rescued_data_column or RESCUED_DATA
        return Target(
            self.schema,
            reader,
            path,
            corrupt if corrupt in strings else None,
            rescued if rescued in strings else None,
            modified,
            self.options.max_record_bytes,
        )


def infer(options: CloudFilesOptions, files: Iterable[IO[bytes]]) -> StructType:
    """The columns of sample files."""
    function = _function(FORMATS[options.format].infer)
    columns: StructType = function(files, reader=options.reader, infer_column_types=options.infer_column_types)
    return columns


def _function(place: str) -> Callable[..., Any]:
    """Formats are imported when they are used: a worker that reads JSON needs no Avro."""
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"lakehouse.autoloader.formats.{module}"), name)
    return found

"""A call of ``COPY INTO``: what it asks for, and what it did."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from lakehouse.autoloader.options.parse import UNKNOWN, CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath
from lakehouse.copy_into.ledger import CopiedFile
from lakehouse.errors import ConfigurationError
from lakehouse.settings import LAYERS

_log = logging.getLogger(__name__)

MAX_FILES = 1000
_OF_STREAMS = re.compile(
    r"path|badRecordsPath|singleVariantColumn|cloudFiles\.(format|schemaLocation|schemaEvolutionMode|journalLocation|"
    r"includeExistingFiles|role.*|stsEndpoint|max(Files|Bytes)PerTrigger|allowOverwrites|backfillInterval|cleanSource.*)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Copy:
    """What to copy.

    Attributes:
        table: The target, ``layer.name``; it is made when it is missing, with the columns of the files.
        path: Folder of the files, ``s3a://bucket/folder/``; globs as in ``cloudFiles``.
        format: ``json``, ``csv``, ``xml``, ``parquet``, ``avro``, ``orc``, ``text`` or ``binaryFile``.
        pattern: Glob that names are held against, from ``path`` on; ``*`` stays between slashes.
        files: Names from ``path`` on, at most 1,000; not with ``pattern``.
        force: Load files again that are in the table.
        merge_schema: Add new columns to the table; else they are an error.
        options: Of the format's reader, and those of ``cloudFiles`` that are not about streams.
    """

    table: str
    path: str
    format: str
    pattern: str | None = None
    files: Sequence[str] = ()
    force: bool = False
    merge_schema: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def source_options(self) -> dict[str, str]:
        """The options of ``cloudFiles`` that it means.

        Raises:
            ConfigurationError: an option is of streams.
        """
        source_options = {"path": self.path, "cloudFiles.format": self.format, "ignoreMissingFiles": "true"}
        # as Spark's own readers: JSON has types, text has them when asked
        source_options["cloudFiles.inferColumnTypes"] = str(self.format.lower() == "json").lower()
        for name, value in self.options.items():
            if _OF_STREAMS.fullmatch(name):
                raise refused(f"{name} is no option of a copy", "leave it out; a stream has it: cloudFiles")
            source_options["cloudFiles.inferColumnTypes" if name.lower() == "inferschema" else name] = value
        return source_options

    @cached_property
    def source(self) -> SourcePath:
        """The folder."""
        return SourcePath.parse(self.path, strict=CloudFilesOptions.parse(self.source_options).use_strict_globber)

    def check(self) -> None:
        """Refuses what contradicts itself.

        Raises:
            ConfigurationError: naming it.
        """
        if not re.fullmatch(rf"({'|'.join(LAYERS)})\.\w+", self.table):
            raise refused(f"{self.table!r} is no table of the lake", f"name it as one of {', '.join(LAYERS)}.name")
        if self.pattern is not None and self.files:
            raise refused("PATTERN and FILES exclude each other", "give one of --pattern and --files")
        if len(self.files) > MAX_FILES:
            raise refused(
                f"FILES names {len(self.files):,} files, and {MAX_FILES:,} is the most",
                "use --pattern, or several calls",
            )
        for note in CloudFilesOptions.parse(self.source_options).notes:
            if UNKNOWN in note:  # a call is of a person, who sees it; a stream's options may be another system's
                raise refused(note, "correct the name, or leave the option out")
            _log.warning("%s: %s", self.table, note)


@dataclass(frozen=True)
class CopyReport:
    """What a call did.

    Attributes:
        table: The target.
        files: The files of its commit, each with its rows.
        already_loaded: Files that it named and the table had.
        missing: Names of ``files`` that are not there.
        delta_version: Its commit; None when there was nothing to load.
        duration_seconds: Of the whole call.
    """

    table: str
    files: tuple[CopiedFile, ...]
    already_loaded: int
    missing: tuple[str, ...]
    delta_version: int | None
    duration_seconds: float

    @property
    def rows(self) -> int:
        """Rows that it added."""
        return sum(file.rows for file in self.files)

    @property
    def skipped(self) -> tuple[CopiedFile, ...]:
        """Files that were left out with a reason; the next call tries them again."""
        return tuple(file for file in self.files if file.problem)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "rows": self.rows}


@dataclass(frozen=True)
class Validation:
    """What a call would do.

    Attributes:
        table: The target.
        files: How many files were read, of those that would be loaded.
        rows: Rows that they hold.
        columns: The table's columns then, with their types.
        new_columns: Those of them that the table has not.
        errors: What would make the call fail, file and problem; at most 100.
        preview: At most 50 rows.
    """

    table: str
    files: int
    rows: int
    columns: dict[str, str]
    new_columns: dict[str, str]
    errors: tuple[tuple[str, str], ...]
    preview: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def refused(what: str, cure: str) -> ConfigurationError:
    """The error of a call that contradicts itself or the table."""
    return ConfigurationError(what, where="copy into", state="nothing was read or written", next_command=cure)

"""What a format makes of bytes. These modules run in Spark's Python workers: they import pyarrow and little else."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql.types import StructField, StructType

from lakehouse.autoloader.lineage import CORRUPT_RECORD
from lakehouse.errors import StreamFailed

FILE_PATH = "_file_path"
NOTES = (FILE_PATH, CORRUPT_RECORD)
"""Keys of rescued data beside the fields of a record: the file, and the text of a malformed record."""

QUARANTINE = "QUARANTINE"
"""The mode that ``badRecordsPath`` makes: a record that is malformed gives no row, and is kept in ``Rows.bad``."""

PathAt = Callable[[int], str]
"""The full path of the file that a line of the input came from: several small files may be parsed as one input."""


@dataclass(frozen=True)
class Target:
    """What the records of a file become.

    Attributes:
        schema: The columns, in order.
        reader: Options of the format's reader, their names in lower case.
        path: The file, for errors and for what is rescued.
        corrupt: Column for the text of a malformed record; None where there is no such column.
        rescued: Column for what fits no other column, as JSON; None where there is no such column.
        modified: When the file was written; None where it is not known, or the records are of several files.
        max_record_bytes: How much memory a record may take, where that is found out while it is read.
    """

    schema: StructType
    reader: Mapping[str, str]
    path: str
    corrupt: str | None = None
    rescued: str | None = None
    modified: datetime | None = None
    max_record_bytes: int = 256 << 20

    @property
    def wanted(self) -> list[StructField]:
        """The columns that fields of the file fill."""
        return [field for field in self.schema.fields if field.name not in (self.corrupt, self.rescued)]

    def source(self, names: Iterable[str]) -> dict[str, str | None]:
        """For each column of a file the column of the schema that it fills."""
        key = str.lower if self.reader.get("readercasesensitive", "true").lower() == "false" else str
        known = {key(field.name): field.name for field in self.wanted}
        return {name: known.get(key(name)) for name in names}

    def rescued_json(self, values: Mapping[str, Any]) -> str:
        """The text for the rescued column."""
        return json.dumps({**values, FILE_PATH: self.path}, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


BadRecord = tuple[int, str, str]
"""A record that gave no row: its number, as in ``Rows.records``; its text as it came, with bytes that are no text
replaced, empty where it was not read; a stable code such as ``MALFORMED``, a colon, and what exactly, for a person."""


def bad_table(records: Sequence[BadRecord]) -> pa.Table:
    """Columns ``record``, ``raw`` and ``reason``; there can be millions with few reasons."""
    numbers, texts, reasons = zip(*records, strict=True) if records else ((), (), ())
    columns = [pa.array(numbers, pa.int64()), pa.array(texts, pa.string())]
    return pa.table([*columns, pa.array(reasons, pa.string()).dictionary_encode()], ["record", "raw", "reason"])


@dataclass(frozen=True)
class Rows:
    """Parsed rows.

    Attributes:
        table: Exactly the columns that were asked for, in that order, with the Arrow types of
            ``pyspark.sql.pandas.types.to_arrow_schema(schema, timezone="UTC")``.
        records: For each row the number (from 0) of the record it came from: the line of the input for formats of
            lines, the row of the file for the others. A blank line gives no row, and a line can give several.
        new_fields: Names of top-level fields that the input has and the schema lacks.
        bad: In the mode ``QUARANTINE`` the records that gave no row, see ``bad_table``; None without any.
    """

    table: pa.Table
    records: np.ndarray
    new_fields: frozenset[str] = frozenset()
    bad: pa.Table | None = None


class BadFile(Exception):
    """A file that cannot be read as a whole: it goes to quarantine, the others are loaded.

    Attributes:
        reason: A stable code such as ``TRUNCATED``, ``NOT_PARQUET``, ``LINE_TOO_LONG``.
        detail: What exactly, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")

    def __reduce__(self) -> tuple[type[BadFile], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class OutOfMemory(StreamFailed, MemoryError):
    """This process has no memory left for a file."""


_ROOM = "make room on the temporary disk, or set TMPDIR for Spark's Python workers to a folder with room for a file "
_CURES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _ROOM + "unpacked; then run the same again"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit of open files (ulimit -n), then run the same again"),
}
_OTHER_CURE = "see whether the temporary disk (TMPDIR, else /tmp) can be written and read, then run the same again"
_UNCOMMITTED = "the batch was not committed; the next run does it again"
_ASKED = re.compile(r"alloc of size (\d+) failed")


def raise_if_environment(error: BaseException, where: str) -> None:
    """Raises where this machine is at fault and not the file: its disk, its memory, its limit of open files.

    An error of a system call has a number. Errors of decoders have none, except for a seek to a place that the
    bytes name and that cannot be. Bytes can also ask for more memory than any machine has.

    Args:
        error: The error of reading the file, perhaps with its causes.
        where: The file.

    Raises:
        StreamFailed: it is this machine's fault, so the file must not be left out.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            asked = _ASKED.search(str(cause))
            if asked is None or int(asked[1]) <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
                raise OutOfMemory(
                    f"there is no memory to read a file: {cause or 'MemoryError'}",
                    where=where,
                    state=_UNCOMMITTED,
                    next_command="give Spark's Python workers more memory, or lower minPartitions; then run it again",
                ) from error
        elif isinstance(cause, OSError) and cause.errno not in (None, errno.EINVAL):
            raise StreamFailed(
                f"this machine cannot read a file, and that says nothing about the file: {cause.strerror or cause}",
                where=where,
                state=_UNCOMMITTED,
                next_command=_CURES.get(cause.errno, _OTHER_CURE),
            ) from error
        cause = cause.__cause__


def refuse_large(table: pa.Table, limit: int) -> None:
    """Raises where a row takes more than ``limit`` bytes. Halves are looked at only where the whole takes more.

    A few KB of Parquet can hold a value of a gigabyte. This process has room for it, Spark's heap does not.

    Raises:
        BadFile: there is such a row.
    """
    if table.nbytes <= limit:
        return
    if table.num_rows == 1:
        raise BadFile("RECORD_TOO_LARGE", f"a record takes {table.nbytes:,} bytes, over {limit:,}")
    middle = table.num_rows // 2
    refuse_large(table.slice(0, middle), limit)
    refuse_large(table.slice(middle), limit)

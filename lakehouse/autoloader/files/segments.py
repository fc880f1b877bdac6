"""A segment: file versions with consecutive numbers, one immutable Parquet object of the journal."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from lakehouse.errors import SOME_TABLE, TerminalError
from lakehouse.plain_text import cause_of

_PREVIOUS = b"previous"
_HASHED = 16_384  # a page of new files is looked up, looked up again before it is written, and written
_TIME = pa.timestamp("us", tz="UTC")

SCHEMA = pa.schema(
    [
        ("seq", pa.int64()),
        ("bucket", pa.string()),
        ("key", pa.string()),
        ("e_tag", pa.string()),
        ("size_bytes", pa.int64()),
        ("last_modified", _TIME),
        ("discovered", _TIME),
        ("first", pa.bool_()),
        ("segment", pa.string()),
        ("replaces", pa.int64()),
        ("key_hash", pa.uint64()),
        ("version_hash", pa.uint64()),
        ("stream", pa.string()),
    ]
)

_LISTS = pa.schema([(field.name, pa.list_(field.type)) for field in SCHEMA])


@dataclass(frozen=True)
class FileVersion:
    """One version of one object, as discovery found it.

    Attributes:
        seq: Its number in the journal, from 1, for ever.
        bucket: The object's bucket.
        key: The object's key.
        e_tag: The version's ETag, without quotes.
        size_bytes: Its size.
        last_modified: The store's time of it, UTC; never used to decide whether it is new.
        discovered: When it was found, UTC.
        first: Whether no other version of the key was found before.
        segment: Id of the write that gave it its number.
        replaces: After a replay the number of the entry whose rows are replaced; else 0.
        stream: After a replay the id of the stream that asked for it; empty for a discovery, which is for all streams.
    """

    seq: int
    bucket: str
    key: str
    e_tag: str
    size_bytes: int
    last_modified: datetime
    discovered: datetime
    first: bool
    segment: str
    replaces: int = 0
    stream: str = ""


COLUMNS = [attribute.name for attribute in fields(FileVersion)]
"""The columns of a file version, without the hashes."""
_VALUES = attrgetter(*COLUMNS)


@dataclass(frozen=True)
class Segment:
    """A segment's place in the journal, without its rows.

    Attributes:
        name: Name of the object.
        first, last: Ordinals of the writes it holds; equal until segments are merged.
        first_seq, last_seq: Numbers of its first and last file.
        max_key: The greatest key in it.
        bucket: The bucket of its first file.
        id: Id of its last write.
        previous: Id of the write before its first; empty when there was none, None when an older release wrote it.
    """

    name: str
    first: int
    last: int
    first_seq: int
    last_seq: int
    max_key: str
    bucket: str
    id: str
    previous: str | None

    @property
    def files(self) -> int:
        """How many file versions it holds."""
        return self.last_seq - self.first_seq + 1


def name_of(first: int, last: int) -> str:
    """Names sort in the order of the ordinals; a merged segment comes before those that it replaces."""
    return f"{first:010d}.parquet" if first == last else f"{first:010d}-{last:010d}.parquet"


def ordinals_of(name: str) -> tuple[int, int]:
    """First and last ordinal in a name."""
    first, _, last = name.removesuffix(".parquet").partition("-")
    return int(first), int(last or first)


@lru_cache(maxsize=_HASHED)
def key_hash(key: str) -> int:
    """64 bits of a key."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


@lru_cache(maxsize=_HASHED)
def version_hash(e_tag: str, size_bytes: int) -> int:
    """64 bits of a version."""
    return int.from_bytes(blake2b(f"{e_tag}:{size_bytes}".encode(), digest_size=8).digest(), "little")


def to_table(files: Sequence[FileVersion]) -> pa.Table:
    """The rows of a new segment."""
    # by way of JSON: pyarrow's own conversion of Python values imports pandas, which costs more than all the rest
    rows = list(map(_VALUES, files))
    columns: dict[str, list] = {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}
    columns |= {name: [at.isoformat() for at in columns[name]] for name in ("last_modified", "discovered")}
    columns["key_hash"] = [key_hash(file.key) for file in files]
    columns["version_hash"] = [version_hash(file.e_tag, file.size_bytes) for file in files]
    # one row of lists: a row for each file takes several times as long to write
    data = json.dumps(columns, ensure_ascii=False).encode("utf-8", "surrogatepass")
    explicit = pj.ParseOptions(explicit_schema=_LISTS, unexpected_field_behavior="error")
    options = pj.ReadOptions(use_threads=False, block_size=len(data) + 1)
    lists = pj.read_json(pa.BufferReader(data), options, explicit)
    return pa.table([lists[field.name].combine_chunks().flatten() for field in SCHEMA], schema=SCHEMA)


def to_files(table: pa.Table) -> list[FileVersion]:
    """The rows as objects."""
    table = complete(table, COLUMNS)
    return [FileVersion(*row) for row in zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)]


def complete(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The table with the column that segments of older releases lack, where it is wanted."""
    if "stream" in columns and "stream" not in table.column_names:
        table = table.append_column(SCHEMA.field("stream"), pa.repeat("", len(table)))
    return table


def discoveries(table: pa.Table) -> pa.Table:
    """The rows of discoveries, without the requests of streams to load files again."""
    if "stream" not in table.column_names:
        return table
    # compared by length: a value of Python's beside a column makes pyarrow import pandas, half a second
    found = pc.invert(pc.cast(pc.binary_length(table["stream"]), pa.bool_()))
    return table if pc.all(found).as_py() else table.filter(found)


def numbers(column: pa.ChunkedArray, type_: type[np.number]) -> np.ndarray:
    """A column of 64-bit numbers without nulls; pyarrow's own way imports pandas, a quarter of a second."""
    parts = [
        np.frombuffer(chunk.buffers()[1], type_)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(parts) if parts else np.empty(0, type_)


def joined(table: pa.Table, previous: str | None) -> pa.Table:
    """The rows of a segment, with the id of the write that they follow."""
    return table.replace_schema_metadata(None if previous is None else {_PREVIOUS: previous.encode()})


def encode(table: pa.Table) -> bytes:
    """The object of a segment."""
    sink = io.BytesIO()
    # random columns do not compress: plain pages are read several times faster
    plain = ["key_hash", "version_hash"]
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=["bucket", "segment", "stream"],
        row_group_size=50_000,
        write_statistics=["seq", "key"],
        column_encoding=dict.fromkeys(plain, "PLAIN"),
    )
    return sink.getvalue()


class SegmentUnreadable(TerminalError):
    """A segment of a journal is empty, cut off or damaged: which files were found before is not known whole."""


def open_segment(name: str, data: bytes) -> tuple[Segment, pq.ParquetFile]:
    """A segment's head from its object, and the way to its rows.

    Raises:
        SegmentUnreadable: the object is no segment.
    """
    try:
        opened = pq.ParquetFile(io.BytesIO(data))
        return head_of(name, opened), opened
    except (pa.ArrowException, OSError, AttributeError, IndexError, KeyError) as error:
        raise SegmentUnreadable(
            f"the segment {name} of a journal, {len(data):,} bytes, cannot be read: {cause_of(error, 120)}",
            where=name,
            state="nothing was read or written",
            next_command=f"lakehouse checkpoint repair {SOME_TABLE}   (dry: says what it would do; --yes does it)",
        ) from None


def head_of(name: str, opened: pq.ParquetFile) -> Segment:
    """A segment's head."""
    metadata = opened.metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    seqs, keys = ([group.column(number).statistics for group in groups] for number in (0, 2))
    first, last = ordinals_of(name)
    ends = [opened.read_row_group(number, columns=["bucket", "segment"]) for number in sorted({0, len(groups) - 1})]
    previous = (metadata.metadata or {}).get(_PREVIOUS)
    return Segment(
        name,
        first,
        last,
        seqs[0].min,
        seqs[-1].max,
        max(_text(statistics.max) for statistics in keys),
        ends[0]["bucket"][0].as_py(),
        ends[-1]["segment"][-1].as_py(),
        None if previous is None else previous.decode(),
    )


def mergeable(ordered: Sequence[Segment], fan_in: int, max_files: int) -> Sequence[Segment]:
    """Segments that fill a block of 16, 256, 4,096 ... ordinals and together stay small; empty when there are none.

    Blocks nest or are apart. So merged segments never overlap in part, even when processes merge from old views.
    """
    span = fan_in
    while ordered and span <= ordered[-1].last:
        blocks = groupby(ordered, lambda segment, span=span: (segment.first - 1) // span)  # type: ignore[misc]
        for block, members in blocks:
            run = list(members)
            whole = run[0].first == block * span + 1 and run[-1].last == (block + 1) * span
            if whole and len(run) > 1 and sum(segment.files for segment in run) <= max_files:
                return run
        span *= fan_in
    return []


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value

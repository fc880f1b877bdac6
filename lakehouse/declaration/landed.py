"""Files that are on the store already: what they are, which columns they have, how their first rows read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from heapq import nlargest
from itertools import islice
from typing import TYPE_CHECKING, Any

from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.options.paths import SourcePath
from lakehouse.declaration.guess import Guess, chosen_names, format_of_marks, guess
from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.python_values import listed_rows

if TYPE_CHECKING:
    from lakehouse.autoloader.files.segments import FileVersion
    from lakehouse.autoloader.options.parse import CloudFilesOptions
    from lakehouse.autoloader.reading.fetch import Fetcher
    from lakehouse.autoloader.schema.versions import SchemaVersion
    from lakehouse.lake import Lake
    from lakehouse.storage import ObjectInfo

_LISTED = 5_000
_SAMPLE_FILES = 100
_SAMPLE_BYTES = 16 << 20
_SHOWN_BYTES = 1 << 20
_HEAD_BYTES = 64 << 10
ROWS = 5


@dataclass(frozen=True)
class Landed:
    """What was found under a path.

    Attributes:
        flow: How a table reads it.
        files: How many files of it were listed.
        more: Whether the listing ended before the last file.
        size_bytes: Of the listed files together.
        columns: Name to type, as Spark writes it; those of the path last.
        rows: The first rows of the sample; none when it is too large.
        sample: One of the newest files.
        notes: What is worth knowing.
    """

    flow: Files
    files: int
    more: bool
    size_bytes: int
    columns: dict[str, str]
    rows: tuple[dict[str, Any], ...]
    sample: str
    notes: tuple[str, ...]


def look_at_files(lake: Lake, table: str, path: str, format_: str | None = None) -> Landed:
    """Looks at the files under a path as a stream into ``table`` would, without Spark; nothing is written.

    Args:
        lake: Where the files are.
        table: Who is to get them.
        path: ``s3a://bucket/folder/``, with globs where need be.
        format_: What they are; None to find out.

    Raises:
        ConfigurationError: there is no file, or no column in them.
        BucketMissing, AccessDenied, StoreUnavailable: see ``ObjectStore``.
    """
    source = SourcePath.parse(path)
    listed, more = _listed(lake, source, path)
    keys, glob = (
        chosen_names([info.key for info in listed]) if format_ is None else ([info.key for info in listed], None)
    )
    chosen = [info for info in listed if info.key in set(keys)]
    newest = nlargest(_SAMPLE_FILES, _versions(source.bucket, chosen), key=lambda file: file.last_modified)
    sample = min(newest, key=lambda file: (file.size_bytes > _SHOWN_BYTES, abs(file.size_bytes - _SHOWN_BYTES)))
    fetcher = _fetcher(lake, source.bucket)
    found = _guess(fetcher, sample)
    if format_ is not None:
        found = replace(found, options=found.options if found.format == format_ else {}, format=format_, notes=())
    known = FORMATS.get(found.format)  # an unknown format is refused with all that is wrong
    options = {"cloudFiles.inferColumnTypes": "true"} if known and known.infers_types else {}
    fields = {"path": path, "format": found.format, "options": {**options, **found.options}}
    flow = Files.model_validate(fields | ({"glob": glob} if glob else {}))
    asked = replace(flow.cloud_files(lake.settings, table), sample_files=_SAMPLE_FILES, sample_bytes=_SAMPLE_BYTES)
    version, asked = _first_version(asked, source, fetcher, newest)
    columns = {item.name: item.dataType.simpleString() for item in [*version.data.fields, *version.partitions.fields]}
    if not columns:
        raise ConfigurationError(
            f"no column is found in {len(newest):,} files that were read as {found.format}",
            where=path,
            state="nothing was written",
            next_command="name what they are: lakehouse add TABLE PATH --format csv",
        )
    left_out = len(listed) - len(chosen)
    notes = (*found.notes, *((f"{left_out:,} files of other formats are left out by glob {glob}",) if left_out else ()))
    return Landed(
        flow=flow,
        files=len(chosen),
        more=more,
        size_bytes=sum(info.size_bytes for info in chosen),
        columns=columns,
        rows=tuple(_first_rows(lake, asked, version, sample)),
        sample=sample.key,
        notes=notes,
    )


def _listed(lake: Lake, source: SourcePath, path: str) -> tuple[list[ObjectInfo], bool]:
    from lakehouse.autoloader.files.discovery import listed_files

    seen = list(islice(listed_files(lake.store, source), _LISTED + 1))
    listed = [info for info in seen[:_LISTED] if info.size_bytes and source.covers(info.key)]
    if listed:
        return listed, len(seen) > _LISTED
    delta = any("_delta_log/" in info.key for info in seen)
    hidden = f", among {len(seen):,} objects that are empty, hidden or of another name" if seen else ""
    raise ConfigurationError(
        "this is a Delta table, and no folder of files" if delta else f"there is no file{hidden}",
        where=path,
        state="nothing was written",
        next_command="name a folder with files: lakehouse add TABLE s3a://bucket/folder/",
    )


def _versions(bucket: str, chosen: list[ObjectInfo]) -> Iterator[FileVersion]:
    from lakehouse.autoloader.files.journal import utc_now
    from lakehouse.autoloader.files.segments import FileVersion

    now = utc_now()
    for seq, info in enumerate(chosen, 1):
        yield FileVersion(seq, bucket, info.key, info.e_tag, info.size_bytes, info.last_modified, now, True, "")


def _fetcher(lake: Lake, bucket: str) -> Fetcher:
    from lakehouse.autoloader.reading.fetch_local import fetcher_of

    return fetcher_of(bucket, lambda: lake.endpoint)


def _guess(fetcher: Fetcher, sample: FileVersion) -> Guess:
    """What a file is by its bytes; by its name alone when it is packed and large, or broken."""
    from lakehouse.autoloader.files.plan import Span
    from lakehouse.autoloader.formats.rows import BadFile
    from lakehouse.autoloader.reading.decompress import compression_of, unpack

    codec = compression_of(sample.key)
    span = Span(sample.seq, sample.key, sample.e_tag, sample.size_bytes, sample.last_modified, 0, sample.size_bytes)
    head = b""
    if sample.size_bytes <= _SAMPLE_BYTES:
        with suppress(BadFile), unpack([fetcher.whole(span)], codec or "none", 64 * _SAMPLE_BYTES) as file:
            head = file.read(_HEAD_BYTES + 1)
    elif codec is None:
        head = fetcher.beginning(span)
        if format_of_marks(head) is None:
            head = fetcher.lines(replace(span, length=_HEAD_BYTES), _HEAD_BYTES)[0] or head
    return guess(sample.key, head[:_HEAD_BYTES], whole=0 < len(head) <= _HEAD_BYTES)


def _first_version(
    options: CloudFilesOptions, source: SourcePath, fetcher: Fetcher, newest: list[FileVersion]
) -> tuple[SchemaVersion, CloudFilesOptions]:
    """The columns, as the first start of the stream would find them, and the options by which they were found."""
    from lakehouse.autoloader.context import with_header
    from lakehouse.autoloader.schema.versions import infer_version

    asked = with_header(options)
    return infer_version(asked, source.root, fetcher, newest), asked


def _first_rows(
    lake: Lake, options: CloudFilesOptions, version: SchemaVersion, sample: FileVersion
) -> Iterator[dict[str, Any]]:
    from lakehouse.autoloader.files.plan import Span
    from lakehouse.autoloader.lineage import METADATA
    from lakehouse.autoloader.schema.versions import full_schema
    from lakehouse.autoloader.stream import Stream

    if sample.size_bytes > _SAMPLE_BYTES:
        return
    span = Span(sample.seq, sample.key, sample.e_tag, sample.size_bytes, sample.last_modified, 0, sample.size_bytes)
    stream = Stream(options, None, endpoint=lake.endpoint)
    left = ROWS
    for batch in stream.rows([span], full_schema(options, version), []):
        for row in listed_rows(batch.slice(0, left)):
            row.pop(METADATA, None)
            yield row
        left -= min(left, batch.num_rows)
        if not left:
            return

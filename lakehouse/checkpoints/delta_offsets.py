"""Which data files a micro-batch read of a Delta table: from the offsets of its checkpoint and the table's log.

Delta's streaming source numbers the files of a commit in the order of its log entries, and those of the first snapshot
by modification time and path; an offset names the last file that a batch took. (Delta 4.4, ``DeltaSource``.)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from deltalake.exceptions import DeltaError

from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import SOME_TABLE, TerminalError
from lakehouse.lake import Lake, LakeTable, adds_of
from lakehouse.plain_text import cause_of
from lakehouse.storage import ObjectMissing
from lakehouse.storage.delta_paths import commit_uri

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Place:
    """A place in a Delta table's history, as Delta's streaming source keeps it in an offset.

    Attributes:
        version: The commit; or the version of the snapshot that a first start reads.
        index: Number of the last file that was read in it; negative before the first.
        snapshot: Whether ``version`` is a snapshot, not a commit.
    """

    version: int
    index: int
    snapshot: bool

    @classmethod
    def of(cls, offset: dict[str, Any]) -> Place:
        """From an entry of the offset log."""
        return cls(offset["reservoirVersion"], offset["index"], bool(offset.get("isStartingVersion")))

    @property
    def last_commit(self) -> int:
        """The last commit that was read, perhaps in part."""
        return self.version if self.snapshot or self.index >= 0 else self.version - 1


@dataclass(frozen=True)
class Listed:
    """A data file that a stream reads.

    Attributes:
        uri: The file.
        size_bytes: Its size.
    """

    uri: str
    size_bytes: int


def files_between(lake: Lake, table: str, start: Place | None, end: Place) -> list[str]:
    """Paths of the data files after ``start`` (None: from the beginning) up to ``end``.

    Commits that take rows out are passed over, as a stream does that may go on behind them.

    Raises:
        TerminalError: a commit is not in the table's log any more.
    """
    return [file.uri for file in _between(lake, table, start, end)]


def _between(lake: Lake, table: str, start: Place | None, end: Place) -> list[Listed]:
    if start is None:
        start = Place(end.version if end.snapshot else end.version - 1, -1, snapshot=True)
    if start.snapshot:
        found = files_of_snapshot(lake, table, start.version)[max(start.index + 1, 0) :]
        if end.snapshot:
            return found[: end.index - max(start.index, -1)]
        first = start.version + 1
    else:
        first = start.version
        found = []
    for version in range(first, end.version + 1):
        if version == end.version and end.index < 0:
            break
        added = files_of_commit(lake, table, version) or []
        upto = end.index + 1 if version == end.version else len(added)
        after = max(start.index + 1, 0) if version == start.version and not start.snapshot else 0
        found += added[after:upto]
    return found


def files_of_snapshot(lake: Lake, table: str, version: int) -> list[Listed]:
    """The data files of a version, in the order in which a first start reads them.

    Raises:
        TerminalError: the table's log cannot tell them any more.
    """
    if version < 0:
        return []
    uri = lake.settings.table_uri(table)
    try:
        opened = LakeTable(uri, lake.endpoint, version)
    except DeltaError as error:
        lake.store.bucket_exists(lake.settings.bucket)  # which says it when the store is the reason
        raise _lost(f"version {version} of {table} ({cause_of(error, 120)})", uri) from None
    adds = adds_of(opened).select(["modification_time", "path", "size_bytes"])
    ordered = sorted(zip(*(column.to_pylist() for column in adds.columns), strict=True))
    return [Listed(f"{uri}/{unquote(path)}", size) for _, path, size in ordered]


def files_of_commit(lake: Lake, table: str, version: int) -> list[Listed] | None:
    """The data files that a commit added, in the order in which a stream reads them; None when it takes rows out.

    Raises:
        TerminalError: it is not in the table's log any more.
    """
    uri = lake.settings.table_uri(table)
    bucket, key = split_uri(commit_uri(uri, version))
    try:
        actions = [json.loads(line) for line in lake.store.read(bucket, key).splitlines() if line.strip()]
    except ObjectMissing:
        raise _lost(f"commit {version} of {table}", uri) from None
    if any(action["remove"].get("dataChange", True) for action in actions if "remove" in action):
        return None
    added = [action["add"] for action in actions if "add" in action and action["add"].get("dataChange", True)]
    return [Listed(f"{uri}/{unquote(add['path'])}", int(add["size"])) for add in added]


def _lost(what: str, where: str) -> TerminalError:
    return TerminalError(
        f"{what} is not in its log any more: what a batch read cannot be found out",
        where=where,
        state="nothing was changed",
        next_command=f"compute the table again from its source: lakehouse checkpoint restart {SOME_TABLE} --yes",
    )


def rows_read(spark: SparkSession, lake: Lake, table: str, *, reader: str) -> DataFrame:
    """The rows of ``table`` that the stream into ``reader`` has read, as it read them; none before its first batch.

    A stream of the files themselves has read the rows of the files up to its place in the journal.
    """
    uri = lake.settings.table_uri(table)
    now = spark.read.format("delta").load(uri)
    last = checkpoints.last_finished(lake, reader)
    if last is None:
        return now.limit(0)
    if "seq" in last.offset:
        return now.where(now[SEQUENCE] <= last.offset["seq"])
    place = Place.of(last.offset)
    if place.index < 0 and not place.snapshot:
        return spark.read.format("delta").option("versionAsOf", place.last_commit).load(uri)
    return rows_of_files(spark, lake, table, files_between(lake, table, None, place))


def rows_of_files(spark: SparkSession, lake: Lake, table: str, paths: list[str]) -> DataFrame:
    """The rows of data files of ``table``, whether it still has them or not."""
    uri = lake.settings.table_uri(table)
    now = spark.read.format("delta").load(uri)
    # the values of columns that make folders are in the paths alone
    return spark.read.schema(now.schema).option("basePath", uri).parquet(*paths) if paths else now.limit(0)

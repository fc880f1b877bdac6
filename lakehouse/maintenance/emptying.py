"""Emptying a table so that nothing is lost: one commit takes its files out, and the version before it keeps them.

``RESTORE TABLE ... TO VERSION AS OF n`` brings the rows back until somebody runs ``VACUUM``, which by default leaves
what is younger than seven days (``delta.deletedFileRetentionDuration``). Nothing is copied, whatever the table's size.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.delta_commit import EMPTIED
from lakehouse.errors import TerminalError
from lakehouse.lake import Lake, adds_of
from lakehouse.plain_text import sized
from lakehouse.storage.delta_paths import commit_uri

_PLAIN = frozenset(
    {"appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns", "columnMapping"}
    | {"typeWidening", "typeWidening-preview", "timestampNtz", "variantType", "identityColumns"}
)
"""Features of a table that lets whole files be taken out without a word about their rows."""


@dataclass(frozen=True)
class Emptied:
    """What emptying a table takes out, or would take out.

    Attributes:
        uri, version: The table, and its version that keeps it.
        rows, files, size_bytes: How much it is.
    """

    uri: str
    version: int
    rows: int
    files: int
    size_bytes: int

    def step(self, table: str) -> str:
        """A sentence for the user."""
        return (
            f"empty {table}: its {self.rows:,} rows in {self.files:,} files ({sized(self.size_bytes)}) stay in "
            f"version {self.version}; until a VACUUM removes it, RESTORE TABLE {table} TO VERSION AS OF {self.version} "
            "brings them back"
        )


def look_at(lake: Lake, uri: str) -> Emptied | None:
    """What emptying the table at ``uri`` would take out; None when there is no table."""
    opened = lake.delta_at(uri)
    if opened is None:
        return None
    adds = adds_of(opened)
    rows = sum(count or 0 for count in adds["num_records"].to_pylist())
    return Emptied(uri, opened.version(), rows, adds.num_rows, sum(adds["size_bytes"].to_pylist()))


def require_emptiable(lake: Lake, uri: str) -> None:
    """Makes sure that the table at ``uri`` can be emptied without Spark; no table is fine.

    Raises:
        TerminalError: it has a feature with which that is not so simple.
    """
    opened = lake.delta_at(uri)
    if opened is None:
        return
    protocol = opened.protocol()
    features = ({*(protocol.writer_features or ()), *(protocol.reader_features or ())}) - _PLAIN
    if (
        features
        or opened.metadata().configuration.get("delta.appendOnly") == "true"
        or opened.metadata().partition_columns
    ):
        raise TerminalError(
            "this table cannot be emptied without Spark"
            + (f": it has the features {', '.join(sorted(features))}" if features else ""),
            where=uri,
            state="nothing was changed",
            next_command=f"empty it in Spark: DELETE FROM delta.`{uri}`; then run the same again",
        )


def empty(lake: Lake, uri: str, why: str) -> Emptied | None:
    """Empties the table at ``uri`` in one commit, also a table without rows; None when there is no table.

    Raises:
        TerminalError: the table has a feature with which that is not so simple, or somebody else writes it now.
    """
    require_emptiable(lake, uri)
    opened, found = lake.delta_at(uri), look_at(lake, uri)
    if opened is None or found is None:
        return None
    now = int(time.time() * 1000)
    about = {
        "timestamp": now,
        "operation": "DELETE",
        "operationParameters": {"predicate": "[]"},
        "operationMetrics": {"numRemovedFiles": str(found.files), "numDeletedRows": str(found.rows)},
        "readVersion": found.version,
        "isBlindAppend": False,
        "userMetadata": json.dumps({EMPTIED: why}),
    }
    adds = adds_of(opened).select(["path", "size_bytes"])
    removes = [
        {
            "path": path,
            "deletionTimestamp": now,
            "dataChange": True,
            "extendedFileMetadata": True,
            "partitionValues": {},
            "size": size,
        }
        for path, size in zip(*(column.to_pylist() for column in adds.columns), strict=True)
    ]
    lines = [json.dumps({"commitInfo": about}), *(json.dumps({"remove": remove}) for remove in removes)]
    bucket, log = split_uri(commit_uri(uri, found.version + 1))
    lake.store.write(bucket, log, ("\n".join(lines) + "\n").encode(), if_absent=True)
    return found

"""What a commit of a Delta table did, and what ours say of themselves, by its entry in the table's history."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

EMPTIED, FORGOTTEN, REPLACES, PLACE = "emptied", "forgotten", "replaces", "cloudFiles"
"""Keys of a commit's metadata: why a table was emptied; what becomes of rows computed from those removed; that rows
took the place of others; where the source stood before the commit's batch and after it."""

_ADDING = ("WRITE", "STREAMING UPDATE")


@dataclass(frozen=True)
class Commit:
    """One commit of a streaming write.

    Attributes:
        version: Delta's version.
        batch_id: The micro-batch that made it (Delta's ``epochId``); None for other operations.
        query_id: The checkpoint's id that made it.
        rows_added: Rows that came with it.
        rows_updated: Rows that a MERGE changed.
        rows_removed: Rows that it took out.
        promoted: Columns that it filled from rescued values.
        emptied: Whether it emptied the table, see ``emptying``.
        forgotten: After ``lakehouse forget``, what tables computed from it do: ``follow``, ``keep`` or ``ask``.
        said: Whether it says in its metadata what it was, as commits of our streams and commands do.
        at: When it was made, by the clock of who made it; None where the log does not say so.
    """

    version: int
    operation: str
    batch_id: int | None
    query_id: str | None
    rows_added: int
    promoted: frozenset[str] = frozenset()
    rows_updated: int = 0
    rows_removed: int = 0
    emptied: bool = False
    forgotten: str | None = None
    said: bool = field(default=False, compare=False)
    at: datetime | None = field(default=None, compare=False)
    _takes_out: Callable[[], bool] = field(default=lambda: False, repr=False, compare=False)

    @cached_property
    def only_adds(self) -> bool:
        """Whether it took no rows out: a stream can read it. The commit itself is read where its name leaves that open.

        Raises:
            StoreUnavailable, AccessDenied: it cannot be read.
        """
        return not self._takes_out()


def commit_of(entry: dict[str, Any], takes_out: Callable[[], bool]) -> Commit:
    """A commit by its entry in the table's history.

    Args:
        entry: The entry, with the version.
        takes_out: Reads the commit itself: whether it takes rows out. Asked where the entry leaves it open.
    """
    parameters, metrics = entry.get("operationParameters") or {}, entry.get("operationMetrics") or {}
    metadata, operation = metadata_of(entry), entry.get("operation") or ""
    query, batch = batch_of(entry)
    promoted = metadata.get("promoted")
    if "REPLACE" in operation or operation == "RESTORE":
        takes_out = _always  # what was read before is gone, or comes back, even where no file is
    elif REPLACES in metadata or FORGOTTEN in metadata:
        takes_out = _always
    elif operation in _ADDING and "Append" in (parameters.get("mode"), parameters.get("outputMode")):
        takes_out = _never
    return Commit(
        version=entry["version"],
        operation=operation,
        batch_id=batch,
        query_id=query,
        rows_added=_rows_added(metrics),
        rows_updated=_number(metrics.get("numTargetRowsUpdated", metrics.get("num_target_rows_updated"))) or 0,
        rows_removed=_number(
            metrics.get("numTargetRowsDeleted", metrics.get("numDeletedRows", metrics.get("num_deleted_rows")))
        )
        or 0,
        promoted=frozenset(name for name in promoted if isinstance(name, str))
        if isinstance(promoted, list)
        else frozenset(),
        emptied=EMPTIED in metadata,
        forgotten=str(metadata[FORGOTTEN]) if FORGOTTEN in metadata else None,
        said=bool(metadata),
        at=_time(entry.get("timestamp")),
        _takes_out=takes_out,
    )


def _rows_added(metrics: dict[str, Any]) -> int:
    """Rows that came: the output of a MERGE, or of replacing a part, has those, too, that were only copied."""
    inserted = _number(metrics.get("numTargetRowsInserted", metrics.get("num_target_rows_inserted")))
    if inserted is not None:
        return inserted
    written = _number(metrics.get("numOutputRows", metrics.get("num_added_rows")))
    return (written or 0) - (_number(metrics.get("numCopiedRows")) or 0)


def _always() -> bool:
    return True


def _never() -> bool:
    return False


def batch_of(entry: dict[str, Any]) -> tuple[str | None, int | None]:
    """The checkpoint's id and the micro-batch of a commit, by its history entry; None for any other commit."""
    # a batch that replaces rows is no streaming write for Delta; it says itself which batch it is
    metadata = metadata_of(entry)
    parameters = metadata if "epochId" in metadata else entry.get("operationParameters") or {}
    query = parameters.get("queryId")
    return query if isinstance(query, str) else None, _number(parameters.get("epochId"))


def metadata_of(entry: dict[str, Any]) -> dict[str, Any]:
    """A commit's ``userMetadata`` where it is a JSON object, as ours are; empty for what anybody else writes there."""
    try:
        metadata = json.loads(entry.get("userMetadata") or "{}")
    except (ValueError, TypeError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _time(given: Any) -> datetime | None:
    milliseconds = _number(given)
    try:
        return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):  # of a log of somebody else
        return None


def _number(given: Any) -> int | None:
    """A whole number, which Delta's logs have as text, too; None for anything else."""
    if isinstance(given, bool) or not isinstance(given, int | str):
        return None
    try:
        return int(given)
    except ValueError:
        return None

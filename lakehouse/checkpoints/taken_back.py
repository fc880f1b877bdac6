"""A table that RESTORE took back: its rows are older than what Delta says of its streams.

RESTORE brings back the files of an older version, and keeps the transactions of the newest. A stream that trusted those
would go on behind batches whose rows are gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deltalake import DeltaTable

from lakehouse.delta_commit import batch_of

_RESTORE = "RESTORE"
_LOOKS = (1, 20, None)  # mostly the newest commit is the stream's own


def last_batch(opened: DeltaTable, query_id: str) -> int | None:
    """The last batch of a checkpoint whose rows the table has, at the version that was opened; None for none.

    Args:
        opened: The table.
        query_id: The checkpoint's own id.
    """
    recorded = opened.transaction_version(query_id)
    if recorded is None:
        return None
    for entry in _entries(opened):
        if entry.get("operation") == _RESTORE:
            return next((batch for query, batch in map(batch_of, content(opened)) if query == query_id), None)
        if batch_of(entry) == (query_id, recorded):
            break
    return recorded


def content(opened: DeltaTable) -> Iterator[dict[str, Any]]:
    """The history of what the table has now, newest first: without what a RESTORE took back.

    It ends at a RESTORE that does not say where to.
    """
    version: int | None = None
    milliseconds: int | None = None
    for entry in _entries(opened):
        if version is not None and entry["version"] > version:
            continue
        if milliseconds is not None and entry.get("timestamp", 0) > milliseconds:
            continue
        if entry.get("operation") != _RESTORE:
            yield entry
            continue
        parameters = entry.get("operationParameters") or {}
        version, milliseconds = _whole(parameters.get("version")), _whole(parameters.get("datetime"))
        if version is None and milliseconds is None:
            return


def _entries(opened: DeltaTable) -> Iterator[dict[str, Any]]:
    """The history, newest first, read as far as it is asked for."""
    seen = 0
    for limit in _LOOKS:
        found = opened.history(limit)
        yield from found[seen:]
        if limit is None or len(found) < limit:
            return
        seen = len(found)


def _whole(given: Any) -> int | None:
    try:
        return int(given)
    except (TypeError, ValueError):
        return None

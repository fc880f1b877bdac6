"""The last batch that a table has, known to its writer without the log.

``deltalake`` reads the log behind the last checkpoint each time it is asked for a transaction or for the history. A run
that keeps its table open would read it some times a batch, and the more the more batches it has made.
"""

from __future__ import annotations

from deltalake import DeltaTable


class OwnCommits:
    """What a run knows of its own commits to a table that it keeps open."""

    def __init__(self) -> None:
        self._last: tuple[DeltaTable, int, str, int] | None = None

    def note(self, opened: DeltaTable, before: int, query_id: str, batch: int) -> None:
        """Takes note of a commit that came about.

        Args:
            opened: The table.
            before: Its version before the commit, by this object.
            query_id: The checkpoint's own id.
            batch: What was committed.
        """
        self._last = opened, before, query_id, batch

    def last(self, opened: DeltaTable, query_id: str) -> int | None:
        """The last batch, whose rows are there; None where somebody else may have committed since.

        A table that is one version further than before the commit has this commit, and no other.
        """
        if self._last is None:
            return None
        table, before, query, batch = self._last
        alone = table is opened and query == query_id and opened.version() == before + 1
        return batch if alone else None

"""The last batch that a table has, known to its writer without a look at the log.

``deltalake`` reads the log since the last checkpoint each time it is asked for a transaction or for the history. A run
that keeps its table open would read it several times for each batch, and more of it after every batch.
"""

from __future__ import annotations

from deltalake import DeltaTable


class OwnCommits:
    """What a run knows of its own commits to a table that it keeps open."""

    def __init__(self) -> None:
        self._last: tuple[DeltaTable, int, str, int] | None = None

    def note(self, opened: DeltaTable, before: int, query_id: str, batch: int) -> None:
        """Records a commit that succeeded.

        Args:
            opened: The table.
            before: The version of ``opened`` before the commit.
            query_id: The checkpoint's own id.
            batch: Number of the batch that was committed.
        """
        self._last = opened, before, query_id, batch

    def last(self, opened: DeltaTable, query_id: str) -> int | None:
        """Number of the last batch in the table; None where somebody else may have committed since.

        A table that is exactly one version after ``before`` has this commit, and no other.
        """
        if self._last is None:
            return None
        table, before, query, batch = self._last
        alone = table is opened and query == query_id and opened.version() == before + 1
        return batch if alone else None

"""The writer of a ``windows`` table in update mode. Little is imported here, because a worker of Spark loads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.streams.transaction import merge, transaction

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class WindowsWriter:
    """For ``foreachBatch`` in update mode: each window that a batch changed replaces its earlier state.

    Attributes:
        table_uri: The table; it must exist.
        checkpoint_uri: The stream's checkpoint.
        names: Columns that identify a row of the table, quoted for SQL.
        session_keys: ``engine.conf.TRANSACTION``.
    """

    table_uri: str
    checkpoint_uri: str
    names: tuple[str, ...]
    session_keys: dict[str, str]

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Commits the batch; a batch that the table has already is skipped."""
        same = " AND ".join(f"t.{name} <=> s.{name}" for name in self.names)
        clauses = f"ON {same} WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        merge(frame, self.table_uri, clauses, transaction(self.checkpoint_uri, batch_id), self.session_keys)

"""``rollup``: aggregates of a table by groups, right after every run whatever came late or was sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from lakehouse.table import At, Flow, TableName

if TYPE_CHECKING:
    from lakehouse.progress import StreamReport
    from lakehouse.streams.run import Run


class Rollup(Flow):
    """Incremental aggregates: groups whose rows changed are computed anew from all their rows.

    Attributes:
        of: The table that is read; it must have a change data feed, as every ``latest`` table has.
        group: Name to SQL expression over the columns of ``of``; the first is the one by which parts of the table are
            replaced.
        aggregates: Name to SQL aggregate.
    """

    kind: ClassVar[str] = "rollup"

    of: TableName
    group: dict[str, str] = Field(min_length=1)
    aggregates: dict[str, str] = Field(min_length=1)

    @property
    def reads(self) -> tuple[str, ...]:
        """The table that is read."""
        return (self.of,)

    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Computes the groups anew whose rows changed."""
        raise NotImplementedError

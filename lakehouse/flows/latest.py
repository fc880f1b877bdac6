"""``latest``: of a table that has every version of its rows, each key once, in its latest version."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from lakehouse.flows.judged import Judged
from lakehouse.table import At, Names

if TYPE_CHECKING:
    from lakehouse.progress import StreamReport
    from lakehouse.streams.run import Run


class Latest(Judged):
    """A keyed upsert.

    Attributes:
        key: Columns that name a row. Rows in which any of them is NULL are left out, and counted by a check.
        order: Columns by which versions of a row are compared, the highest wins; after them the file's number and the
            record's in it. Empty: what arrived last wins.
        columns: Further columns: name to SQL expression over the source's columns and ``event_time``.
        change_data_feed: Whether the table tells what changed, which a rollup of it needs.
    """

    kind: ClassVar[str] = "latest"

    key: Names = Field(min_length=1)
    order: Names = ()
    columns: dict[str, str] = Field(default_factory=dict)
    change_data_feed: bool = True

    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Merges the versions that are new."""
        raise NotImplementedError

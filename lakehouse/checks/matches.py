"""``matches``: a ``latest`` or ``rollup`` table is what its source gives."""

from __future__ import annotations

from typing import ClassVar

from lakehouse.checks.cures import recompute
from lakehouse.checks.groups import groups_of
from lakehouse.checks.keys import keys_of
from lakehouse.flows.latest import Latest
from lakehouse.flows.rollup import Rollup
from lakehouse.table import At, Check, Finding


class Matches(Check):
    """``matches``: the table has each key once, as its latest version is; or each group, as all its rows give it.

    Rows that the table's stream has not read yet are not compared. A table of another kind has no source to compare.
    """

    kind: ClassVar[str] = "matches"
    flows: ClassVar[tuple[str, ...]] = ("latest", "rollup")
    about: ClassVar[str] = "The table is what its source gives; shows the keys or groups that are not."

    def examine(self, at: At) -> Finding | None:
        """Compares the table with its source."""
        if isinstance(at.table.flow, Latest):
            keys = keys_of(at, at.table.flow)
            numbers = {
                "keys_in_source": keys.in_source,
                "rows_in_table": keys.rows_in_table,
                "wrong_keys": keys.wrong,
            }
            return self.finding(at, not keys.wrong, numbers, keys.wrong_sample, recompute(at.table))
        if isinstance(at.table.flow, Rollup):
            groups = groups_of(at, at.table.flow)
            numbers = {
                "groups": groups.groups,
                "rows_in_table": groups.rows_in_table,
                "source_rows": groups.source_rows,
                "wrong_groups": groups.wrong,
                "groups_to_come": groups.to_come,
            }
            return self.finding(at, not groups.wrong, numbers, groups.sample, recompute(at.table))
        return None

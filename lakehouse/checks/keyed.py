"""``keyed``: rows that a ``latest`` table leaves out, because their key has a NULL."""

from __future__ import annotations

from typing import ClassVar

from lakehouse.autoloader.lineage import FILE
from lakehouse.checks.cures import correct_and_replay
from lakehouse.checks.keys import keys_of
from lakehouse.flows.latest import Latest
from lakehouse.table import At, Check, Finding


class Keyed(Check):
    """``keyed``: rows of the source that are believed and have a NULL in the key: left out of the table."""

    kind: ClassVar[str] = "keyed"
    flows: ClassVar[tuple[str, ...]] = ("latest",)
    about: ClassVar[str] = "Rows without a key cannot be told from each other: left out, and counted here."
    blocks: ClassVar[bool] = False

    def examine(self, at: At) -> Finding | None:
        """Counts them."""
        flow = at.table.flow
        if not isinstance(flow, Latest):
            return None
        keys = keys_of(at, flow)
        files = [str(row[FILE]) for row in keys.keyless_sample if row.get(FILE)]
        cure = f"give the rows of {flow.of} a value in {', '.join(flow.key)}, where they come from"
        if files:
            cure = correct_and_replay(at.catalogue[flow.of], files)
        return self.finding(at, not keys.keyless, {"rows_without_key": keys.keyless}, keys.keyless_sample, cure)

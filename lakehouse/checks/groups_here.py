"""The comparison of ``groups`` without Spark: Arrow computes the source's groups, and they are compared in Python."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse.counting import SAMPLE_ROWS
from lakehouse.flows.rollup import Rollup
from lakehouse.table import At

if TYPE_CHECKING:
    from lakehouse.counting.data_files import DataFiles

TOLERANCE = 1e-9
"""How far a floating-point sum may be off, as a share of the sum of absolute values; see ``groups_of``."""
_MOST_ROWS, _MOST_GROUPS = 1_000_000, 1_000_000
_ROWS = "_rows_"

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Groups:
    """What the comparison found.

    Attributes:
        groups: Groups that the source gives.
        rows_in_table: Rows of the table.
        source_rows: Rows of the source that are in these groups.
        wrong: Groups that the table has not once, or not with these aggregates.
        to_come: Values of the first group column whose rows changed since the table's stream read last. Their groups
            are not compared.
        sample: Some wrong groups, with the aggregates of both sides.
    """

    groups: int
    rows_in_table: int
    source_rows: int
    wrong: int
    to_come: int
    sample: tuple[dict[str, Any], ...]


def groups_here(at: At, flow: Rollup, scales: dict[str, str]) -> Groups | None:
    """Computes all groups again, and compares; None when Spark has to, or is there and the tables are large.

    Args:
        at: The table.
        flow: Its flow.
        scales: For sums and means the SQL aggregate that scales their tolerance, see ``scale_of``.

    Raises:
        DataFileMissing, StoreUnavailable: rows cannot be read.
    """
    from lakehouse.counting.data_files import DataFiles, OnlySpark

    try:
        source, target = DataFiles.of(at.lake, flow.of), DataFiles.of(at.lake, at.table.name)
        if source is None or target is None:
            return None
        if flow.needs_spark(at.lake.settings) and source.about_rows + target.about_rows > _MOST_ROWS:
            return None
        return _Comparison(at, flow, scales, source, target).result()
    except (OnlySpark, OverflowError):  # Python has the years 1 to 9999 alone
        return None


class _Comparison:
    def __init__(self, at: At, flow: Rollup, scales: dict[str, str], source: DataFiles, target: DataFiles) -> None:
        import pyarrow as pa

        from lakehouse.arrow_sql.aggregates import Groups as Summed

        self._at, self._flow, self._source, self._target = at, flow, source, target
        types = Summed(source.schema, flow.group, flow.aggregates).result_schema
        self._scales = {
            total: f"_scale_of_{total}" for total in scales if pa.types.is_floating(types.field(total).type)
        }
        measured = {name: scales[total] for total, name in self._scales.items()}
        self._summed = Summed(source.schema, flow.group, {**flow.aggregates, **measured, _ROWS: "count(*)"})

    def result(self) -> Groups:
        ahead = self._ahead()
        expected = {key: row for key, row in self._expected().items() if key[0] not in ahead}
        found: dict[Key, list[dict[str, Any]]] = {}
        for key, row in self._kept():
            if key[0] not in ahead:
                found.setdefault(key, []).append(row)
        wrong = [key for key in {**expected, **found} if not self._right(expected.get(key), found.get(key, []))]
        wrong.sort(key=lambda key: [(value is not None, str(value)) for value in key])
        return Groups(
            len(expected),
            sum(map(len, found.values())),
            sum(row[_ROWS] for row in expected.values()),
            len(wrong),
            len(ahead),
            tuple(self._shown(key, expected.get(key, {}), found.get(key, [{}])[0]) for key in wrong[:SAMPLE_ROWS]),
        )

    def _ahead(self) -> set[Any]:
        """Parts that were changed by commits of the source which the table has not read yet."""
        from lakehouse.checkpoints import agreement as checkpoints
        from lakehouse.checkpoints.delta_offsets import Place
        from lakehouse.direct.rollup import changed_parts

        last = checkpoints.last_finished(self._at.lake, self._at.table.name)
        if last is None or last.offset["reservoirId"] != self._source.table_id:
            return set()  # it has read nothing of this table
        read = Place.of(last.offset).last_commit
        return changed_parts(self._source, self._summed, read + 1, self._source.version)[0]

    def _expected(self) -> dict[Key, dict[str, Any]]:
        from lakehouse.counting.data_files import OnlySpark

        for _, rows in self._source.batches(list(self._source.sizes), self._summed.columns):
            self._summed.add(rows)
        groups = self._summed.result()
        if groups.num_rows > _MOST_GROUPS:
            raise OnlySpark("there are too many groups to hold them here")
        names = list(self._flow.group)
        return {tuple(row[name] for name in names): row for row in groups.to_pylist()}

    def _kept(self) -> list[tuple[Key, dict[str, Any]]]:
        spelled = {name.lower(): name for name in self._target.schema.names}
        wanted = [*self._flow.group, *self._flow.aggregates]
        columns = [spelled[name.lower()] for name in wanted if name.lower() in spelled]
        kept = []
        for _, rows in self._target.batches(list(self._target.sizes), columns):
            for row in rows.to_pylist():
                values = {name: row.get(spelled.get(name.lower(), "")) for name in wanted}
                kept.append((tuple(values[name] for name in self._flow.group), values))
        return kept

    def _right(self, expected: dict[str, Any] | None, found: list[dict[str, Any]]) -> bool:
        if expected is None or len(found) != 1:
            return False
        return all(self._same(aggregate, expected, found[0]) for aggregate in self._flow.aggregates)

    def _same(self, aggregate: str, expected: dict[str, Any], found: dict[str, Any]) -> bool:
        wanted, has = expected[aggregate], found[aggregate]
        if not isinstance(wanted, float) or not isinstance(has, float):
            return bool(wanted == has)
        if wanted == has or (math.isnan(wanted) and math.isnan(has)):
            return True
        scale = expected[self._scales[aggregate]] if aggregate in self._scales else max(abs(wanted), 1.0)
        off = abs(wanted - has)
        # an infinite scale allows nothing: such a sum is infinite or no number, and the same however it is added
        return off < math.inf and off <= TOLERANCE * scale

    def _shown(self, key: Key, expected: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        sides = {
            f"{aggregate}_{where}": side.get(aggregate)
            for aggregate in self._flow.aggregates
            for side, where in ((expected, "of_source"), (found, "in_table"))
        }
        return {**dict(zip(self._flow.group, key, strict=True)), **sides}

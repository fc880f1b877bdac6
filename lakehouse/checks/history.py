"""``fresh_within`` and ``row_count``: the age of a table's data, and its number of rows, from Delta's log alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from lakehouse.table import At, Check, Duration, Finding

if TYPE_CHECKING:
    from deltalake import DeltaTable


class FreshWithin(Check):
    """``fresh_within: 1 day``: the newest commit that brought data is not older."""

    kind: ClassVar[str] = "fresh_within"
    main: ClassVar[str] = "age"
    about: ClassVar[str] = "The newest data are not older than allowed."
    blocks: ClassVar[bool] = False

    age: Duration

    def examine(self, at: At) -> Finding | None:
        """Looks for the newest commit that added rows."""
        opened = at.lake.delta(at.table.name)
        if opened is None:
            return None
        times = _adds(opened, "modification_time")
        if not times:
            return None
        newest = datetime.fromtimestamp(max(times) / 1000, UTC)
        age_seconds = (datetime.now(UTC) - newest).total_seconds()
        numbers = {"age_seconds": round(age_seconds, 1), "allowed_seconds": self.age.total_seconds()}
        cure = f"see whether data still arrive at its source; then: lakehouse ingest {at.table.name}"
        return self.finding(at, age_seconds <= self.age.total_seconds(), numbers, cure=cure)


class RowCount(Check):
    """``row_count: {min: 1, max_change: 0.5}``: how many rows there are, also against an earlier version.

    Attributes:
        min: Fewest rows.
        max: Most rows.
        max_change: Largest change against the version of ``since`` ago, as a share of its rows.
        since: How far back that is; a younger table is held against its first version.
    """

    kind: ClassVar[str] = "row_count"
    main: ClassVar[str] = "min"
    about: ClassVar[str] = "There are as many rows as expected, also against what there was before."
    blocks: ClassVar[bool] = False

    min: int | None = Field(None, ge=0)
    max: int | None = Field(None, ge=0)
    max_change: float | None = Field(None, ge=0)
    since: Duration = timedelta(days=1)

    @model_validator(mode="after")
    def _has_a_limit(self) -> RowCount:
        if self.min is None and self.max is None and self.max_change is None:
            raise ValueError("row_count needs min, max or max_change")
        return self

    def examine(self, at: At) -> Finding | None:
        """Counts from Delta's log."""
        opened = at.lake.delta(at.table.name)
        if opened is None:
            return None
        rows = _rows(opened)
        numbers: dict[str, int | float] = {"rows": rows}
        passed = rows >= (self.min or 0) and (self.max is None or rows <= self.max)
        if self.max_change is not None:
            limit = (datetime.now(UTC) - self.since).timestamp() * 1000
            history = opened.history()
            then = next((commit for commit in history if commit.get("timestamp", 0) <= limit), history[-1])
            earlier = at.lake.delta_at(at.lake.settings.table_uri(at.table.name))
            assert earlier is not None
            earlier.load_as_version(then["version"])
            before = _rows(earlier)
            change = abs(rows - before) / before if before else 0.0
            numbers |= {"rows_before": before, "change_share": round(change, 6), "allowed_share": self.max_change}
            passed = passed and change <= self.max_change
        name = at.table.name
        cure = f"see what changed: lakehouse tables; lakehouse files --table {name}; or change the limits of the check"
        return self.finding(at, passed, numbers, cure=cure)


def _rows(opened: DeltaTable) -> int:
    return sum(count or 0 for count in _adds(opened, "num_records"))


def _adds(opened: DeltaTable, column: str) -> list[Any]:
    from lakehouse.lake import adds_of

    found: list[Any] = adds_of(opened)[column].to_pylist()
    return found

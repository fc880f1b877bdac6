"""``no_invalid_rows`` and ``rescue_rate``: rows that keep what did not fit into their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from lakehouse.autoloader.lineage import RESCUED_DATA, evidence_among, evidence_column
from lakehouse.checks.rows import RowCheck, condition_of
from lakehouse.table import At

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

    from lakehouse.counting.conditions import Condition


class NoInvalidRows(RowCheck):
    """``no_invalid_rows``: rows whose line is broken, or which have a value of another type, within ``max_share``."""

    kind: ClassVar[str] = "no_invalid_rows"
    about: ClassVar[str] = "Rows that are no whole record: kept, counted, left out of what comes after."
    blocks: ClassVar[bool] = False
    noun: ClassVar[str] = "corrupt"
    shows_line: ClassVar[bool] = True

    def wrong(self, rows: DataFrame, at: At) -> Column | None:
        """Whether a row is no whole record."""
        from lakehouse.autoloader.lineage import is_invalid

        if evidence_column(rows) is None:
            return None
        return is_invalid(rows, self._expected(at))

    def condition(self, schema: pa.Schema, at: At) -> Condition | None:
        """The same without Spark."""
        import pyarrow.compute as pc

        from lakehouse.autoloader.lineage import CORRUPT_RECORD
        from lakehouse.counting.conditions import has_key_among

        evidence = evidence_among(schema.names)
        if evidence is None:
            return None
        if evidence == CORRUPT_RECORD:
            return condition_of(self, schema, [(evidence,)], lambda rows: pc.is_valid(rows[evidence]))
        names = (*self._expected(at), CORRUPT_RECORD)
        return condition_of(
            self, schema, [(evidence,)], lambda rows: has_key_among(rows[evidence], names), sorted(names)
        )

    def _expected(self, at: At) -> tuple[str, ...]:
        return tuple(getattr(at.table.flow, "expected", ()))


class RescueRate(RowCheck):
    """``rescue_rate: {max_share: 0.01}``: rows with a value that did not fit its column, within ``max_share``."""

    kind: ClassVar[str] = "rescue_rate"
    main: ClassVar[str] = "max_share"
    about: ClassVar[str] = "Rows with a value that did not fit its column: within the share that is allowed."
    blocks: ClassVar[bool] = False
    noun: ClassVar[str] = "rescued"
    shows_line: ClassVar[bool] = True

    max_share: float = Field(0.01, ge=0, le=1)

    def wrong(self, rows: DataFrame, at: At) -> Column | None:
        """Whether a value of a row was rescued."""
        return rows[RESCUED_DATA].isNotNull() if RESCUED_DATA in rows.columns else None

    def condition(self, schema: pa.Schema, at: At) -> Condition | None:
        """The same without Spark."""
        import pyarrow.compute as pc

        if RESCUED_DATA not in schema.names:
            return None
        return condition_of(self, schema, [(RESCUED_DATA,)], lambda rows: pc.is_valid(rows[RESCUED_DATA]))

    def cure(self, at: At, sample: tuple[dict[str, Any], ...]) -> str:
        """New columns are approved, values of a wrong type corrected at their source."""
        approve = f"new columns among them: lakehouse schema approve --table {at.table.name}; values of a wrong type: "
        return approve + super().cure(at, sample)

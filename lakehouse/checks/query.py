"""``sql``: a query of the declaration, which must find no row."""

from __future__ import annotations

from typing import ClassVar

from lakehouse.counting import SAMPLE_ROWS
from lakehouse.errors import ConfigurationError
from lakehouse.plain_text import cause_of
from lakehouse.table import At, Check, Finding


class Sql(Check):
    """``sql: SELECT * FROM silver.customers WHERE ...``; ``{table}`` stands for the table of the check.

    Attributes:
        query: Spark SQL. A table of the lake is named ``layer.name``.
        next: What mends it, for those who read the finding.
    """

    kind: ClassVar[str] = "sql"
    main: ClassVar[str] = "query"
    about: ClassVar[str] = "The query finds no row."

    query: str
    next: str = ""

    def examine(self, at: At) -> Finding:
        """Runs the query."""
        from pyspark.errors import AnalysisException, ParseException

        try:
            rows = at.spark.sql(self.query.replace("{table}", f"delta.`{at.lake.settings.table_uri(at.table.name)}`"))
            found = rows.count()
        except (AnalysisException, ParseException) as error:
            raise ConfigurationError(
                f"the query of the check {self.called} cannot be run: {cause_of(error, 400)}",
                where=f"{at.catalogue.where}:{at.table.line}",
                state="the table is as it was; this check did not run",
                next_command="correct the query",
            ) from None
        sample = tuple(row.asDict() for row in rows.limit(SAMPLE_ROWS).collect()) if found else ()
        cure = self.next or "correct the rows that the query finds, at their source"
        return self.finding(at, not found, {"offending_rows": found}, sample, cure)

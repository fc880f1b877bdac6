"""``import dlt``, as pipelines on Databricks write it, for Spark Declarative Pipelines.

It is found only where its folder is on ``PYTHONPATH``, since another library on PyPI is called ``dlt``,
too. The command ``python -m pyspark_cloudfiles`` prints the folder. Names and meanings are those of Databricks'
Python reference for pipelines. What open-source Spark cannot do is refused when it is asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import coalesce, expr, lit, raise_error, when

append_flow = dp.append_flow
create_sink = dp.create_sink
create_streaming_table = dp.create_streaming_table
materialized_view = dp.materialized_view

Query = Callable[[], DataFrame]

_LATEST = "Declare a table with `latest:` in lakehouse.yaml, or try `pyspark.pipelines.create_auto_cdc_flow`"
_INSTEAD = {"apply_changes": _LATEST, "create_auto_cdc_flow": _LATEST}


def __getattr__(name: str) -> Any:
    instead = _INSTEAD.get(name, "Use `pyspark.pipelines`, or leave it out")
    raise AttributeError(f"dlt.{name} is not in open-source Spark. {instead}.")


def table(query_function: Query | None = None, **details: Any) -> Any:
    """A streaming table; a materialized view when the query reads no stream, as on Databricks.

    ``details`` are those of ``pyspark.pipelines.table``. ``path`` and ``temporary`` are refused with a ``TypeError``.
    """
    if query_function is None:
        return functools.partial(_define, details=details)
    return _define(query_function, details)


create_table = table


def view(query_function: Query | None = None, **details: Any) -> Any:
    """A view that lives while the pipeline runs: ``pyspark.pipelines.temporary_view``."""
    define: Any = dp.temporary_view
    return define(query_function, **details)


create_view = view


def read(name: str) -> DataFrame:
    """All rows of a table or view of the pipeline."""
    return SparkSession.active().read.table(name)


def read_stream(name: str) -> DataFrame:
    """A table or view of the pipeline as a stream."""
    return SparkSession.active().readStream.table(name)


def expect(name: str, condition: str) -> Callable[[Query], Query]:
    """Keeps all rows. Databricks counts those for which the condition is not true; nothing is counted here."""
    return expect_all({name: condition})


def expect_or_drop(name: str, condition: str) -> Callable[[Query], Query]:
    """Leaves out rows for which the condition, in Spark's SQL, is false or null."""
    return expect_all_or_drop({name: condition})


def expect_or_fail(name: str, condition: str) -> Callable[[Query], Query]:
    """Ends the run at a row for which the condition is false or null; the error names the expectation."""
    return expect_all_or_fail({name: condition})


def expect_all(expectations: dict[str, str]) -> Callable[[Query], Query]:
    """Several of ``expect``."""
    return _with_rows(lambda rows: rows)


def expect_all_or_drop(expectations: dict[str, str]) -> Callable[[Query], Query]:
    """Several of ``expect_or_drop``."""
    return _with_rows(lambda rows: rows.where(_all(expectations)))


def expect_all_or_fail(expectations: dict[str, str]) -> Callable[[Query], Query]:
    """Several of ``expect_or_fail``."""

    def checked(rows: DataFrame) -> DataFrame:
        for name, condition in expectations.items():
            broken = raise_error(lit(f"A row breaks the expectation {name!r}: {condition}"))
            rows = rows.where(when(_true(condition), True).otherwise(broken.cast("boolean")))
        return rows

    return _with_rows(checked)


def _true(condition: str) -> Any:
    return coalesce(expr(condition), lit(False))


def _all(expectations: dict[str, str]) -> Any:
    return functools.reduce(lambda one, other: one & other, map(_true, expectations.values()), lit(True))


def _with_rows(change: Callable[[DataFrame], DataFrame]) -> Callable[[Query], Query]:
    def decorate(query: Query) -> Query:
        if not callable(query):
            raise TypeError("Expectations stand below the decorator of their table: first @dlt.table, then @dlt.expect")

        @functools.wraps(query)
        def changed() -> DataFrame:
            return change(query())

        return changed

    return decorate


def _define(query: Query, details: dict[str, Any]) -> None:
    for name in ("path", "temporary"):
        if details.pop(name, None):
            raise TypeError(f"@dlt.table({name}=...) is not in open-source Spark: leave it out, or use @dlt.view")
    made = dp.table if _is_streaming(query()) else dp.materialized_view
    made(**details)(query)


def _is_streaming(rows: DataFrame) -> bool:
    """Whether the query reads a stream.

    The plan is asked, since ``DataFrame.isStreaming`` would resolve the names of tables that are not there yet.
    """
    unresolved: Any = rows
    session: Any = SparkSession.active()
    return _reads_a_stream(unresolved._plan.to_proto(session.client).root)


def _reads_a_stream(message: Any) -> bool:
    for field, value in message.ListFields():
        if field.name == "is_streaming" and value is True:
            return True
        if field.name == "query" and isinstance(value, str):
            return "STREAM" in value.upper().replace("(", " ").split()
        inner = value.values() if isinstance(value, dict) else [value] if hasattr(value, "ListFields") else value
        if not isinstance(inner, str | bytes | int | float) and any(
            _reads_a_stream(one) for one in inner if hasattr(one, "ListFields")
        ):
            return True
    return False

"""Expressions and aggregates of Spark's SQL give the same by Arrow, and so do tables that the local engine computes."""

import math
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from store.local_world import no_session

from lakehouse.arrow_sql.aggregates import Groups
from lakehouse.arrow_sql.parsing import parsed
from lakehouse.arrow_sql.scalars import Scalars
from lakehouse.checks import groups, keys
from lakehouse.checks.groups import scale_of
from lakehouse.counting.data_files import OnlySpark
from lakehouse.declaration import read_catalogue
from lakehouse.direct.versions import Believed, Versions, When
from lakehouse.orders.tables import BRONZE
from lakehouse.pipeline import run_table
from lakehouse.spark_sql import within
from lakehouse.streams.run import Run
from lakehouse.table import At

INF, NAN = math.inf, math.nan
TIMES = [datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime(2024, 2, 29, 13, 5, tzinfo=UTC)]
SPARK, LOCAL = "spark", "local"
VALUES = {
    "b": (pa.int8(), [-128, 0, 7]),
    "i": (pa.int32(), [-(2**31) + 1, -1, 0, 3, 2**31 - 1]),
    "l": (pa.int64(), [-(2**62), -1, 0, 3, 2**53 + 1]),
    "x": (pa.float64(), [NAN, -INF, INF, -0.0, 0.0, 0.1, -2.5, 1e300]),
    "y": (pa.float64(), [NAN, 0.0, 2.0, -1.0]),
    "s": (pa.string(), ["", "a", "A", " a ", "ab", "é", "10"]),
    "t": (pa.string(), ["a", "b", ""]),
    "d": (pa.date32(), [date(1, 1, 1), date(1969, 12, 31), date(2024, 2, 29), date(2024, 12, 31)]),
    "e": (pa.date32(), [date(2024, 2, 29), date(1970, 1, 1)]),
    "at": (pa.timestamp("us", "UTC"), [*TIMES, datetime(1582, 10, 10, tzinfo=UTC)]),
    "ok": (pa.bool_(), [True, False]),
    "no": (pa.bool_(), [True, False]),
    "m": (pa.decimal128(10, 2), [Decimal("0.10"), Decimal("-99999999.99"), Decimal("3.00")]),
    "a`b": (pa.int32(), [1, 2]),
}
EXPRESSIONS = [
    *(
        "i",
        "I",
        "`a``b`",
        "s",
        "at",
        "x",
        "-i",
        "-x",
        "i - l",
        "x * 2",
        "x + i",
        "x - 1.5",
        "1e2 * y",
    ),
    *(
        "x > y",
        "x >= y",
        "x < y",
        "x <= y",
        "x = y",
        "x <> y",
        "x != y",
        "x == y",
        "x <=> y",
        "i > l",
        "l > x",
        "b < 5",
    ),
    *("s < t", "s = t", "s <=> t", "s >= 'a'", "d > e", "d = e", "at > at", "ok = no", "ok > no", "m = m", "m > m"),
    *("ok AND no", "ok OR no", "NOT ok", "ok AND NOT no OR i > 0", "s IS NULL", "s IS NOT NULL", "NOT (ok OR no)"),
    *(
        "isnan(x)",
        "isnan(x) OR abs(x) > 1e9",
        "abs(x)",
        "abs(i)",
        "i BETWEEN -1 AND 3",
        "s IN ('a', 'é')",
        "x IN (0, 0.1)",
    ),
    *("s NOT IN ('a')", "i NOT BETWEEN 0 AND 3", "i IN (1, 3)", "x IN (0, 0.1)", "x / 2", "i / 2", "l / 3e0", "i / 7"),
    *("to_date(at)", "CAST(at AS DATE)", "date(at)", "to_date(d)", "year(at)", "month(d)", "day(at)", "quarter(d)"),
    *(f"date_trunc('{unit}', at)" for unit in ("year", "QUARTER", "month", "week", "day", "hour", "minute", "second")),
    *("coalesce(s, t)", "coalesce(i, 0)", "if(i > 0, s, t)", "CASE WHEN ok THEN i WHEN no THEN 0 ELSE -1 END"),
    *("nvl(s, 'x')", "ifnull(s, 'x')", "trim(s)", "lower(t)", "upper(t)", "CAST(i AS BIGINT)", "CAST(b AS DOUBLE)"),
    *("CAST(l AS STRING)", "CAST(i AS STRING)", "1", "9999999999", "-5", "TRUE", "'text'", "i > -1", "x > -1.5"),
]
AGGREGATES = [
    *(
        "count(*)",
        "count(1)",
        "count(i)",
        "count(DISTINCT s)",
        "count(DISTINCT i)",
        "count(DISTINCT d)",
        "count_if(ok)",
    ),
    *("count_if(x > 0)", "sum(i)", "sum(b)", "sum(i + 0)", "sum(y)", "sum(m)", "avg(i)", "avg(b)", "avg(y)"),
    *("min(i)", "max(i)", "min(s)", "max(s)", "min(d)", "max(at)", "min(ok)", "max(ok)", "min(m)", "max(m)"),
    *("sum(if(ok, 1, 0))", "count(CASE WHEN ok THEN i ELSE 0 END)", "sum(y / 2)", "max(upper(t))"),
]
GROUPS = [
    {"k": "s"},
    {"k": "to_date(at)", "o": "ok"},
    {"k": "month(d)"},
    {"k": "i"},
    {"k": "m"},
    {"k": "date_trunc('hour', at)"},
]


def rows_of(seed, count=120):
    chance = random.Random(seed)
    columns = {
        name: pa.array([chance.choice([None, *values]) for _ in range(count)], type_)
        for name, (type_, values) in VALUES.items()
    }
    return pa.RecordBatch.from_pydict(columns)


def in_spark(spark, rows):
    return spark.createDataFrame(pa.Table.from_batches([rows]))


def text(value):
    """A value so that those that are equal in Spark look alike: a single NaN, and a zero with its sign."""
    if isinstance(value, datetime):
        return str(value.astimezone(UTC).replace(tzinfo=None))
    if isinstance(value, float):
        return repr(value)
    return str(value)


def test_each_expression_gives_what_spark_gives(spark):
    rows = rows_of(1)
    frame = in_spark(spark, rows)
    found = frame.selectExpr(*(f"{sql} AS `{number}`" for number, sql in enumerate(EXPRESSIONS))).toArrow()
    scalars = Scalars(rows.schema)
    for number, sql in enumerate(EXPRESSIONS):
        made = scalars.of(parsed(sql))
        wanted = found.column(str(number))
        assert made.type == wanted.type, sql
        assert list(map(text, made.value(rows).to_pylist())) == list(map(text, wanted.to_pylist())), sql


def test_where_spark_ends_with_an_error_it_is_left_to_spark(spark):
    rows = rows_of(2)
    for sql in ("i + i", "l * l", "i / b", "x / y", "abs(b)", "-b", "b + b", "sum(l * 2)"):
        with pytest.raises(OnlySpark):
            groups_of(rows, {"k": "t"}, {"n": sql if sql.startswith("sum") else f"max({sql})"})
        with pytest.raises(Exception, match=r"ARITHMETIC_OVERFLOW|DIVIDE_BY_ZERO"):
            in_spark(spark, rows).selectExpr(sql if sql.startswith("sum") else f"max({sql})").collect()


def groups_of(rows, group, aggregates):
    found = Groups(rows.schema, group, aggregates)
    for start in range(0, rows.num_rows, 17):
        found.add(rows.slice(start, 17))
    return found.result()


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: ", ".join(group.values()))
def test_each_aggregate_gives_what_spark_gives(spark, group):
    rows = rows_of(3)
    clean = rows.filter(pc.fill_null(pc.is_finite(rows["y"]), True))
    aggregates = {f"a{number}": sql for number, sql in enumerate(AGGREGATES)}
    told = ", ".join(f"{sql} AS {name}" for name, sql in (group | aggregates).items())
    in_spark(spark, clean).createOrReplaceTempView("rows_here")
    wanted = spark.sql(f"SELECT {told} FROM rows_here GROUP BY {', '.join(group.values())}").toArrow()
    found = groups_of(clean, group, aggregates)
    assert found.schema.types == wanted.schema.types
    shown = [sorted([rounded(row) for row in side.to_pylist()], key=str) for side in (found, wanted)]
    assert shown[0] == shown[1]


def rounded(row):
    """Sums of fractions depend on their order."""
    return {
        name: float(f"{value:.12g}") if isinstance(value, float) and math.isfinite(value) else text(value)
        for name, value in row.items()
    }


NAMED = {
    "STRING": [
        "it's",
        '"',
        "a\\b",
        "\\'",
        "\\u0041",
        "two\nlines",
        "$\\frac$",
        "${env:HOME}",
        "${x}",
        "`",
        "é",
        "",
        None,
    ],
    "DATE": [date(1, 1, 1), date(1582, 10, 15), date(2024, 2, 29), None],
    "TIMESTAMP": [*TIMES, datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))],
    "TIMESTAMP_NTZ": [datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2026, 3, 29, 2, 30), None],
    "BIGINT": [-(2**63) + 1, -1, 0, None],
    "BOOLEAN": [True, False, None],
}


@pytest.mark.parametrize("type_", NAMED)
def test_a_condition_that_names_values_holds_for_these_and_for_no_others(spark, type_):
    values = NAMED[type_]
    rows = spark.createDataFrame(list(enumerate(values)), f"number INT, v {type_}")
    held = [f"coalesce({within('v', [value])}, false) AS `{number}`" for number, value in enumerate(values)]
    found = rows.selectExpr(
        "number", *held, f"{within('v', values[1:])} AS rest", f"{within('v', [])} AS none"
    ).collect()
    for row in found:
        number, *each, rest, none = row
        assert each == [at == number for at in range(len(values))], values[number]
        assert (bool(rest), none) == (number > 0, False)


def test_many_values_are_named_as_a_range_but_not_texts():
    assert within("v", [3, 1, 2], most=2) == "(v BETWEEN 1 AND 3)"
    assert within("v", [3, None, 1, 2], most=2) == "(v BETWEEN 1 AND 3 OR v IS NULL)"
    assert within("v", ["a", "b", "c"], most=2) is None
    with pytest.raises(TypeError, match="Decimal"):
        within("v", [Decimal(1)])


def test_orders_that_the_local_engine_computes_are_what_spark_finds(lake, land, spark):
    assert_computed_as_spark_does(lake, land, spark, [SPARK, LOCAL])


@pytest.mark.soak("the local engine begins, and has the tables twice; the test above has each engine once")
def test_orders_that_the_engines_compute_in_turns_are_what_spark_finds(lake, land, spark):
    assert_computed_as_spark_does(lake, land, spark, [LOCAL, SPARK, LOCAL])


def assert_computed_as_spark_does(lake, land, spark, turns):
    local = replace(lake, settings=lake.settings.model_copy(update={"engine": "local"}))
    catalogue = read_catalogue(local.settings)
    land(files=3, rows_per_file=60, late_share=0.1, duplicate_share=0.1, bad_line_share=0.05, bad_date_share=0.05)
    for turn, engine in enumerate(turns):
        for table in (BRONZE, "silver.orders", "gold.daily_revenue"):
            run_table(*((spark, lake) if engine == SPARK else (no_session, local)), table, Run())
            if table == BRONZE:
                continue
            at, flow = At(spark, local, catalogue[table], catalogue), catalogue[table].flow
            if table == "silver.orders":
                told = [keys._compare(at, flow), keys.keys_here(at, flow)]
                assert told[0] == told[1]
                assert (told[0].wrong, told[0].in_source > 100) == (0, True)
            else:
                scales = {name: scale_of(sql) for name, sql in flow.aggregates.items() if scale_of(sql)}
                told = [groups._compare(at, flow, scales), groups.groups_here(at, flow, scales)]
                assert told[0] == told[1]
                assert (told[0].wrong, told[0].groups > 1) == (0, True)
        land(files=2, first_file=3 + 2 * turn, rows_per_file=60, late_share=0.2, duplicate_share=0.2)


TEXTS = [
    *(
        "2026-01-31 23:59:59",
        "2026-02-30 00:00:00",
        "1969-12-31 23:59:59",
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59",
    ),
    *(
        "2026-1-1 00:00:00",
        "2026-01-01 24:00:00",
        " 2026-01-01 00:00:00",
        "2026-01-01 00:00:00 ",
        "2026-01-01 00:00:60",
    ),
    *("20260-01-01 00:00:00", "x", "", None, "2026-01-01 00:00:00.5", "+2026-01-01 00:00:00", "2026-01-01T00:00:00"),
    *("2024-02-29 00:00:00", "2023-02-29 00:00:00", "1582-10-10 00:00:00", "2026-01-01", "31/01/2026 1:05 PM"),
]
PATTERNS = ["yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd'T'HH:mm:ss", "yyyy-MM-dd", "dd/MM/yyyy h:mm a", "yyyy-M-d HH:mm:ss"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_time_of_a_row_is_read_from_text_as_spark_reads_it(spark, pattern):
    rows = pa.table({"text": TEXTS})
    frame = spark.createDataFrame(rows).selectExpr(f'try_to_timestamp(text, "{pattern}") AS at')
    versions = Versions(
        rows.schema, Believed(when=When("text", pattern, "UTC", date(1, 1, 1), timedelta(days=3_000_000)))
    )
    told = [row["event_time"] for batch in rows.to_batches() for row in versions.of(batch).to_pylist()]
    believed = [moment for moment in frame.toArrow()["at"].to_pylist() if moment is not None]
    assert list(map(text, told)) == list(map(text, believed))
    assert told

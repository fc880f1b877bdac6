"""Row checks and ``unique`` find the same by Arrow as by Spark, on values of every type."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from counted import TABLE, in_spark, opened, place, write

from lakehouse.checks.evidence import NoInvalidRows, RescueRate
from lakehouse.checks.rows import AcceptedValues, NotNull, Range
from lakehouse.checks.unique import Unique

NAN = float("nan")
BIG = 2**53
TEXTS = ["a", "A", "ä", "", " ", "a ", "\0", "é", "zz", "10", "9"]
FLOATS = [NAN, -NAN, 0.0, -0.0, 0.1, 0.3, 1.0, -1.5, float("inf"), float("-inf"), 1e300]
RESCUED = [
    *('{"_corrupt_record": "x"}', '{"more": 1}', '{"mo\\u0072e": 1', "[1]", '"_corrupt_record"', "", " {} "),
    *('{"a": NaN}', '{"_corrupt\\u005frecord": 1}', '{"a": {"_corrupt_record": 1}}', '{"a": 1} and more'),
    '{"_corrupt_record": 1, "a"',
]
TIMES = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=number) for number in (-1, 0, 1)]
VALUES = {
    "text": (pa.string(), TEXTS),
    "byte": (pa.int8(), [-128, -1, 0, 1, 127]),
    "whole": (pa.int32(), [-(2**31), -1, 0, 1, 5, 2**31 - 1]),
    "long": (pa.int64(), [-(2**63), -1, 0, 1, BIG, BIG + 1, 2**63 - 1]),
    "single": (pa.float32(), [value for value in FLOATS if value != 1e300]),
    "double": (pa.float64(), FLOATS),
    "price": (pa.decimal128(10, 2), [Decimal(text) for text in ("0.10", "0.30", "-0.01", "1.00", "99999999.99")]),
    "huge": (pa.decimal128(38, 0), [Decimal(text) for text in ("1" * 38, "-" + "9" * 38, "0", "5")]),
    "day": (pa.date32(), [date(1, 1, 1), date(1969, 12, 31), date(2020, 2, 29), date(9999, 12, 31)]),
    "at": (
        pa.timestamp("us", "UTC"),
        [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=n) for n in (-1, 0, 1)],
    ),
    "ok": (pa.bool_(), [True, False]),
    "we`ird": (pa.int64(), [1, 2]),
    'qu"oted': (pa.int64(), [1, 2]),
    "a.b": (pa.int64(), [1, 2]),
    "in": (pa.struct([("City", pa.string()), ("deep", pa.struct([("n", pa.int64())]))]), None),
    "_rescued_data": (pa.string(), RESCUED),
    "_source_file": (pa.string(), ["f1", "f2", "f3"]),
    "_source_record": (pa.int64(), [0, 1, 2]),
}
NAMES = ["text", "TEXT", "whole", "`we``ird`", 'qu"oted', "`a.b`", "in", "in.city", "IN.deep.N", "`in`.`City`", "at"]
CHECKS = [
    *(NotNull(columns=name) for name in NAMES),
    NotNull(columns=["text", "in.deep.n", "ok"]),
    AcceptedValues(column="text", values=["a", "ä", ""]),
    AcceptedValues(column="byte", values=[1, 127]),
    AcceptedValues(column="whole", values=[1, 2.0, 5]),
    AcceptedValues(column="long", values=[BIG, 1]),
    AcceptedValues(column="long", values=[float(BIG), 1]),
    AcceptedValues(column="single", values=[0.1, 0, 1]),
    AcceptedValues(column="single", values=[0, 1]),
    AcceptedValues(column="double", values=[0.1, 0, NAN]),
    AcceptedValues(column="price", values=[0.3, 1]),
    AcceptedValues(column="price", values=[1, 2]),
    AcceptedValues(column="huge", values=[5, 0]),
    AcceptedValues(column="ok", values=[True]),
    AcceptedValues(column="day", values=["2020-02-29", "9999-12-31"]),
    AcceptedValues(column="at", values=["2020-01-01", "2020-01-01 00:00:00.000001"]),
    AcceptedValues(column="in.city", values=["a"]),
    *(Range(column=name, min=0) for name in ("byte", "whole", "long", "single", "double", "price", "huge")),
    *(Range(column=name, max=0.1) for name in ("byte", "long", "single", "double", "price", "huge")),
    *(Range(column=name, min=-0.01, max=0.3) for name in ("single", "double", "price")),
    Range(column="long", max=BIG),
    Range(column="long", min=str(BIG + 1)),
    Range(column="whole", min="1", max="4"),
    Range(column="double", max="0.3"),
    Range(column="price", max="0.1"),
    Range(column="huge", max=1e37),
    Range(column="text", min="A", max="a"),
    Range(column="day", min="1970-01-01"),
    Range(column="at", min="2020-01-01", max="2020-01-01T00:00:00"),
    NoInvalidRows(),
    RescueRate(max_share=0),
]
KEYS = [*(name for name in VALUES if name not in ("in", "we`ird", "a.b")), "`we``ird`", "`a.b`", "in.City"]
COMPARED = [
    *CHECKS,
    *(Unique(columns=name) for name in KEYS),
    Unique(columns=["text", "double", "in.deep.n"]),
    Unique(columns=["price", "at", "ok", "day"]),
]


def rows(chance, many):
    def value_of(type_, values):
        if values is not None:
            return None if chance.random() < 0.2 else chance.choice(values)
        inner = {"n": chance.choice([None, 1, 2])} if chance.random() < 0.7 else None
        return {"City": chance.choice([None, "a", "b"]), "deep": inner} if chance.random() < 0.8 else None

    columns = {name: pa.array([value_of(*given) for _ in range(many)], given[0]) for name, given in VALUES.items()}
    return pa.table(columns)


def shown(finding):
    """What is the same for both: a sample of rows may be another one, of keys it is not."""
    sample = finding.sample if "copies" in (finding.sample or ({},))[0] else len(finding.sample)
    named = sorted(finding.sample[0]) if finding.sample else []
    return finding.passed, finding.numbers, str(sample), named, bool(finding.next_command)


def test_whatever_is_in_a_table_both_find_the_same(lake, spark):
    assert_both_find_the_same(lake, spark, COMPARED[::6], seed=1)


@pytest.mark.soak("all the checks, where every run has each sixth, on another random table")
def test_whatever_is_in_another_table_both_find_the_same(lake, spark):
    assert_both_find_the_same(lake, spark, COMPARED, seed=2)


def assert_both_find_the_same(lake, spark, checks, seed):
    chance = random.Random(seed)
    for _ in range(3):
        write(lake, rows(chance, 40))
    named = [check.model_copy(update={"name": f"check {number}"}) for number, check in enumerate(checks)]
    by_arrow, by_spark = place(lake, *named), in_spark(place(lake, *named, session=spark))
    both = [(check, shown(check.examine(by_arrow)), shown(check.examine(by_spark))) for check in named]
    assert [result for result in both if result[1] != result[2]] == []


def test_a_sample_has_the_same_rows_with_the_same_values(lake, spark):
    write(lake, rows(random.Random(3), 15))
    check = NotNull(columns="in.deep.n")
    ours = check.examine(place(lake, check)).sample
    theirs = check.examine(in_spark(place(lake, check, session=spark))).sample
    assert [list(row) for row in ours] == [list(row) for row in theirs]
    plain = [{name: row[name] for name in row if name not in ("in", "single", "double")} for row in ours]
    assert plain == [{name: row[name] for name in mine} for mine, row in zip(plain, theirs, strict=True)]
    assert [row["in"] for row in ours] == [row["in"].asDict(True) if row["in"] else None for row in theirs]
    assert str([row["double"] for row in ours]) == str([row["double"] for row in theirs])


def test_tables_with_features_that_arrow_does_not_know_are_counted_by_spark(lake, spark):
    write(lake, [{"id": number} for number in range(10)], configuration={"delta.enableDeletionVectors": "true"})
    spark.sql(f"DELETE FROM delta.`{lake.settings.table_uri(TABLE)}` WHERE id < 3")
    checks = Unique(columns="id"), Range(column="id", min=5)
    at = place(lake, *checks, session=spark)
    assert checks[0].examine(at).numbers["examined_rows"] == 7
    assert checks[1].examine(at).numbers["outside_rows"] == 2


def test_a_column_that_was_widened_is_counted_in_its_new_type(lake, spark):
    where = f"delta.`{lake.settings.table_uri(TABLE)}`"
    spark.sql(f"CREATE TABLE {where} (id INT, x FLOAT) USING delta TBLPROPERTIES ('delta.enableTypeWidening' = 'true')")
    spark.sql(f"INSERT INTO {where} VALUES (1, 0.25), (2, 0.75)")
    checks = Unique(columns="id"), Range(column="x", min=0.5, max=1)
    assert [check.examine(place(lake, *checks)).passed for check in checks] == [True, False]
    spark.sql(f"ALTER TABLE {where} ALTER COLUMN id TYPE BIGINT")
    spark.sql(f"ALTER TABLE {where} ALTER COLUMN x TYPE DOUBLE")
    spark.sql(f"INSERT INTO {where} VALUES (1, 0.1), (5000000000, 0.6)")
    assert "typeWidening" in str(opened(lake).protocol())
    for check in checks:
        theirs = check.examine(in_spark(place(lake, *checks, session=spark)))
        assert shown(check.examine(place(lake, *checks))) == shown(theirs)

"""Times in text: CSV and JSON read every spelling alike, as Spark's ``stringToTimestamp`` does."""

import json
from datetime import date, datetime

import pyarrow as pa
import pytest
from pyspark.sql import types as t

from lakehouse.autoloader.formats.json import parse_json_lines
from lakehouse.autoloader.formats.text import values_of
from lakehouse.errors import ConfigurationError

AT = "2026-07-02 03:04:05"
READ = {
    f"{AT} CET": "2026-07-02 01:04:05",
    f"{AT}UTC+1": "2026-07-02 02:04:05",
    f"{AT}+1": "2026-07-02 02:04:05",
    f"{AT}+1:30": "2026-07-02 01:34:05",
    f"{AT}+01:3": "2026-07-02 02:01:05",
    f"{AT}-18:00": "2026-07-02 21:04:05",
    f"{AT} EST": "2026-07-02 08:04:05",
    f"{AT}\x0bZ": AT,
    f"{AT}.Z": AT,
    f"{AT} America/Argentina/Buenos_Aires": "2026-07-02 06:04:05",
    f"{AT} Etc/GMT+1": "2026-07-02 04:04:05",
    f"+{AT}": AT,
    f"\x00{AT}": AT,
    f"{AT} \t": AT,
    f"{AT}.1234567": "2026-07-02 03:04:05.123456",
    "2026-7-2T3:4:5": AT,
    "+1930": "1930-01-01 00:00:00",
    "2026-07": "2026-07-01 00:00:00",
}
NONE = [
    f"{AT}+130",
    f"{AT}+19",
    f"{AT}+1:2:3",
    f"{AT}\u00a0",
    f"\u00a0{AT}",
    AT.replace("2", "\uff12"),
    "2026-07-02 03:04Z",
    "2026-07-02T",
    "2026-07-02 24:00:00",
    "2026-02-30",
    "20260702",
    "+",
    "",
]


def by_csv(text, type_, **reader):
    return values_of(pa.array([text, None]), type_, reader)[0].as_py()


def by_json(text, type_, **reader):
    schema = t.StructType([t.StructField("t", type_)])
    rows = parse_json_lines(json.dumps({"t": text}).encode(), schema, reader=reader, path_at=lambda _: "")
    return rows.table["t"][0].as_py()


@pytest.mark.parametrize("parse", [by_csv, by_json])
@pytest.mark.parametrize("text", READ, ids=ascii)
def test_spellings_of_a_time(parse, text):
    found = parse(text, t.TimestampType())
    assert found is not None
    assert found.replace(tzinfo=None) == datetime.fromisoformat(READ[text])


@pytest.mark.parametrize("parse", [by_csv, by_json])
@pytest.mark.parametrize("text", NONE, ids=ascii)
def test_what_is_no_time(parse, text):
    assert parse(text, t.TimestampType()) is None


@pytest.mark.parametrize("parse", [by_csv, by_json])
def test_dates_and_times_without_a_zone(parse):
    assert parse("\x00+2026-7-2Tx", t.DateType()) == date(2026, 7, 2)
    assert parse("\uff12026-07-02", t.DateType()) is None
    assert parse("2026-07-02\u00a0", t.DateType()) is None
    assert parse(AT, t.TimestampNTZType()) == datetime(2026, 7, 2, 3, 4, 5)
    assert parse(f"{AT}Z", t.TimestampNTZType()) is None


@pytest.mark.parametrize("parse", [by_csv, by_json])
def test_patterns(parse):
    short = {"timestampformat": "dd/MM/yyyy HH:mm:ss.SSS[ XXX]", "timezone": "Europe/Berlin"}
    for fraction, micros in (("1", 100_000), ("12", 120_000), ("123", 123_000)):
        found = parse(f"02/07/2026 03:04:05.{fraction}", t.TimestampType(), **short)
        assert found.replace(tzinfo=None) == datetime(2026, 7, 2, 1, 4, 5, micros)
    zoned = parse("02/07/2026 03:04:05.1 +05:00", t.TimestampType(), **short)
    assert zoned.replace(tzinfo=None) == datetime(2026, 7, 1, 22, 4, 5, 100_000)
    assert parse("02/07/2026 03:04:05.1234", t.TimestampType(), **short) is None
    assert parse("2026 'o' 7", t.DateType(), dateformat="yyyy '''o''' M") == date(2026, 7, 1)
    for letters in ("Z", "ZZ", "ZZZ"):
        assert parse("2026-07-02 +0130", t.TimestampType(), timestampformat=f"yyyy-MM-dd {letters}").hour == 22
    for unknown in ("EEE dd", "dd zzzz", "dd dd"):
        with pytest.raises(ConfigurationError):
            parse(AT, t.TimestampType(), timestampformat=unknown)
    with pytest.raises(ConfigurationError):
        parse(AT, t.TimestampType(), timezone="Nowhere")


@pytest.mark.parametrize("parse", [by_csv, by_json])
@pytest.mark.parametrize("letters", ["z", "zzz", "VV"])
def test_a_zone_may_be_written_by_its_name_where_the_pattern_says_so(parse, letters):
    pattern = {"timestampformat": f"yyyy-MM-dd HH:mm:ss {letters}", "timezone": "Asia/Tokyo"}
    for name, hour in (("UTC", 3), ("utc", 3), ("Z", 3), ("Europe/Berlin", 1), ("GMT+01:00", 2), ("-02:00", 5)):
        assert parse(f"{AT} {name}", t.TimestampType(), **pattern).hour == hour, name
    assert parse(f"{AT} UTC", t.TimestampNTZType(), timestampntzformat=pattern["timestampformat"]).hour == 3
    for other in ("Europe/Nowhere", "Europe", "America/Argentina", "+1", "EUROPE//BERLIN", "UTC+19:00", ""):
        assert parse(f"{AT} {other}", t.TimestampType(), **pattern) is None


@pytest.mark.parametrize("parse", [by_csv, by_json])
def test_a_time_that_daylight_saving_skips_moves_forward(parse):
    assert parse("2026-03-29 02:30:00", t.TimestampType(), timezone="Europe/Berlin").hour == 1

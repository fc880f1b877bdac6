"""Windows of a table that has nothing of the orders, judged by plain Python."""

import math
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from accounted import found_both_ways

from lakehouse import late
from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.flows.windows import Windows
from lakehouse.maintenance.repair import start_over
from lakehouse.streams.run import Run
from lakehouse.table import At, Catalogue, Table

READINGS, MINUTES, HOURS = "bronze.readings", "silver.readings_by_minute", "silver.readings_by_hour"
COLUMNS = "sensor STRING, place STRING, at TIMESTAMP, celsius DOUBLE, price DECIMAL(10,2), reason STRING"
TEN_MINUTES = timedelta(minutes=10)
TABLES = {
    MINUTES: {
        "window": "1 minute",
        "keys": "sensor",
        "aggregates": {"mean": "avg(celsius)", "highest": "max(celsius)"},
        "refuse": {"broken": "reason = 'broken'"},
    },
    HOURS: {"window": "1 hour", "keys": ["place", "reason"], "aggregates": {"readings": "COUNT( 1 )"}},
}
KEYS = {MINUTES: ("sensor",), HOURS: ("place", "reason")}


def moment(clock):
    return datetime.strptime(f"2026-03-01 {clock}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)


def reading(clock, sensor="s1", celsius=20.0, place="hall", reason="told", price="1.25"):
    return sensor, place, clock and moment(clock), celsius, Decimal(price), reason


FIRST = [
    reading("10:00:10"),
    reading("10:00:59", celsius=30.0),
    reading("10:00:30", "s2", place=None),
    reading("10:05:00", celsius=None),
    reading("11:20:00"),
]
SECOND = [
    reading("10:00:20", celsius=99.0),  # late for its minute, and for its hour
    reading("11:05:00", "s2"),  # late for its minute alone
    reading("11:10:00"),  # its minute ends after the watermark
    reading("11:11:00", reason="broken"),
    reading(None),
    reading("13:30:00", "s2", place="roof"),
]


class Place:
    """A source of readings, and tables of windows over it."""

    def __init__(self, spark, lake, tables, partition_by=()):
        self.spark, self.lake, self.partition_by = spark, lake, partition_by
        flows = {
            name: Windows.model_validate({"of": READINGS, "event_time": "at", "watermark": "10 minutes", **fields})
            for name, fields in tables.items()
        }
        source = Table(READINGS, Files(path="s3a://landing/readings/", partition_by=partition_by))
        made = (Table(name, flow, flow.default_checks()) for name, flow in flows.items())
        self.catalogue = Catalogue((source, *made))

    def add(self, rows, columns=COLUMNS):
        frame = self.spark.createDataFrame(rows, columns).coalesce(1)
        writer = frame.write.format("delta").mode("append").option("mergeSchema", "true")
        writer.partitionBy(*self.partition_by).save(self.lake.settings.table_uri(READINGS))

    def at(self, table):
        return At(self.spark, self.lake, self.catalogue[table], self.catalogue)

    def run(self, *tables):
        return [self.at(name).table.flow.bring_up_to_date(self.at(name), Run()) for name in tables]

    def finding(self, table):
        def examine(session):
            at = At(session, self.lake, self.catalogue[table], self.catalogue)
            [found] = [check.examine(at) for check in at.table.checks]
            return found

        return found_both_ways(examine, self.spark)

    def rows(self, table):
        return self.lake.delta(table).to_pyarrow_table().to_pylist()

    def kept(self, table):
        rows = self.lake.rows_at(self.lake.settings.quarantine_uri(table))
        return rows.to_table().to_pylist() if rows else []


def model(commits, table, length):
    """Readings by closed window and key, and those that came late for theirs; a run a commit."""
    opened, late_rows, newest = defaultdict(list), Counter(), None
    for commit in commits:
        limit = newest and newest - TEN_MINUTES
        for cells in commit:
            row = dict(zip(("sensor", "place", "at", "celsius", "price", "reason"), cells, strict=True))
            if row["at"] is None or (table == MINUTES and row["reason"] == "broken"):
                continue
            start = row["at"] - (row["at"] - datetime(1970, 1, 1, tzinfo=UTC)) % length
            key = (start, start + length, *(row[name] for name in KEYS[table]))
            if limit and start + length <= limit:
                late_rows[key] += 1
            else:
                opened[key].append(row["celsius"])
            newest = max(newest or row["at"], row["at"])
    return {key: values for key, values in opened.items() if key[1] <= newest - TEN_MINUTES}, late_rows


def by_key(rows, table, *values):
    names = ("window_start", "window_end", *KEYS[table])
    found = {tuple(row[name] for name in names): tuple(row[value] for value in values) for row in rows}
    assert len(found) == len(rows), "a window stands there twice"
    return found


@pytest.mark.soak("two tables of windows over one source that is no table of orders; test_late.py has those of orders")
def test_two_tables_of_one_source_count_each_row_in_their_own_windows_and_keep_the_rest(lake, spark):
    """The source has folders: what is in their names alone is kept with a late row, too."""
    readings = Place(spark, lake, TABLES, partition_by=("sensor", "reason"))
    second = [*SECOND, reading("10:00:20", "s 2/ü", reason=None)]
    assert [report.has_source for report in readings.run(MINUTES, HOURS)] == [False, False]
    for commit in (FIRST, second):
        readings.add(commit)
        readings.run(MINUTES, HOURS)

    def by_minute(windows):
        known = {key: [value for value in values if value is not None] for key, values in windows.items()}
        mean = {key: math.fsum(values) / len(values) if values else None for key, values in known.items()}
        return {key: (mean[key], max(known[key], default=None), len(values)) for key, values in windows.items()}

    minutes, late_minutes = model([FIRST, second], MINUTES, timedelta(minutes=1))
    assert by_key(readings.rows(MINUTES), MINUTES, "mean", "highest", "row_count") == by_minute(minutes)
    hours, late_hours = model([FIRST, second], HOURS, timedelta(hours=1))
    assert by_key(readings.rows(HOURS), HOURS, "readings") == {key: (len(rows),) for key, rows in hours.items()}
    assert (late_minutes.total(), late_hours.total()) == (3, 2)
    kept = readings.kept(MINUTES)
    assert Counter(row["reason"] for row in kept) == {"late": 3, "broken": 1, "no_event_time": 1}
    late_ones = [(row["sensor"], row["row_reason"]) for row in kept if row["reason"] == "late"]
    assert sorted(late_ones) == [("s 2/ü", None), ("s1", "told"), ("s2", "told")]
    (hot,) = [row for row in kept if row["celsius"] == 99.0]
    assert (hot["window_start"], hot["lateness_seconds"]) == (moment("10:00:00"), 79 * 60 + 40)
    assert (hot["sensor"], hot["at"], hot["price"]) == ("s1", moment("10:00:20"), Decimal("1.25"))
    counted, by_hour = readings.finding(MINUTES), readings.finding(HOURS)
    assert counted.passed, counted.line()
    assert (by_hour.passed, by_hour.numbers["late_rows"]) == (True, 2), by_hour.line()
    assert counted.numbers == {
        "windows": 7,
        "counted_rows": 6,
        "late_rows": 3,
        "set_aside_rows": 2,
        "unaccounted_rows": 0,
    }
    # late rows come into their windows, of one table and not of the other
    assert late.replay_late(readings.at(MINUTES), really=True).late_rows == 3
    everything, _ = model([FIRST + second], MINUTES, timedelta(minutes=1))
    assert by_key(readings.rows(MINUTES), MINUTES, "mean", "highest", "row_count") == by_minute(everything)
    counted = readings.finding(MINUTES)
    assert (counted.passed, counted.numbers["late_rows"]) == (True, 0)
    # a key of the name of a column of the quarantine
    replayed = late.replay_late(readings.at(HOURS), really=True)
    assert (replayed.late_rows, replayed.windows_changed) == (2, 2), "those of the other table waited"
    assert readings.finding(HOURS).passed
    spark.sql(
        f"DELETE FROM delta.`{lake.settings.table_uri(HOURS)}` WHERE window_start = timestamp'2026-03-01 10:00:00'"
    )
    lost = readings.finding(HOURS)
    assert (lost.passed, lost.blocks, lost.numbers["unaccounted_rows"]) == (False, True, 6)
    assert sorted((row["source_rows"], row["counted_rows"]) for row in lost.sample) == [(1, 0), (1, 0), (4, 0)]
    assert f"lakehouse checkpoint restart {HOURS} --yes" in lost.next_command


@pytest.mark.soak("types of aggregates, and another source later; test_late.py has update mode of orders")
def test_in_update_mode_a_table_has_the_types_of_its_aggregates_and_its_quarantine_those_of_its_source(lake, spark):
    """A table that needs no key; rows set aside have the columns that their source has then."""
    aggregates = {"total": "sum(price)", "sensors": "collect_set(sensor)", "first_at": "min(at)"}
    table = {"window": "1 hour", "output_mode": "update", "aggregates": aggregates}
    readings = Place(spark, lake, {HOURS: table})
    readings.add([*FIRST, reading(None)])
    readings.run(HOURS)
    readings.add(
        [(*reading("11:25:00", "s3", price="9.75"), 1), (*reading(None, sensor="s9"), 7)], f"{COLUMNS}, floor INT"
    )
    readings.run(HOURS)
    assert spark.read.format("delta").load(lake.settings.table_uri(HOURS)).schema.simpleString() == (
        "struct<window_start:timestamp,window_end:timestamp,total:decimal(20,2),sensors:array<string>,"
        "first_at:timestamp,row_count:bigint>"
    )
    rows = {row["window_start"]: row for row in readings.rows(HOURS)}
    assert len(rows) == 2
    changed = rows[moment("11:00:00")]
    assert (changed["total"], changed["first_at"], changed["row_count"]) == (Decimal("11.00"), moment("11:20:00"), 2)
    assert sorted(changed["sensors"]) == ["s1", "s3"]
    assert sorted((row["sensor"], row["floor"]) for row in readings.kept(HOURS)) == [("s1", None), ("s9", 7)]
    assert readings.finding(HOURS).passed
    # another table is in the place of the source; the quarantine is the old one, emptied
    lake.store.delete_prefix(lake.settings.bucket, "tester/bronze/readings/")
    start_over(lake, HOURS, "another source")
    readings.add([(*reading(None, sensor="s9"), 3_000_000_000, "loud")], f"{COLUMNS}, floor BIGINT, problem STRING")
    readings.run(HOURS)
    assert [(row["floor"], row["problem"]) for row in readings.kept(HOURS)] == [(3_000_000_000, "loud")]


def test_what_a_source_without_lineage_cannot_do_is_refused_with_the_way_out(lake, spark):
    dropping = {**TABLES[HOURS], "duplicates": "drop", "row_key": ["sensor", "at"]}
    readings = Place(spark, lake, {HOURS: dropping, MINUTES: TABLES[MINUTES]})
    with pytest.raises(ConfigurationError, match="is not there yet"):
        late.forecast(readings.at(MINUTES))
    readings.add(FIRST)
    with pytest.raises(ConfigurationError, match="needs the columns _source_sequence and _source_record"):
        readings.run(HOURS)
    with pytest.raises(ConfigurationError, match="when its rows came is not known"):
        late.forecast(readings.at(MINUTES))
    assert lake.version(HOURS) is None


def test_a_row_is_known_by_all_columns_of_its_key_and_by_its_place_when_one_is_missing(lake, spark):
    dropping = {**TABLES[HOURS], "duplicates": "drop", "row_key": ["sensor", "at"]}
    readings = Place(spark, lake, {HOURS: dropping})
    first = [reading("10:00:10"), reading("10:00:11"), reading("10:00:10", "s2"), reading("10:00:11")]
    rows = [reading("10:00:10", celsius=1.0), reading("10:30:00", None), reading("10:30:00", None)]
    lineage = "_source_sequence BIGINT, _source_record BIGINT"
    for file, commit in enumerate((first, [*rows, reading("12:30:00", place="roof")])):
        readings.add([(*row, file, number) for number, row in enumerate(commit)], f"{COLUMNS}, {lineage}")
        readings.run(HOURS)
    assert [row["readings"] for row in readings.rows(HOURS)] == [5], "of eight, two twice and one not closed"
    assert readings.finding(HOURS).passed

"""Rows of a source held against the windows that count them, without a session: as plain Python counts them."""

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from counted import SparkWasAsked, no_spark, storage, write
from deltalake import write_deltalake

from lakehouse.autoloader.lineage import PROCESSING_TIME, RESCUED_DATA, SEQUENCE
from lakehouse.checks.accounts_for_rows import AccountsForRows
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.flows.files import Files
from lakehouse.flows.windows import Windows
from lakehouse.table import At, Catalogue, Table

TABLE, SOURCE = "silver.counts", "bronze.things"
START = datetime(2026, 1, 1, 9, tzinfo=UTC)
MINUTE, LENGTH = timedelta(minutes=1), timedelta(minutes=5)
MOMENT = pa.timestamp("us", "UTC")
ROWS = {
    "at": pa.string(),
    "Kind": pa.string(),
    RESCUED_DATA: pa.string(),
    PROCESSING_TIME: MOMENT,
    SEQUENCE: pa.int64(),
    "unread": pa.binary(),
}
PROBLEMS = [{"at": None}, {"at": "noon"}, {"at": "1999-12-31 23:59:59"}, {"at": "2026-01-09 00:00:00"}]
BROKEN = {RESCUED_DATA: json.dumps({"_corrupt_record": "{"})}
WINDOWS = {"window": "5 minutes", "keys": "kind"}


class World:
    """A source, the windows of what its stream has read, and what that has set aside; each is what a test says."""

    def __init__(self, lake):
        self.lake, self.read, self.late, self.others = lake, [], [], 0
        self.lines = []

    def examine(self, *, full=False, places=None, **windows):
        times = {"column": "at", "format": "yyyy-MM-dd HH:mm:ss", "earliest": "2026-01-01"}
        flow = Windows.model_validate({"of": SOURCE, "event_time": times, **{**WINDOWS, **windows}})
        check = AccountsForRows()
        declared = Table(TABLE, flow, (check,))
        source = Table(SOURCE, Files(path="s3a://landing/things/"), ())
        at = At(no_spark, self.lake, declared, Catalogue((source, declared)), full=full)
        if places is not None:
            places.append(at)
        return check.examine(at)

    def commit(self, rows, *, is_read=True):
        self.read += rows if is_read else []
        write(self.lake, pa.Table.from_pylist(rows, schema=pa.schema(list(ROWS.items()))), SOURCE)

    def checkpoint(self, watermark, **offset):
        def put(name, text):
            key = f"{self.lake.settings.user}/_checkpoints/{TABLE}/{name}"
            self.lake.store.write(self.lake.settings.bucket, key, text.encode())

        milliseconds = int(watermark.timestamp() * 1000)
        put("metadata", '{"id": "q"}')
        put("offsets/0", f'v1\n{{"batchWatermarkMs": {milliseconds}}}\n{json.dumps(offset)}')
        put("commits/0", "v1\n{}")

    def count(self, lines):
        """The table has these lines: start, end, kind, rows."""
        self.lines = lines
        names = ("window_start", "window_end", "Kind", "row_count")
        types = (MOMENT, MOMENT, pa.string(), pa.int64())
        columns = [pa.array([line[at] for line in lines], type_) for at, type_ in enumerate(types)]
        write(self.lake, pa.table(columns, list(names)), TABLE, mode="overwrite")

    def set_aside(self, late, others, replayed=()):
        self.late, self.others = late, others
        kept = [("late", *window, None) for window in late] + [("late", *window, START) for window in replayed]
        kept += [("no_event_time", None, None, None, None)] * others
        names = ("reason", "window_start", "window_end", "Kind", "replayed_at")
        types = (pa.string(), MOMENT, MOMENT, pa.string(), MOMENT)
        columns = [pa.array([row[at] for row in kept], type_) for at, type_ in enumerate(types)]
        uri = self.lake.settings.quarantine_uri(TABLE).replace("s3a://", "s3://")
        write_deltalake(uri, pa.table(columns, list(names)), mode="overwrite", storage_options=storage(self.lake))


def good(minutes, kind, sequence=1, seconds=0):
    at = START + minutes * MINUTE + timedelta(seconds=seconds)
    return {
        "at": f"{at:%Y-%m-%d %H:%M:%S}",
        "Kind": kind,
        RESCUED_DATA: None,
        PROCESSING_TIME: START,
        SEQUENCE: sequence,
    }


def is_believed(row):
    try:
        at = datetime.strptime(row["at"] or "", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return False
    return datetime(2026, 1, 1, tzinfo=UTC) <= at <= row[PROCESSING_TIME] + timedelta(days=1) and not row[RESCUED_DATA]


def windows_of(row, slide):
    """All windows that a row is in, by looking at each that could be."""
    at = datetime.strptime(row["at"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    first = datetime(2026, 1, 1, tzinfo=UTC)
    number = (at - LENGTH - first) // slide
    starts = (first + (number + more) * slide for more in range(2 * (LENGTH // slide) + 3))
    return [(start, start + LENGTH, row["Kind"]) for start in starts if start <= at < start + LENGTH]


def random_world(world, dice, slide, watermark):
    for version in range(3):  # the stream has read two of three commits
        rows = [
            good(dice.randint(-3, 40), dice.choice(["a", "b", None]), seconds=dice.randint(0, 59))
            for _ in range(dice.randint(0, 20))
        ]
        rows += [{**good(9, "a"), **problem} for problem in dice.choices([*PROBLEMS, BROKEN], k=dice.randint(0, 3))]
        world.commit(rows, is_read=version < 2)
    at = dice.choice([{"reservoirVersion": 2, "index": -1}, {"reservoirVersion": 1, "index": 0}])
    world.checkpoint(watermark, **at)
    counted, late = Counter(), []
    for row in filter(is_believed, world.read):
        for window in windows_of(row, slide):
            if dice.random() < 0.2:
                late.append(window)
            else:
                counted[window] += 1
    lines = [(*window, rows) for window, rows in counted.items() if window[1] <= watermark or dice.random() < 0.5]
    for _ in range(dice.choice([0, 0, 1, 2])):  # what must be found
        fault = dice.choice(["twice", "more", "less", "late", "gone"])
        if fault == "late" and late:
            late.remove(dice.choice(late))
        elif fault != "late" and lines:
            line = lines.pop(dice.randrange(len(lines)))
            change = {"twice": [line, line], "gone": []}.get(fault)
            lines += [(*line[:3], line[3] + (1 if fault == "more" else -1))] if change is None else change
    world.count(lines)
    wrong = sum(not is_believed(row) for row in world.read)
    world.set_aside(late, max(wrong + dice.choice([0, 0, 0, -1, 1]), 0), replayed=late[:1])


@pytest.mark.parametrize("slide", [5, 2])
@pytest.mark.parametrize("seed", range(8))
def test_it_finds_what_plain_python_finds(lake, monkeypatch, seed, slide):
    dice, world, step = random.Random(seed), World(lake), slide * MINUTE
    watermark = START + dice.randint(0, 50) * MINUTE
    random_world(world, dice, step, watermark)
    of_source = Counter(window for row in world.read if is_believed(row) for window in windows_of(row, step))
    counted, late = Counter(), Counter(world.late)
    for *window, rows in world.lines:
        counted[tuple(window)] += rows
    twice = Counter(tuple(line[:3]) for line in world.lines)
    problems = sum(not is_believed(row) for row in world.read)
    ways = {
        "exact": ({}, lambda have, of: have != of),
        "drops": ({"duplicates": "drop", "row_key": "at"}, lambda have, of: have > of),
        "keeps": ({}, lambda have, of: have < of),
        "update": ({"output_mode": "update"}, lambda have, of: have != of),
    }
    for way, (declared, differs) in ways.items():
        keeps = way == "keeps"
        monkeypatch.setattr("lakehouse.checkpoints.kept.kept_removals", lambda *_, keeps=keeps: keeps)
        seen = [
            window for window in {*of_source, *counted, *late} if declared.get("output_mode") or window[1] <= watermark
        ]
        wrong = {
            window for window in seen if twice[window] > 1 or differs(counted[window] + late[window], of_source[window])
        }
        found = world.examine(slide=f"{slide} minutes", **declared)
        missing = sum(of_source[window] - counted[window] - late[window] for window in seen)
        assert found.numbers == {
            "windows": len(seen),
            "counted_rows": sum(counted[window] for window in seen),
            "late_rows": sum(late[window] for window in seen),
            "set_aside_rows": world.others,
            "unaccounted_rows": (0 if way == "drops" else missing) + problems - world.others,
        }, way
        assert world.examine(full=True, slide=f"{slide} minutes", **declared).numbers == found.numbers
        enough = problems <= world.others if keeps else problems == world.others
        assert found.passed == (enough and not wrong), way
        shown = [(row["window_start"], row["window_end"], row["kind"]) for row in found.sample]
        assert len(shown) == min(len(wrong), SAMPLE_ROWS) and set(shown) <= wrong
        assert [start for start, *_ in shown] == sorted(start for start, *_ in wrong)[: len(shown)]
        for row, window in zip(found.sample, shown, strict=True):
            assert row["source_rows"] == of_source[window]
            assert (row["counted_rows"], row["late_rows"], row["lines"]) == (
                counted[window],
                late[window],
                twice[window],
            )


def test_a_stream_of_the_files_has_read_up_to_its_place_in_the_journal(lake):
    world = World(lake)
    world.commit([good(0, "a", sequence=1), good(1, "a", sequence=2), good(2, "a", sequence=3)])
    world.checkpoint(START + 9 * MINUTE, seq=2)
    world.count([(START, START + LENGTH, "a", 2)])
    assert world.examine().passed
    world.checkpoint(START + 9 * MINUTE, seq=3)
    assert world.examine().numbers["unaccounted_rows"] == 1


def test_before_its_first_batch_nothing_is_expected_of_a_table(lake):
    world = World(lake)
    assert world.examine() is None
    world.commit([good(0, "a")])
    world.count([])
    assert world.examine().passed


def test_what_arrow_might_see_otherwise_is_left_to_spark(lake):
    world = World(lake)
    world.commit([good(0, "a")])
    world.count([(START, START + LENGTH, "a", 1)])
    world.checkpoint(START + 9 * MINUTE, reservoirVersion=1, index=-1)
    assert world.examine().passed
    for declared in (
        {"session_gap": "5 minutes", "window": None},
        {"event_time": "at"},
        {"refuse": {"odd": "regexp_like(Kind, 'a')"}},
        {"keys": ["kind", "absent"]},
    ):
        with pytest.raises(SparkWasAsked):
            world.examine(**declared)
    refused = world.examine(refuse={"is_a": "kind = 'a'"})
    assert (refused.passed, refused.numbers["unaccounted_rows"]) == (False, 0)

"""``latest`` on the local engine: each key in its latest version, merged and checked without a JVM."""

import dataclasses
import json
import math
import random
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from declared import with_declaration
from deltalake import write_deltalake
from store.local_world import NeedsSpark, no_session

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.direct import delta_source, following
from lakehouse.direct import latest as merging
from lakehouse.errors import TransientError
from lakehouse.flows.following import RowsRemoved
from lakehouse.pipeline import check_table, run_table
from lakehouse.streams.run import Run
from lakehouse.streams.trigger import AVAILABLE_NOW, ONCE

SOURCE, TABLE = "bronze.states", "silver.stock"
STATES = {
    "Shop": pa.int64(),
    "sku": pa.string(),
    "updated": pa.float64(),
    "amount": pa.float64(),
    "labels": pa.map_(pa.string(), pa.string()),
    "of": pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))]),
    "_rescued_data": pa.string(),
    "_processing_time": pa.timestamp("us", "UTC"),
    "_source_file": pa.string(),
    "_source_sequence": pa.int64(),
    "_source_record": pa.int64(),
}
TIMES = [None, -math.inf, -1.0, -0.0, 0.0, 2.5, math.inf, math.nan]


def state(shop, sku, updated, sequence, record=0, **more):
    return {
        **dict.fromkeys(STATES),
        "Shop": shop,
        "sku": sku,
        "updated": updated,
        "amount": sequence / 4,
        "labels": [("n", str(sequence))],
        "of": {"a": sequence, "b": [None, "x"]},
        "_processing_time": datetime(2026, 2, 1, tzinfo=UTC),
        "_source_file": f"s3a://landing/states/{sequence}.json",
        "_source_sequence": sequence,
        "_source_record": record,
        **more,
    }


class World:
    """A source that is written without Spark, and the table of its latest versions."""

    def __init__(self, lake, folder):
        self.plain, self.folder = lake, folder
        self.declare()

    def declare(self, **latest):
        flow = {"of": SOURCE, "key": ["sku", "shop"], "order": "updated", "engine": "local", **latest}
        files = {"path": "{landing}/states/", "hints": {"amount": "DOUBLE"}, "engine": "local"}
        tables = {SOURCE: {"files": files}, TABLE: {"latest": flow}}
        self.lake = with_declaration(self.plain, self.folder, json.dumps({"tables": tables}))
        return self

    def write(self, rows, schema=STATES, **options):
        uri = self.lake.settings.table_uri(SOURCE).replace("s3a://", "s3://", 1)
        data = pa.Table.from_pylist(rows, schema=pa.schema(list(schema.items())))
        keys = self.lake.endpoint.deltalake_options()
        write_deltalake(uri, data, **{"mode": "append", **options}, storage_options=keys)

    def merge(self, **run):
        return run_table(no_session, self.lake, TABLE, Run(**run))

    def rows(self):
        opened = self.lake.delta(TABLE)
        found = opened.to_pyarrow_table().to_pylist() if opened else []
        return {(row["Shop"], row["sku"]): row for row in found}, len(found)

    def findings(self):
        return {finding.check: finding for finding in check_table(no_session, self.lake, TABLE)}


@pytest.fixture
def world(lake, tmp_path):
    return World(lake, tmp_path)


def place(row):
    """What versions are compared by: NULL, numbers, NaN; then file and record."""
    time = row["updated"]
    rank = (0, 0.0) if time is None else (2, 0.0) if math.isnan(time) else (1, time + 0.0)
    return (*rank, row["_source_sequence"], row["_source_record"])


def expected(rows):
    latest = {}
    for row in rows:
        key = (row["Shop"], row["sku"])
        wrong = row["_rescued_data"] and "amount" in json.loads(row["_rescued_data"])
        if None not in key and not wrong and (key not in latest or place(row) > place(latest[key])):
            latest[key] = row
    return latest


def same(found, wanted):
    """Rows as text: no NaN is another one's equal."""
    left_out = ("_rescued_data", "_processing_time")
    return {key: repr({name: row[name] for name in STATES if name not in left_out}) for key, row in found.items()} == {
        key: repr({name: row[name] for name in STATES if name not in left_out}) for key, row in wanted.items()
    }


@pytest.mark.parametrize("seed", range(3))
def test_the_latest_version_wins_in_whatever_order_and_batches_versions_come(world, monkeypatch, seed):
    chance = random.Random(seed)
    monkeypatch.setattr(delta_source, "_MOST_FILES", chance.choice([1, 2, 1000]))
    everything = []
    for run in range(4):
        for _ in range(chance.randrange(1, 4)):
            rows = []
            for record in range(chance.randrange(1, 8)):
                shop, sku = chance.choice([1, 2, None]), chance.choice("abcé")
                rescued = chance.choice([None, None, '{"amount": "much"}', '{"more": 1}'])
                sequence = len(everything) + len(rows)
                more = {"_rescued_data": rescued}
                rows.append(state(shop, sku, chance.choice(TIMES), sequence, record, **more))
            world.write(rows)
            everything += rows
        trigger = ONCE if run == 2 else AVAILABLE_NOW
        report = world.merge(trigger=trigger)
        assert report.delta_version == world.lake.version(TABLE)
        found, count = world.rows()
        assert count == len(found)
        assert same(found, expected(everything))
    assert report.batches[-1].input_rows > 0
    assert world.merge().batches == ()
    findings = world.findings()
    assert findings["matches"].passed
    assert findings["matches"].numbers["keys_in_source"] == len(found)
    valid = [row for row in everything if "amount" not in (row["_rescued_data"] or "")]
    assert findings["keyed"].numbers == {"rows_without_key": sum(row["Shop"] is None for row in valid)}
    assert not {"_rescued_data", "_processing_time"} & set(world.lake.describe(TABLE).columns)


def test_what_changed_is_in_the_change_data_feed_and_no_statistics_are_kept_of_fractions(world):
    world.write([state(1, "a", 1.0, 1), state(1, "b", 1.0, 2)])
    assert world.merge().rows_added == 2
    world.write([state(1, "a", 2.0, 3, amount=math.nan), state(1, "b", 0.0, 4), state(1, "c", 0.0, 5)])
    report = world.merge()
    assert (report.rows_added, report.rows_updated) == (1, 1)
    changes = pa.table(world.lake.delta(TABLE).load_cdf(report.delta_version).read_all())
    told = zip(changes["sku"].to_pylist(), changes["_change_type"].to_pylist(), strict=True)
    assert sorted(told) == [("a", "update_postimage"), ("a", "update_preimage"), ("c", "insert")]
    adds = pa.table(world.lake.delta(TABLE).get_add_actions(flatten=True)).to_pylist()
    assert not [name for add in adds for name in add if name.startswith(("max.amount", "min.amount", "max.updated"))]
    assert all(add["max.Shop"] == 1 for add in adds)


def test_a_new_column_of_the_source_becomes_one_of_the_table(world):
    world.write([state(1, "a", 1.0, 1)])
    world.merge()
    known = world.lake.delta(TABLE).metadata().id
    more = {**state(1, "b", 1.0, 2), "colour": "red"}
    world.write([more], {**STATES, "colour": pa.string()}, schema_mode="merge")
    world.merge()
    found, _ = world.rows()
    assert (found[1, "a"]["colour"], found[1, "b"]["colour"]) == (None, "red")
    assert world.lake.delta(TABLE).metadata().id == known, "for who follows it, it is the same table"
    assert world.findings()["matches"].passed


def test_each_tampered_row_is_found_with_its_places(world):
    world.write([state(1, sku, 1.0, number) for number, sku in enumerate("abcde")])
    world.merge()
    opened = world.lake.delta(TABLE)
    opened.delete("sku = 'a'")
    opened.update(updates={"amount": "99.0"}, predicate="sku = 'b'")
    opened.update(updates={"updated": "0.5"}, predicate="sku = 'c'")
    whole = opened.to_pyarrow_table()
    write_deltalake(opened, whole.filter([sku == "d" for sku in whole["sku"].to_pylist()]), mode="append")
    found = world.findings()["matches"]
    assert (found.passed, found.numbers) == (
        False,
        {"keys_in_source": 5, "rows_in_table": 5, "wrong_keys": 4},
    )
    [c] = [row for row in found.sample if row["sku"] == "c"]
    assert (c["updated_in_source"], c["updated_in_table"], c["versions"], c["rows_in_table"]) == (1.0, 0.5, 1, 1)
    assert {row["sku"] for row in found.sample} == set("abcd")


def test_versions_that_nothing_tells_apart_are_equal_and_any_of_them_may_be_kept(world):
    plain = {name: type_ for name, type_ in STATES.items() if not name.startswith("_source")}
    row = {name: value for name, value in state(1, "a", 1.0, 1).items() if name in plain}
    world.write([row, {**row, "amount": 5.0}], plain)
    world.merge()
    assert world.findings()["matches"].passed


@pytest.mark.parametrize("lost", ["all", "offsets", "commits", "newest"])
def test_a_checkpoint_that_was_lost_is_made_by_the_table_and_nothing_is_merged_twice(world, lost):
    for number in range(3):
        world.write([state(1, "a", float(number), number), state(number, "b", 0.0, number)])
        world.merge()
    before, _ = world.rows()
    version = world.lake.version(TABLE)
    prefix = f"{world.lake.settings.user}/_checkpoints/{TABLE}/"
    keys = [info.key for info in world.lake.store.list(world.lake.settings.bucket, prefix)]
    gone = {"all": "", "offsets": "offsets/", "commits": "commits/", "newest": "commits/2"}[lost]
    for key in keys:
        if key.startswith(prefix + gone):
            world.lake.store.delete(world.lake.settings.bucket, key)
    world.merge()
    assert (world.rows()[0], world.lake.version(TABLE)) == (before, version)
    world.write([state(1, "a", 9.0, 9)])
    assert world.merge().rows_updated == 1


@pytest.mark.parametrize("at", ["plan", "merge", "finish"])
def test_a_batch_that_was_cut_is_done_once(world, monkeypatch, at):
    world.write([state(1, "a", 1.0, 1)])
    world.merge()
    world.write([state(1, "a", 2.0, 2), state(1, "b", 2.0, 3)])

    def die(*arguments, **options):
        raise ConnectionError("the process is gone")

    owner, name = {
        "plan": (merging.LatestStream, "_load"),
        "merge": (merging.LakeTable, "merge"),
        "finish": (following.SparkLog, "finish"),
    }[at]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, die)
        with pytest.raises(Exception, match="gone"):
            world.merge()
    state_now = checkpoints.read_checkpoint(world.lake, TABLE)
    assert (state_now.last_offset, state_now.last_commit) == (1, 0)
    world.merge()
    found, count = world.rows()
    assert (count, found[1, "a"]["updated"]) == (2, 2.0)
    assert world.lake.delta(TABLE).transaction_version(state_now.query_id) == 1
    assert world.findings()["matches"].passed


def test_a_writer_who_comes_between_is_not_overwritten(world, monkeypatch):
    world.write([state(1, "a", 1.0, 1)])
    world.merge()
    world.write([state(1, "a", 2.0, 2)])
    opened = merging.LatestStream._opened

    def beaten(stream):
        table = opened(stream)
        other = world.lake.delta(TABLE)
        other.update(updates={"updated": "5.0"}, predicate="sku = 'a'")
        return table

    with monkeypatch.context() as patched:
        patched.setattr(merging.LatestStream, "_opened", beaten)
        with pytest.raises(TransientError, match="not committed"):
            world.merge()
    world.merge()
    assert world.rows()[0][1, "a"]["updated"] == 5.0, "the older version does not win over what came between"


def test_rows_that_the_source_took_out_are_asked_about_and_followed(world):
    world.write([state(1, "a", 1.0, 1), state(1, "b", 1.0, 2)])
    world.merge()
    world.lake.delta(SOURCE).delete("sku = 'b'")
    with pytest.raises(RowsRemoved):
        world.merge()
    settings = world.lake.settings.model_copy(update={"after_removals": "follow"})
    world.lake = dataclasses.replace(world.lake, settings=settings)
    world.merge()
    assert set(world.rows()[0]) == {(1, "a")}
    assert world.findings()["matches"].passed


def test_rows_are_judged_and_columns_are_made_by_the_declaration(world):
    told = {"event_time": {"column": "sku", "format": "yyyy-MM-dd HH:mm:ss", "earliest": "2020-01-01"}}
    world.declare(
        **told,
        key="shop",
        refuse={"no_number": "isnan(amount) OR abs(amount) > 1e3"},
        columns={"day": "to_date(event_time)", "double": "amount * 2"},
    )
    texts = [
        "2026-01-31 23:59:59",
        "2019-12-31 00:00:00",
        "2026-02-01 23:00:00",
        "2026-02-03 00:00:00",
        "nothing",
        None,
    ]
    rows = [state(number, text, 1.0, number, amount=1.5) for number, text in enumerate(texts)]
    rows += [state(10 + number, texts[0], 1.0, 10, amount=it) for number, it in enumerate([math.nan, -1e4, 1e3, None])]
    rows += [state(12, texts[2], 0.5, 20, amount=7.0), state(None, texts[0], 1.0, 21)]
    world.write(rows)
    assert world.merge().batches[0].input_rows == len(rows)
    found = {row["Shop"]: row for row in world.lake.delta(TABLE).to_pyarrow_table().to_pylist()}
    assert set(found) == {0, 2, 12, 13}
    first = found[0]
    assert (first["event_time"], str(first["day"]), first["double"]) == (
        datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC),
        "2026-01-31",
        3.0,
    )
    assert [found[number]["double"] for number in (12, 13)] == [2e3, None]
    findings = world.findings()
    assert findings["matches"].passed
    assert findings["matches"].numbers["keys_in_source"] == 4
    assert findings["keyed"].numbers == {"rows_without_key": 1}
    [keyless] = findings["keyed"].sample
    assert keyless["event_time"] == datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
    world.lake.delta(TABLE).update(updates={"day": "'2026-02-02'"}, predicate='"Shop" = 0')
    assert not world.findings()["matches"].passed


def test_what_only_spark_can_merge_asks_for_a_session(world):
    world.write([state(1, "a", 1.0, 1)])
    for latest in (
        {"columns": {"half": "round(amount)"}},
        {"columns": {"sku": "'x'"}},
        {"refuse": {"cheap": "sku RLIKE 'a'"}},
        {"event_time": {"column": "sku"}},
        {"event_time": {"column": "sku", "format": "yyyy", "zone": "Europe/Berlin"}},
        {"key": ["sku", "amount"]},
        {"order": "of"},
        {"engine": "spark"},
    ):
        world.declare(**latest)
        with pytest.raises(NeedsSpark):
            world.merge()
    assert world.lake.version(TABLE) is None

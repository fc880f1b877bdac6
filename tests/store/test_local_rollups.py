"""``rollup`` on the local engine: groups whose rows changed are computed anew, replaced and checked without a JVM."""

import dataclasses
import json
import math
import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from declared import with_declaration
from deltalake import DeltaTable, Schema, write_deltalake
from store.local_world import NeedsSpark, no_session

from lakehouse.autoloader.lineage import LINEAGE
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.direct import following
from lakehouse.direct import rollup as rolling
from lakehouse.errors import TransientError
from lakehouse.flows.rollup import Rollup
from lakehouse.maintenance.detail import layout
from lakehouse.orders.samples import generate_orders
from lakehouse.pipeline import check_table, run_table
from lakehouse.streams.run import Run

TABLES = ("bronze.orders_autoloader", "silver.orders", "gold.daily_revenue")
SOURCE, TABLE = "silver.sales", "gold.by_day"
SALES = pa.schema(
    [
        ("id", pa.int64()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", "UTC")),
        ("shop", pa.string()),
        ("open", pa.bool_()),
        ("pieces", pa.int32()),
        ("amount", pa.float64()),
        ("price", pa.decimal128(10, 2)),
        ("_source_file", pa.string()),
        ("_source_record", pa.int64()),
    ]
)
AGGREGATES = {
    "sales": "count(*)",
    "with_pieces": "count(pieces)",
    "pieces": "sum(pieces)",
    "amount": "sum(amount)",
    "mean": "avg(amount)",
    "first_id": "min(id)",
    "last_shop": "max(shop)",
    "shops": "count(DISTINCT shop)",
    "large": "count_if(amount > 10.5)",
    "priced": "sum(price)",
}
PARTS = {
    "day": {"day": "day", "shop": "shop"},
    "shop": {"shop": "shop"},
    "hour": {"hour": "date_trunc('hour', at)"},
    "open": {"open": "open", "day": "to_date(at)"},
    "number": {"number": "pieces"},
}


class World:
    """A table of sales with a change data feed, written without Spark, and its rollup."""

    def __init__(self, lake, folder, group=None, **flow):
        self.plain, self.folder = lake, folder
        self.declare(group or PARTS["day"], **flow)
        DeltaTable.create(
            self.uri(SOURCE),
            Schema.from_arrow(SALES),
            configuration={"delta.enableChangeDataFeed": "true"},
            storage_options=self.keys,
        )

    @property
    def keys(self):
        return self.lake.endpoint.deltalake_options()

    def declare(self, group, **flow):
        said = {"of": SOURCE, "group": group, "aggregates": AGGREGATES, "engine": "local", **flow}
        tables = {
            "bronze.sales": {"files": {"path": "{landing}/sales/", "engine": "local"}},
            SOURCE: {"latest": {"of": "bronze.sales", "key": "id", "engine": "local"}},
            TABLE: {"rollup": said},
        }
        self.lake = with_declaration(self.plain, self.folder, json.dumps({"tables": tables}))

    def uri(self, table):
        return self.lake.settings.table_uri(table).replace("s3a://", "s3://", 1)

    def source(self):
        return DeltaTable(self.uri(SOURCE), storage_options=self.keys)

    def put(self, rows):
        """Rows by id: newer ones take the place of those that are there."""
        merging = self.source().merge(
            pa.Table.from_pylist(rows, SALES), "t.id = s.id", source_alias="s", target_alias="t"
        )
        merging.when_matched_update_all().when_not_matched_insert_all().execute()

    def roll(self, **run):
        return run_table(no_session, self.lake, TABLE, Run(**run))

    def rows(self):
        return self.lake.delta(TABLE).to_pyarrow_table().to_pylist()

    def matches(self):
        [found] = [finding for finding in check_table(no_session, self.lake, TABLE) if finding.check == "matches"]
        return found

    def kept(self):
        return self.source().to_pyarrow_table().to_pylist()


def sale(number, chance):
    at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(60 * 60))
    return {
        "id": number,
        "day": chance.choice([at.date(), None]),
        "at": chance.choice([at, at, None]),
        "shop": chance.choice(["a", "it's", "é\n", "", None]),
        "open": chance.choice([True, False, None]),
        "pieces": chance.choice([1, 2, -3, None]),
        "amount": chance.choice([0.1, 11.0, -0.0, math.inf, None]),
        "price": chance.choice([None, Decimal("1.10"), Decimal("99999999.99")]),
    }


def group_of(part, row):
    hour = row["at"] and row["at"].replace(minute=0)
    values = {"shop": row["shop"], "day": row["day"], "hour": hour, "number": row["pieces"]}
    if part == "open":
        return (row["open"], row["at"] and row["at"].date())
    return tuple(values[name] for name in PARTS[part])


def expected(part, rows):
    groups = defaultdict(list)
    for row in rows:
        groups[group_of(part, row)].append(row)
    return {key: aggregated(of) for key, of in groups.items()}


def aggregated(rows):
    def there(name):
        return [row[name] for row in rows if row[name] is not None]

    pieces, amounts, shops, prices = there("pieces"), there("amount"), there("shop"), there("price")
    return {
        "sales": len(rows),
        "with_pieces": len(pieces),
        "pieces": sum(pieces) if pieces else None,
        "amount": pytest.approx(sum(amounts)) if amounts else None,
        "mean": pytest.approx(sum(amounts) / len(amounts)) if amounts else None,
        "first_id": min(row["id"] for row in rows),
        "last_shop": max(shops, key=str.encode) if shops else None,
        "shops": len(set(shops)),
        "large": sum(amount > 10.5 for amount in amounts),
        "priced": sum(prices) if prices else None,
    }


@pytest.mark.parametrize("part", PARTS)
def test_the_groups_are_those_of_all_rows_after_every_change(lake, tmp_path, part):
    world, chance = World(lake, tmp_path, PARTS[part]), random.Random(part)
    for run in range(4):
        world.put([sale(chance.randrange(60), chance) | {"id": number} for number in chance.sample(range(60), 12)])
        if run == 2:
            world.source().delete("id % 3 = 0")
        report = world.roll()
        assert len(report.batches) == 1
        found = {tuple(row[name] for name in PARTS[part]): row for row in world.rows()}
        wanted = expected(part, world.kept())
        assert len(world.rows()) == len(found)
        assert {key: {name: row[name] for name in AGGREGATES} for key, row in found.items()} == wanted
        checked = world.matches()
        assert checked.passed, checked
        assert checked.numbers["groups"] == len(wanted)
    assert world.roll().batches == ()
    types = {"sales": "long", "amount": "double", "priced": "decimal(20,2)", "last_shop": "string"}
    assert types.items() <= world.lake.describe(TABLE).columns.items()


def test_only_parts_whose_rows_changed_are_written_again(lake, tmp_path):
    chance = random.Random(7)
    world = World(lake, tmp_path)
    days = [date(2026, 3, 1) + timedelta(days=number) for number in range(4)]
    world.put([sale(number, chance) | {"day": days[number % 4]} for number in range(40)])
    world.roll()
    world.put([sale(0, chance) | {"day": days[3]}])  # it was of the first day
    report = world.roll()
    [commit] = world.lake.commits_since(TABLE, report.delta_version_before)
    assert report.batches[0].input_rows == 2
    replaced = sum(row["day"] in (days[0], days[3]) for row in world.rows())
    assert (commit.rows_added, report.rows_added) == (replaced, replaced)
    assert world.matches().passed


def test_a_row_that_is_written_again_as_it_was_changes_what_tells_of_its_file_and_nothing_else(lake, tmp_path):
    chance = random.Random(23)
    world = World(lake, tmp_path, PARTS["shop"], aggregates={"pieces": "sum(pieces)", "newest": "max(_source_file)"})
    world.put([sale(number, chance) | {"shop": "abc"[number % 3]} for number in range(12)])
    world.roll()
    world.source().update(updates={"open": "open", "_source_record": "7"}, predicate="shop = 'a'")
    world.source().update(updates={"pieces": "7"}, predicate="shop = 'b'")
    world.source().update(updates={"_source_file": "'again.json'"}, predicate="shop = 'c'")
    assert world.matches().numbers["groups_to_come"] == 2
    report = world.roll()
    assert report.rows_added == 2
    assert world.matches().passed


@pytest.mark.parametrize(
    ("expression", "compared"),
    [
        ("count(*)", set()),
        ("sum(price * pieces)", set()),
        ("max(_Processing_Time)", {"_processing_time"}),
        ("max(struct(day, *))", set(LINEAGE)),
        ("count(DISTINCT `_source_file`, _source_record)", {"_source_file", "_source_record"}),
    ],
)
def test_spark_compares_the_columns_of_origin_that_an_expression_reads(expression, compared):
    flow = Rollup(of=SOURCE, group={"day": "day"}, aggregates={"found": expression})
    assert set(LINEAGE) - set(flow.left_out) == compared


def test_a_part_without_rows_is_gone_and_a_change_of_nothing_is_noted(lake, tmp_path):
    chance = random.Random(3)
    world = World(lake, tmp_path)
    world.put([sale(1, chance) | {"day": date(2026, 3, 1)}, sale(2, chance) | {"day": date(2026, 3, 2)}])
    world.roll()
    world.source().delete("id = 1")
    world.roll()
    assert [row["day"] for row in world.rows()] == [date(2026, 3, 2)]
    world.source().optimize.compact()
    world.source().alter.set_table_properties({"delta.logRetentionDuration": "interval 30 days"})
    before = world.rows()
    world.roll()
    assert world.rows() == before
    assert world.roll().batches == ()
    assert world.matches().passed


def test_more_parts_than_a_commit_names_are_all_computed_anew(lake, tmp_path, monkeypatch):
    monkeypatch.setattr(rolling, "MOST_PARTS", 2)
    chance = random.Random(5)
    world = World(lake, tmp_path)
    for _ in range(2):
        world.put([sale(number, chance) for number in range(30)])
        world.roll()
        assert world.matches().passed


def test_what_was_tampered_with_is_found_with_both_sides(lake, tmp_path):
    chance = random.Random(11)
    world = World(lake, tmp_path, PARTS["shop"])
    world.put([sale(number, chance) | {"shop": "abcd"[number % 4], "amount": 1.0} for number in range(16)])
    world.roll()
    opened = world.lake.delta(TABLE)
    opened.delete("shop = 'a'")
    opened.update(updates={"amount": "amount + 0.001"}, predicate="shop = 'b'")
    write_deltalake(opened, pa.table(opened.to_pyarrow_table()).slice(0, 1), mode="append")
    found = world.matches()
    assert not found.passed
    shown = {row["shop"]: row for row in found.sample}
    assert {"a", "b"} <= set(shown)
    assert (shown["a"]["sales_of_source"], shown["a"]["sales_in_table"]) == (4, None)
    assert (shown["b"]["amount_of_source"], shown["b"]["amount_in_table"]) == (4.0, 4.001)
    assert found.numbers["rows_in_table"] == 4


def test_parts_that_the_table_has_not_read_are_not_judged(lake, tmp_path):
    chance = random.Random(13)
    world = World(lake, tmp_path, PARTS["shop"])
    world.put([sale(number, chance) | {"shop": "ab"[number % 2]} for number in range(8)])
    world.roll()
    world.put([sale(0, chance) | {"shop": "c"}])
    found = world.matches()
    assert found.passed
    assert (found.numbers["groups_to_come"], found.numbers["groups"]) == (2, 1)


@pytest.mark.parametrize("at", ["load", "write", "finish"])
def test_a_batch_that_was_cut_is_done_once(lake, tmp_path, monkeypatch, at):
    chance = random.Random(at)
    world = World(lake, tmp_path)
    world.put([sale(number, chance) for number in range(9)])
    world.roll()
    world.put([sale(number, chance) for number in range(5, 12)])

    def die(*arguments, **options):
        raise ConnectionError("the process is gone")

    owner, name = {
        "load": (rolling.RollupStream, "_load"),
        "write": (rolling, "write_deltalake"),
        "finish": (following.SparkLog, "finish"),
    }[at]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, die)
        with pytest.raises(Exception, match="gone"):
            world.roll()
    state = checkpoints.read_checkpoint(world.lake, TABLE)
    assert (state.last_offset, state.last_commit) == (1, 0)
    version = world.lake.version(TABLE)
    world.put([sale(1, chance)])  # the source goes on meanwhile
    world.roll()
    assert world.lake.delta(TABLE).transaction_version(state.query_id) >= 1
    assert world.lake.version(TABLE) > version
    assert world.matches().passed
    assert world.roll().batches == ()


def test_a_writer_who_comes_between_is_not_overwritten(lake, tmp_path, monkeypatch):
    chance = random.Random(17)
    world = World(lake, tmp_path, PARTS["shop"])
    world.put([sale(number, chance) | {"shop": "a"} for number in range(9)])
    world.roll()
    world.put([sale(number, chance) | {"shop": "a"} for number in range(5, 12)])
    opened = rolling.RollupStream._opened

    def beaten(stream):
        table = opened(stream)
        world.lake.delta(TABLE).update(updates={"sales": "99"})
        return table

    with monkeypatch.context() as patched:
        patched.setattr(rolling.RollupStream, "_opened", beaten)
        with pytest.raises(TransientError, match="not committed"):
            world.roll()
    world.roll()
    assert [row["sales"] for row in world.rows()] == [12]


def test_what_only_spark_knows_asks_for_a_session(lake, tmp_path):
    world = World(lake, tmp_path)
    world.put([sale(1, random.Random(1))])
    for group, more in (
        ({"day": "date_add(day, 1)"}, {}),
        ({"of_amount": "amount"}, {}),
        ({"day": "day"}, {"aggregates": {"any": "first(shop)"}}),
        ({"day": "day"}, {"aggregates": {"half": "sum(amount) / 2"}}),
        ({"day": "day"}, {"engine": "spark"}),
    ):
        world.declare(group, **more)
        with pytest.raises(NeedsSpark):
            world.roll()
    assert world.lake.version(TABLE) is None


def test_the_orders_reach_gold_without_a_session(lake):
    bucket, folder = lake.settings.landing_bucket, lake.settings.landing_prefix

    def put(name, data):
        lake.store.write(bucket, folder + name, data)

    lake = dataclasses.replace(lake, settings=lake.settings.model_copy(update={"engine": "local"}))
    shares = {"late_share": 0.1, "duplicate_share": 0.1, "bad_line_share": 0.05, "bad_date_share": 0.05}
    told = []
    for first in (0, 3):
        told.append(generate_orders(put, files=3, first_file=first, rows_per_file=60, **shares))
        for table in TABLES:
            assert run_table(no_session, lake, table).rows_added > 0
    findings = {finding.check: finding for table in TABLES for finding in check_table(no_session, lake, table)}
    failed = {name for name, finding in findings.items() if not finding.passed}
    assert failed == {"no_duplicate_orders", "no_corrupt_records", "rescue_rate"}, "what was planted, and nothing else"
    revenue = lake.delta("gold.daily_revenue").to_pyarrow_table().to_pylist()
    orders, sent = sum(row["orders"] for row in revenue), sum(sample.distinct_order_ids for sample in told)
    assert orders == findings["orders_match_bronze"].numbers["keys_in_source"]
    assert sent - sum(sample.bad_date_rows for sample in told) <= orders < sent


def test_parts_of_microseconds_have_the_rows_of_every_file(lake, tmp_path):
    world = World(lake, tmp_path, {"at": "at"}, aggregates={"sales": "count(*)"})
    at = datetime(2026, 3, 1, 0, 0, 0, 123_877, tzinfo=UTC)
    for number in range(2):  # the log has milliseconds: the bounds of both files are below the time
        write_deltalake(world.source(), pa.Table.from_pylist([{"id": number, "at": at}], SALES), mode="append")
        world.roll()
    assert world.rows() == [{"at": at, "sales": 2}]


def test_days_beyond_the_years_of_python_ask_for_a_session(lake, tmp_path):
    world = World(lake, tmp_path, {"day": "day"}, aggregates={"sales": "count(*)"})
    undated = pa.Table.from_pylist([{"id": 1}], SALES)
    far = undated.set_column(SALES.names.index("day"), "day", pa.array([10**7], pa.int32()).cast(pa.date32()))
    for rows in (far, undated):
        write_deltalake(world.source(), rows, mode="append")
        assert world.roll().rows_added == 1  # the second reads nothing of the first
    assert "day" not in layout(world.source()).overlap
    write_deltalake(world.source(), far, mode="append")
    for act in (world.roll, world.matches):
        with pytest.raises(NeedsSpark):
            act()

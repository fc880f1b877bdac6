"""``silver.orders`` and ``gold.daily_revenue``, judged by plain Python, over a bronze table that is written here."""

import math
import os
import random
import uuid
from collections import defaultdict
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from command import lakehouse_here
from deltalake import CommitProperties, DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.checkpoints.agreement import CheckpointMismatch, read_checkpoint
from lakehouse.engine.conf import TRANSACTION
from lakehouse.flows.following import RowsRemoved
from lakehouse.orders.tables import BRONZE, DAILY_REVENUE, ORDERS
from lakehouse.pipeline import blocked_by, check_table, run_table
from lakehouse.storage.environment import environment_of
from lakehouse.streams.latest import LatestWriter

FIELDS = {
    "order_id": pa.string(),
    "customer_id": pa.string(),
    "order_date": pa.string(),
    "total_amount": pa.float64(),
    "payment_method": pa.string(),
    "product_id": pa.string(),
    "quantity": pa.int32(),
}
ABOUT = {
    "_rescued_data": pa.string(),
    "_processing_time": pa.timestamp("us", "UTC"),
    "_source_file": pa.string(),
    "_source_sequence": pa.int64(),
    "_source_record": pa.int64(),
}


def order(id_, day=1, method="card", amount=10.0, customer="c1", **more):
    at = f"2026-01-{day:02d} 10:00:00" if day else None
    return {
        "order_id": id_,
        "customer_id": customer,
        "order_date": at,
        "total_amount": amount,
        "payment_method": method,
        "product_id": "p1",
        "quantity": 1,
        **more,
    }


class Bronze:
    """A bronze table of files numbered as the journal would, written without Spark; what it holds is kept as rows."""

    def __init__(self, spark, lake):
        self.spark, self.lake, self.rows = spark, lake, []
        self.uri = lake.settings.table_uri(BRONZE).replace("s3a://", "s3://", 1)
        self.options = lake.endpoint.deltalake_options()

    def file(self, number, *orders):
        """The rows of a file."""
        place = f"s3a://landing/orders/orders_stream_{number:05d}.json"
        now = datetime(2026, 2, 1, tzinfo=UTC)
        return [
            {
                "_rescued_data": None,
                **values,
                "_processing_time": now,
                "_source_file": place,
                "_source_sequence": number,
                "_source_record": record,
            }
            for record, values in enumerate(orders)
        ]

    def commit(self, *files, types=None, **options):
        """One commit of some files."""
        rows = [row for file in files for row in file]
        schema = pa.schema([*{**FIELDS, **(types or {}), **ABOUT}.items()])
        data = pa.Table.from_pylist(rows, schema=schema)
        write_deltalake(
            self.uri, data, **{"mode": "append", "schema_mode": "merge", **options}, storage_options=self.options
        )
        self.rows += rows

    def replace(self, number, *files):
        """As a replay does: the rows of a file go, and others come, in one commit."""
        self.rows = [row for row in self.rows if row["_source_sequence"] != number]
        rows = [row for file in files for row in file]
        frame = self.spark.createDataFrame(pa.Table.from_pylist(rows, schema=pa.schema([*{**FIELDS, **ABOUT}.items()])))
        self.spark.conf.set("spark.databricks.delta.replaceWhere.constraintCheck.enabled", "false")
        writer = frame.write.format("delta").mode("overwrite").option("replaceWhere", f"_source_sequence = {number}")
        writer = writer.option("userMetadata", '{"epochId": 1, "queryId": "its stream"}')
        writer.save(self.lake.settings.table_uri(BRONZE))
        self.rows += rows

    def run(self, *tables):
        """Both tables brought up to date, or those named."""
        return [run_table(self.spark, self.lake, table) for table in tables or (ORDERS, DAILY_REVENUE)]

    def findings(self):
        """What the checks of both say, by their names."""
        found = [finding for table in (ORDERS, DAILY_REVENUE) for finding in check_table(self.spark, self.lake, table)]
        return {finding.check: finding for finding in found}

    def latest(self):
        """What ``silver.orders`` must hold, by ``order_id``."""
        found = {}
        for row in sorted(self.rows, key=lambda row: (row["_source_sequence"], row["_source_record"])):
            if row["order_id"] is not None and row["order_date"] is not None and row["_rescued_data"] is None:
                found[row["order_id"]] = row
        return found

    def revenue(self):
        """What ``gold.daily_revenue`` must hold, by day and payment method."""
        groups = defaultdict(list)
        for row in self.latest().values():
            groups[date.fromisoformat(row["order_date"][:10]), row["payment_method"]].append(row)
        found = {}
        for key, rows in groups.items():
            amounts = [row["total_amount"] for row in rows if row["total_amount"] is not None]
            customers = {row["customer_id"] for row in rows} - {None}
            revenue = math.fsum(amounts) if amounts else None
            found[key] = (len(rows), revenue, revenue / len(amounts) if amounts else None, len(customers))
        return found

    def table(self, name):
        return self.lake.rows(name).to_table().to_pylist()

    def assert_right(self):
        """Both tables are what plain Python says."""
        kept = self.table(ORDERS)
        assert len({row["order_id"] for row in kept}) == len(kept)
        names = [*FIELDS, "_source_file", "_source_sequence", "_source_record"]
        expected = {key: {name: row[name] for name in names} for key, row in self.latest().items()}
        assert {row["order_id"]: {name: row[name] for name in names} for row in kept} == expected
        for row in kept:
            assert f"{row['event_time']:%Y-%m-%d %H:%M:%S}" == row["order_date"]
            assert row["order_day"].isoformat() == row["order_date"][:10]
        gold = {(row["day"], row["payment_method"]): row for row in self.table(DAILY_REVENUE)}
        revenue = self.revenue()
        assert gold.keys() == revenue.keys()
        assert len(self.table(DAILY_REVENUE)) == len(gold)
        for key, (orders, total, average, customers) in revenue.items():
            row = gold[key]
            assert (row["orders"], row["distinct_customers"]) == (orders, customers)
            for name, value in (("revenue", total), ("avg_order_value", average)):
                assert (row[name] is None) == (value is None)
                assert value is None or math.isclose(row[name], value, rel_tol=1e-12, abs_tol=1e-9)


@pytest.fixture
def bronze(spark, lake):
    return Bronze(spark, lake)


def random_orders(draw):
    """A few ids, so that they come again, with other values or the same."""
    return order(
        draw.choice(["a", "b", "c", "d", "e", "f", None]),
        day=draw.choice([1, 1, 2, 3, None]),
        method=draw.choice(["card", "cash", None]),
        amount=draw.choice([None, -5.25, 0.1, 0.2, 1e6]),
        customer=draw.choice(["c1", "c2", None]),
        _rescued_data=draw.choice([None, None, None, '{"_corrupt_record": "{"}', '{"coupon": "TEN"}']),
    )


def examples(count):
    """So many random tables; each takes some seconds of Spark."""
    chosen = settings(max_examples=count, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
    return lambda test: chosen(given(seed=st.integers(0, 2**32), runs=st.integers(1, 3))(test))


@pytest.mark.soak(
    "random tables and cuts; the stories of test_orders.py have chosen ones. ORDER_EXAMPLES says how many"
)
@examples(int(os.environ.get("ORDER_EXAMPLES", "4")))
def test_however_many_orders_are_cut_into_files_batches_and_runs(spark, lake, seed, runs):
    assert_right_however_they_are_cut(spark, lake, seed, runs)


def assert_right_however_they_are_cut(spark, lake, seed, runs):
    draw = random.Random(seed)
    settings = lake.settings.model_copy(update={"user": f"cut-{uuid.uuid4().hex}"})  # an example can come again
    bronze = Bronze(spark, type(lake)(settings, lake.endpoint, lake.store))
    files = [bronze.file(n, *(random_orders(draw) for _ in range(draw.randrange(1, 7)))) for n in range(1, 10)]
    # rescued fields that are no fields of an order do not make it invalid
    for row in (row for file in files for row in file if row["_rescued_data"] == '{"coupon": "TEN"}'):
        row["_rescued_data"] = None
    draw.shuffle(files)  # commits may come in any order of their files
    share = math.ceil(len(files) / runs)
    for first in range(0, len(files), share):
        mine = files[first : first + share]
        cut = draw.randrange(len(mine) + 1)
        for part in (mine[:cut], mine[cut:]):
            if part:
                bronze.commit(*part)
        bronze.run()
        findings = bronze.findings()
        bronze.assert_right()
        assert findings["orders_match_bronze"].passed
        assert findings["revenue_matches_orders"].passed


@pytest.mark.soak(
    "orders that move to other days, and later columns of bronze; the other stories start over and refuse"
)
def test_orders_that_move_or_are_none_new_columns_and_a_promotion(bronze, lake):
    """One table through several runs: each changes what it must, and a run without news starts no query."""
    first = (order("a", 1, "card", 10.0), order("b", 1, "card", 5.0), order("c", 2, None, 1.0), order("d", 4))
    bronze.commit(bronze.file(1, *first))
    [orders, _] = bronze.run()
    assert (orders.rows_added, orders.rows_updated) == (4, 0)
    assert_no_query_starts(bronze)

    moved = bronze.file(2, order("a", 3, "card", 99.0), order("c", 2, "cash", 1.0), order("e", 1, "card", 7.0))
    bronze.commit(moved)
    [orders] = bronze.run(ORDERS)
    assert (orders.rows_added, orders.rows_updated) == (1, 2)
    [behind] = check_table(bronze.spark, lake, DAILY_REVENUE)
    assert behind.passed, "a service may be ahead"
    assert behind.numbers == {
        "groups": 1,
        "rows_in_table": 1,
        "source_rows": 1,
        "wrong_groups": 0,
        "groups_to_come": 3,
    }
    [gold] = bronze.run(DAILY_REVENUE)
    assert gold.rows_removed == 2, "the groups of the first and the second day"
    bronze.assert_right()
    assert {row["payment_method"] for row in bronze.table(DAILY_REVENUE)} == {"card", "cash"}

    bronze.commit(bronze.file(3, order("f", day=None), order(None), order(None, 2)))
    reports, findings = bronze.run(), bronze.findings()
    bronze.assert_right()
    assert [report.rows_added for report in reports] == [0, 0], "no valid orders"
    assert findings["orders_match_bronze"].passed
    assert (findings["revenue_matches_orders"].passed, findings["revenue_matches_orders"].numbers["source_rows"]) == (
        True,
        5,
    )
    warned = findings["every_order_has_an_id"]
    assert (warned.passed, warned.numbers["rows_without_key"], len(warned.sample)) == (False, 2, 2)
    assert warned.next_command
    assert [finding.check for finding in findings.values() if not finding.passed] == [warned.check]
    assert blocked_by(findings.values()) is None
    assert_no_query_starts(bronze)

    # columns of bronze come along, and a promotion of any of them makes orders start over
    address = pa.struct([("city", pa.string())])
    bronze.commit(bronze.file(4, order("g", address={"city": "Gdynia"})), types={"address": address})
    bronze.run(ORDERS)
    longer = pa.struct([("city", pa.string()), ("zip", pa.string())])
    news = {"address": {"city": "Sopot", "zip": "81"}, "event_time": "mine"}
    bronze.commit(bronze.file(5, order("h", **news)), types={"address": longer, "event_time": pa.string()})
    bronze.run()
    findings = bronze.findings()
    bronze.assert_right()
    found = {row["order_id"]: row["address"] for row in bronze.table(ORDERS)}
    assert found == {
        **dict.fromkeys("abcde"),
        "g": {"city": "Gdynia", "zip": None},
        "h": {"city": "Sopot", "zip": "81"},
    }
    assert [finding.check for finding in findings.values() if not finding.passed] == [warned.check]
    before = read_checkpoint(lake, ORDERS).query_id
    promoted, bronze.rows = bronze.rows[:4], bronze.rows[4:]
    bronze.commit(
        [{**row, "coupon": "TEN"} for row in promoted],
        types={"coupon": pa.string()},
        mode="overwrite",
        predicate="_source_sequence = 1",
        commit_properties=CommitProperties(custom_metadata={"userMetadata": '{"promoted": ["coupon"]}'}),
    )
    assert lake.commits_since(BRONZE, 0)[-1].promoted == {"coupon"}
    bronze.run(ORDERS)
    assert read_checkpoint(lake, ORDERS).query_id != before
    found = {row["order_id"]: row["coupon"] for row in bronze.table(ORDERS)}
    assert found == {**dict.fromkeys("acegh"), "b": "TEN", "d": "TEN"}


def assert_no_query_starts(bronze):
    versions = [bronze.lake.version(table) for table in (ORDERS, DAILY_REVENUE)]
    for table in (ORDERS, DAILY_REVENUE):
        report = run_table(None, bronze.lake, table)
        assert (report.batches, report.delta_version) == ((), report.delta_version_before)
    assert [bronze.lake.version(table) for table in (ORDERS, DAILY_REVENUE)] == versions


def test_a_batch_that_is_done_again_is_left_out_and_a_table_without_its_checkpoint_is_refused(bronze, lake):
    bronze.commit(bronze.file(1, order("a")))
    bronze.run(ORDERS)
    before = lake.version(ORDERS)
    again = bronze.spark.read.format("delta").load(lake.settings.table_uri(ORDERS))
    writer = LatestWriter(
        lake.settings.table_uri(ORDERS),
        lake.settings.checkpoint_uri(ORDERS),
        TRANSACTION,
        key=("order_id",),
        order=("_source_sequence", "_source_record"),
    )
    changed = again.selectExpr("* EXCEPT (_source_sequence)", "_source_sequence + 1 AS _source_sequence")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_of(lake.endpoint).items():
            patch.setenv(name, value)
        writer(changed, 0)
        assert lake.version(ORDERS) == before
        writer(changed, 1)
    assert lake.version(ORDERS) == before + 1
    assert [bronze.spark.conf.get(key, None) for key in TRANSACTION.values()] == [None, None, None]
    assert lake.delta(ORDERS).transaction_version(read_checkpoint(lake, ORDERS).query_id) == 1
    lake.store.delete_prefix(lake.settings.bucket, f"{lake.settings.user}/_checkpoints/{ORDERS}/")
    with pytest.raises(CheckpointMismatch, match="the checkpoint is gone"):
        run_table(bronze.spark, lake, ORDERS)


def test_rows_that_bronze_takes_out_make_orders_start_over_and_gold_follow(bronze, lake, environment):
    """A replay: the file's rows come again under its number, and what other files sent since stays the newest."""
    bronze.commit(bronze.file(1, order("a", amount=1.0), order("b")), bronze.file(2, order("a", amount=2.0)))
    bronze.run()
    before, version = read_checkpoint(lake, ORDERS).query_id, lake.version(ORDERS)
    bronze.replace(1, bronze.file(1, order("a", amount=4.0), order("d", 2)))
    bronze.run()
    findings = bronze.findings()
    bronze.assert_right()
    assert [row["total_amount"] for row in bronze.table(ORDERS) if row["order_id"] == "a"] == [2.0]
    assert all(finding.passed for finding in findings.values())
    after = read_checkpoint(lake, ORDERS).query_id
    assert after != before
    uri = lake.settings.table_uri(ORDERS).replace("s3a://", "s3://", 1)
    kept = DeltaTable(uri, version, storage_options=bronze.options).to_pyarrow_table(columns=["order_id"])
    assert sorted(kept["order_id"].to_pylist()) == ["a", "b"], "what it had before stays in its version"
    bronze.run(ORDERS)
    assert read_checkpoint(lake, ORDERS).query_id == after, "once"

    refused = lakehouse_here(environment, "checkpoint", "restart", BRONZE)
    assert refused.returncode == 1
    assert ORDERS in refused.stderr

    bronze.spark.sql(f"DELETE FROM delta.`{lake.settings.table_uri(BRONZE)}` WHERE order_id = 'd'")
    with pytest.raises(RowsRemoved, match=r"rows were removed from bronze\.orders_autoloader: version"):
        bronze.run(ORDERS)
    bronze.assert_right()

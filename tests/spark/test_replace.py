"""A newer version of a file takes the place of the older one's rows, in one commit."""

import json

import pytest
from declared import with_variables
from pyspark.sql import functions as F  # noqa: N812

from lakehouse.checkpoints.agreement import read_checkpoint
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.pipeline import check_table, replay_files, run_table
from lakehouse.storage.environment import environment_of
from lakehouse.streams.replacing import ReplacingWriter


class Orders:
    """A lake whose bronze table replaces."""

    def __init__(self, spark, lake, overwrites="replace"):
        self.spark, self.lake = spark, with_variables(lake, allow_overwrites=overwrites)

    def put(self, number, *ids, day=1, **more):
        lines = [
            json.dumps(
                {
                    "order_id": order_id,
                    "order_date": f"2026-01-{day:02d}T10:00:00Z",
                    "total_amount": 1.0,
                    "payment_method": "cash",
                    **more,
                }
            )
            for order_id in ids
        ]
        settings = self.lake.settings
        key = f"{settings.landing_prefix}orders_stream_{number:05d}.json"
        self.lake.store.write(settings.landing_bucket, key, ("\n".join(lines) + "\n").encode())

    def run(self, *, check=True):
        report = run_table(self.spark, self.lake, BRONZE)
        run_table(self.spark, self.lake, SILVER)
        for table in (BRONZE, SILVER) if check else ():
            self.check(table)
        return report

    def check(self, table):
        assert [finding for finding in check_table(self.spark, self.lake, table) if not finding.passed] == []

    def ids(self):
        return sorted(self.lake.delta(BRONZE).to_pyarrow_table(columns=["order_id"])["order_id"].to_pylist())


@pytest.fixture
def orders(spark, lake):
    return Orders(spark, lake)


@pytest.mark.soak("a replay whose file brings a column; test_declared_files.py and test_evolution.py have one each")
def test_a_corrected_file_with_a_new_column_takes_the_place_of_its_rows(spark, lake):
    assert_corrected(spark, lake, kept_back=False)


@pytest.mark.soak("the replay waits in a batch that ends because of another file; the test above has its own column")
def test_a_corrected_file_whose_new_column_another_file_brings_takes_the_place_of_its_rows(spark, lake):
    assert_corrected(spark, lake, kept_back=True)


def assert_corrected(spark, lake, *, kept_back):
    """The query ends because of the column, between plan and commit, and starts again by itself."""
    orders = Orders(spark, lake, "false")
    orders.put(1, "a1", "a2")
    orders.put(2, "b1")
    orders.run(check=False)
    orders.put(1, "a5", coupon="TEN")
    replay_files(orders.lake, BRONZE, files=["orders_stream_00001.json"], really=True)
    if kept_back:  # another file brings the column, and the replay waits in the batch that ends
        orders.put(3, "c1", coupon="SIX")
    report = run_table(spark, orders.lake, BRONZE)
    [drift] = [finding for finding in check_table(spark, orders.lake, BRONZE) if not finding.passed]
    assert drift.check == "schema_drift"
    assert orders.ids() == sorted(["a5", "b1", *(["c1"] if kept_back else [])])
    assert "coupon" in orders.lake.rows(BRONZE).schema.names
    assert report.rows_removed == 2
    run_table(spark, orders.lake, BRONZE)
    assert orders.ids() == sorted(["a5", "b1", *(["c1"] if kept_back else [])])


def test_a_newer_version_replaces_the_older_in_one_commit_once(orders):
    orders.put(1, "a1", "a2", "a3")
    orders.put(2, "b1")
    orders.run(check=False)
    before, silver = orders.lake.version(BRONZE), read_checkpoint(orders.lake, SILVER).query_id
    orders.put(1, "a1", "a4")
    report = orders.run()
    assert orders.ids() == ["a1", "a4", "b1"]
    assert (report.rows_added, report.delta_version) == (2, before + 1)
    assert read_checkpoint(orders.lake, SILVER).query_id != silver, "silver is computed again, from its beginning"
    again = read_checkpoint(orders.lake, SILVER).query_id
    run_table(orders.spark, orders.lake, SILVER)
    assert read_checkpoint(orders.lake, SILVER).query_id == again, "once"

    orders.put(1)
    run_table(orders.spark, orders.lake, BRONZE)
    orders.check(BRONZE)
    assert orders.ids() == ["b1"], "a version without rows takes the rows out"

    # a batch that is done again changes nothing
    settings = orders.lake.settings
    version = orders.lake.version(BRONZE)
    rows = orders.spark.read.format("delta").load(settings.table_uri(BRONZE)).withColumn("order_id", F.lit("again"))
    writer = ReplacingWriter(settings.table_uri(BRONZE), settings.checkpoint_uri(BRONZE))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_of(orders.lake.endpoint).items():
            patch.setenv(name, value)
        writer(rows, 1)
    assert orders.ids() == ["b1"]
    assert orders.lake.version(BRONZE) == version

"""Columns that appear in the files while a stream runs, on the warm engine and a real object store."""

import json

import pytest
from command import lakehouse, lakehouse_json
from pyspark.sql import functions as F  # noqa: N812

from lakehouse.autoloader.schemas import SchemaLocation
from lakehouse.pipeline import BRONZE, check_table, run_table

ORDER = {"order_date": "2026-01-01T10:00:00Z", "total_amount": 1.5, "payment_method": "cash", "quantity": 2}


class Orders:
    """A landing folder that files of a few orders arrive in."""

    def __init__(self, spark, lake):
        self.spark, self.lake, self.settings = spark, lake, lake.settings

    def put(self, number, **more):
        rows = [{"order_id": f"{number}-{row}", **ORDER, **more} for row in range(2)]
        key = f"{self.settings.landing_prefix}orders_stream_{number:05d}.json"
        self.lake.store.write(self.settings.landing_bucket, key, "\n".join(map(json.dumps, rows)).encode())

    def uri(self, name):
        return f"{self.settings.lake_uri}/{name}"

    def stream(self, name="t", **options):
        reader = (
            self.spark.readStream.format("cloudFiles")
            .option("cloudFiles.format", "json")
            .option("cloudFiles.inferColumnTypes", "true")
            .option("cloudFiles.schemaLocation", self.uri(f"schema-{name}"))
        )
        for option, value in options.items():
            reader = reader.option(f"cloudFiles.{option}", value)
        return reader.load(self.settings.landing_uri).drop("_metadata")

    def run(self, frame, name="t"):
        query = (
            frame.writeStream.format("delta")
            .option("checkpointLocation", self.uri(f"checkpoint-{name}"))
            .option("mergeSchema", "true")
            .trigger(availableNow=True)
            .start(self.uri(f"table-{name}"))
        )
        query.awaitTermination()

    def table(self, name="t"):
        return self.spark.read.format("delta").load(self.uri(f"table-{name}"))


@pytest.fixture
def orders(spark, lake):
    return Orders(spark, lake)


def test_one_run_takes_in_new_columns_and_says_where_they_came_from(orders, environment):
    for number in range(2):
        orders.put(number, device={"id": "d"})
    orders.put(2, device={"id": "d"}, coupon="TEN")
    run_table(orders.spark, orders.lake, BRONZE)
    orders.put(3, device={"id": "d"})
    orders.put(4, device={"id": "d"}, tip=2)
    for number in (5, 6):
        orders.put(number, device={"id": "d"})
    orders.put(7, device={"id": "d", "os": "linux"}, coupon="TWENTY")
    report = run_table(orders.spark, orders.lake, BRONZE)
    assert report.rows_added == 10
    assert all(one.passed for one in check_table(orders.spark, orders.lake, BRONZE))
    rows = orders.lake.delta(BRONZE).to_pyarrow_table().to_pylist()
    assert len(rows) == len({row["order_id"] for row in rows}) == 16
    got = {row["order_id"]: (row["coupon"], row["tip"], row["device"]["os"]) for row in rows}
    assert (got["2-0"], got["4-1"], got["7-0"]) == (("TEN", None, None), (None, 2, None), ("TWENTY", None, "linux"))
    assert {row["_rescued_data"] for row in rows} == {None}
    history = lakehouse_json(environment, "schema", "history")["versions"]
    assert [sorted(one["introduced"]) for one in history] == [[], ["tip"], ["device.os"]]
    path, record = history[-1]["introduced"]["device.os"]
    assert (path.rsplit("/", 1)[1], record) == ("orders_stream_00007.json", 0)
    assert lakehouse_json(environment, "schema", "diff", "0")["added"] == ["device.os", "tip"]
    assert "tip" not in lakehouse_json(environment, "schema", "show", "0")["columns"]
    assert "the schema has no version 7" in lakehouse(environment, "schema", "show", "7").stderr


def test_the_restart_loop_that_everybody_writes_works(orders):
    orders.put(0)
    orders.run(orders.stream())
    orders.put(1, coupon="TEN")
    restarts = 0
    while True:
        try:
            orders.run(orders.stream())
            break
        except Exception as error:
            assert "UNKNOWN_FIELD_EXCEPTION" in str(error)
            assert "coupon" in str(error)
            assert "orders_stream_00001.json" in str(error)
            restarts += 1
    assert restarts == 1
    assert orders.table().where(F.col("coupon") == "TEN").count() == 2
    assert orders.table().count() == 4


def test_rescue_keeps_new_columns_in_the_rescued_data(orders):
    orders.put(0)
    orders.run(orders.stream(schemaEvolutionMode="rescue"))
    orders.put(1, coupon="TEN")
    orders.run(orders.stream(schemaEvolutionMode="rescue"))
    assert "coupon" not in orders.table().columns
    (kept,) = {row[0] for row in orders.table().where("_rescued_data IS NOT NULL").select("_rescued_data").collect()}
    assert json.loads(kept)["coupon"] == "TEN"


def test_fail_on_new_columns_fails_and_changes_nothing(orders):
    orders.put(0)
    orders.run(orders.stream(schemaEvolutionMode="failOnNewColumns"))
    orders.put(1, coupon="TEN")
    for _ in range(2):
        with pytest.raises(Exception, match="UNKNOWN_FIELD_EXCEPTION"):
            orders.run(orders.stream(schemaEvolutionMode="failOnNewColumns"))
    assert orders.table().count() == 2
    place = SchemaLocation(orders.lake.store, orders.settings.bucket, f"{orders.settings.user}/schema-t")
    assert place.newest == 0

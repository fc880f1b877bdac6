"""Columns that appear in the files while a stream runs, on the warm engine and a real object store."""

import json

import pytest
from command import lakehouse_here, lakehouse_json_here
from declared import with_variables
from pyspark.sql import functions as F  # noqa: N812

from lakehouse.autoloader.schema.versions import SchemaLocation
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.pipeline import check_table, run_table
from lakehouse.streams.widening import widen_table

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
    [drift] = [finding for finding in check_table(orders.spark, orders.lake, BRONZE) if not finding.passed]
    assert drift.check == "schema_drift"
    came = {row["column"]: (row["version"], row["file"].rsplit("/", 1)[-1]) for row in drift.sample}
    assert came == {"device": (0, ""), "coupon": (0, ""), "tip": (1, "orders_stream_00004.json")}
    rows = orders.lake.rows(BRONZE).to_table().to_pylist()
    assert len(rows) == len({row["order_id"] for row in rows}) == 16
    got = {row["order_id"]: (row["coupon"], row["tip"], row["device"]["os"]) for row in rows}
    assert (got["2-0"], got["4-1"], got["7-0"]) == (("TEN", None, None), (None, 2, None), ("TWENTY", None, "linux"))
    assert {row["_rescued_data"] for row in rows} == {None}
    history = lakehouse_json_here(environment, "schema", "history")["versions"]
    assert [sorted(version["introduced"]) for version in history] == [[], ["tip"], ["device.os"]]
    path, record = history[-1]["introduced"]["device.os"]
    assert (path.rsplit("/", 1)[1], record) == ("orders_stream_00007.json", 0)
    assert lakehouse_json_here(environment, "schema", "diff", "0")["added"] == ["device.os", "tip"]
    assert "tip" not in lakehouse_json_here(environment, "schema", "show", "0")["columns"]
    assert "the schema has no version 7" in lakehouse_here(environment, "schema", "show", "7").stderr


@pytest.mark.soak("one stream of Spark through all modes; tests/store has them one by one on the local engine")
def test_a_stream_goes_on_in_another_mode_each_of_which_takes_new_columns_in_its_own_way(orders):
    place = SchemaLocation(orders.lake.store, orders.settings.bucket, f"{orders.settings.user}/schema-t")
    orders.put(0)
    orders.run(orders.stream(schemaEvolutionMode="rescue"))
    orders.put(1, coupon="TEN")
    orders.run(orders.stream(schemaEvolutionMode="rescue"))
    assert "coupon" not in orders.table().columns
    (kept,) = {row[0] for row in orders.table().where("_rescued_data IS NOT NULL").select("_rescued_data").collect()}
    assert json.loads(kept)["coupon"] == "TEN"

    orders.put(2, coupon="TWO", **{"no name for a table": 1})
    for _ in range(2):
        with pytest.raises(Exception, match="UNKNOWN_FIELD_EXCEPTION"):
            orders.run(orders.stream(schemaEvolutionMode="failOnNewColumns"))
    assert orders.table().count() == 4
    assert place.newest == 0

    # the restart loop that everybody writes
    restarts = 0
    while True:
        try:
            orders.run(orders.stream())
            break
        except Exception as error:
            assert "UNKNOWN_FIELD_EXCEPTION" in str(error)
            assert "coupon" in str(error)
            assert "orders_stream_00002.json" in str(error)
            restarts += 1
    assert restarts == 1
    new = orders.table().where(F.col("coupon") == "TWO").collect()
    assert [json.loads(row["_rescued_data"])["no name for a table"] for row in new] == [1, 1]
    assert orders.table().count() == 6

    orders.put(3, tip="SOME")
    orders.put(4, device={"os": "linux"})
    orders.run(orders.stream(schemaEvolutionMode="inline"))
    rows = {row["order_id"]: row for row in orders.table().collect()}
    assert len(rows) == 10
    assert (rows["3-0"]["tip"], rows["4-1"]["device"]["os"], rows["0-0"]["tip"]) == ("SOME", "linux", None)
    assert {rows[name]["_rescued_data"] for name in ("3-0", "3-1", "4-0", "4-1")} == {None}
    versions = place.history()
    assert [sorted(version.introduced) for version in versions] == [[], ["coupon"], ["device", "tip"]]
    path, record = versions[2].introduced["device"]
    assert (path.rsplit("/", 1)[1], record) == ("orders_stream_00004.json", 0)

    orders.put(5, quantity=10**19)
    widening = {"schemaEvolutionMode": "addNewColumnsWithTypeWidening"}
    with pytest.raises(Exception, match="UNKNOWN_FIELD_EXCEPTION"):
        orders.run(orders.stream(**widening))
    frame = orders.stream(**widening)
    widen_table(frame, orders.uri("table-t"))
    orders.run(frame)
    assert dict(orders.table().dtypes)["quantity"] == "decimal(20,0)"
    assert {int(row["quantity"]) for row in orders.table().collect()} == {2, 10**19}

    orders.put(6, left_out=1)
    orders.run(orders.stream(schemaEvolutionMode="none"))
    assert "left_out" not in orders.table().columns
    (kept,) = {row["_rescued_data"] for row in orders.table().where("order_id LIKE '6-%'").collect()}
    assert kept is None, "lost"
    assert orders.table().count() == 14


def told(orders, environment, **more):
    """The same lake with other settings, here and for commands."""
    variables = {f"LAKEHOUSE_{name.upper()}": value for name, value in more.items()}
    return with_variables(orders.lake, **more), {**environment, **variables}


@pytest.mark.soak("silver after a widening, nested and hinted columns; the story of all modes has one column")
def test_types_widen_in_the_table_too_and_silver_goes_on(orders, environment):
    lake, _ = told(orders, environment, schema_evolution_mode="addNewColumnsWithTypeWidening")
    orders.put(0, points=1, deep={"points": [1]})
    for table in (BRONZE, SILVER):
        run_table(orders.spark, lake, table)
    orders.put(1, points=10**19, deep={"points": [10**19]}, quantity=10**10)
    for table in (BRONZE, SILVER):
        run_table(orders.spark, lake, table)
    rows = {row["order_id"]: row for row in lake.rows(BRONZE).to_table().to_pylist()}
    assert [int(rows[name]["points"]) for name in ("0-0", "1-0")] == [1, 10**19]
    assert int(rows["1-0"]["deep"]["points"][0]) == 10**19
    assert rows["1-0"]["quantity"] is None, "a hinted column does not widen"
    assert json.loads(rows["1-0"]["_rescued_data"])["quantity"] == 10**10
    assert lake.describe(BRONZE).columns["points"] == "decimal(20,0)"
    orders.put(2, points=2)
    for table in (BRONZE, SILVER):
        run_table(orders.spark, lake, table)
        warned = {finding.check for finding in check_table(orders.spark, lake, table) if not finding.passed}
        assert warned == ({"no_corrupt_records", "rescue_rate", "schema_drift"} if table == BRONZE else set())


def test_rescue_then_approve_then_promote_then_roll_back(orders, environment):
    lake, environment = told(orders, environment, schema_evolution_mode="rescue")
    for number in range(2):
        orders.put(number, device={"id": "d"})
    run_table(orders.spark, lake, BRONZE)
    orders.put(2, coupon="TEN", device={"id": "d", "os": "linux"}, other=[1])
    orders.put(3, coupon=7)
    for table in (BRONZE, SILVER):
        run_table(orders.spark, lake, table)
    listed = lakehouse_json_here(environment, "schema", "approve")
    waiting = {
        column["name"]: (column["type"], column["rows"], column["file"].rsplit("/", 1)[1])
        for column in listed["waiting"]
    }
    assert waiting == {
        "coupon": ("string", 4, "orders_stream_00002.json"),
        "device.os": ("string", 2, "orders_stream_00002.json"),
        "other": ("array<bigint>", 2, "orders_stream_00002.json"),
    }
    assert not lakehouse_json_here(environment, "schema", "promote", "--yes")["done"]
    for yes in ((), ("--yes",)):
        refused = lakehouse_here(environment, "schema", "approve", "nothing", *yes)
        assert refused.returncode == 1 and "name one of: coupon, device.os, other" in refused.stderr
    assert lakehouse_json_here(environment, "schema", "approve", "coupon", "device.os", "--yes")["version"] == 1

    planned = lakehouse_json_here(environment, "schema", "promote")
    assert (planned["rows"], planned["done"]) == ({"coupon": 4, "device": 2}, False)
    done = lakehouse_json_here(environment, "schema", "promote", "--yes")
    assert (done["rows"], done["done"], done["rows_before"], done["rows_after"]) == (planned["rows"], True, 8, 8)
    again = lakehouse_json_here(environment, "schema", "promote", "--yes")
    assert (again["rows"], again["done"]) == ({}, False)
    assert lake.version(BRONZE) == done["delta_version"]

    rows = {row["order_id"]: row for row in lake.rows(BRONZE).to_table().to_pylist()}
    assert len(rows) == 8
    assert {name: row["coupon"] for name, row in rows.items() if row["coupon"]} == {
        **{"2-0": "TEN", "2-1": "TEN", "3-0": "7", "3-1": "7"}
    }
    assert [rows[name]["device"] and rows[name]["device"]["os"] for name in ("0-0", "2-0", "3-0")] == [
        None,
        "linux",
        None,
    ]
    left = {name: json.loads(row["_rescued_data"]) for name, row in rows.items() if row["_rescued_data"]}
    assert {name: sorted(rescued) for name, rescued in left.items()} == {
        name: ["_file_path", "other"] for name in ("2-0", "2-1")
    }

    orders.put(4, coupon="NEW")
    reports = [run_table(orders.spark, lake, table) for table in (BRONZE, SILVER)]
    assert [report.input_rows for report in reports] == [2, 2], "silver reads on after a promotion"
    found = [finding for table in (BRONZE, SILVER) for finding in check_table(orders.spark, lake, table)]
    assert {finding.check for finding in found if not finding.passed} == {"rescue_rate", "schema_drift"}
    assert "NEW" in lake.rows(BRONZE).to_table()["coupon"].to_pylist()

    # back to the first columns; what is stored stays
    planned = lakehouse_json_here(environment, "schema", "rollback", "0")
    assert (planned["done"], sorted(planned["removed"]), planned["version"]) == (False, ["coupon", "device.os"], 1)
    assert lakehouse_json_here(environment, "schema", "rollback", "0", "--yes")["version"] == 2
    assert not lakehouse_json_here(environment, "schema", "rollback", "0", "--yes")["done"]
    history = lakehouse_json_here(environment, "schema", "history")["versions"]
    assert [version["reason"] for version in history] == ["", "approved", "rolled back to 0"]
    orders.put(5, coupon="LATER")
    run_table(orders.spark, lake, BRONZE)
    rows = {row["order_id"]: row for row in lake.rows(BRONZE).to_table().to_pylist()}
    assert (rows["2-0"]["coupon"], rows["5-0"]["coupon"]) == ("TEN", None)
    assert json.loads(rows["5-0"]["_rescued_data"])["coupon"] == "LATER"

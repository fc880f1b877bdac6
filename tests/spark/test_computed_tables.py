"""``latest``, ``rollup``, ``sql`` and ``python`` over tables of other fields than those of the orders."""

import itertools
import math
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lakehouse.declaration import read_catalogue
from lakehouse.errors import ConfigurationError, StreamFailed
from lakehouse.flows.files import Files
from lakehouse.flows.following import RowsRemoved
from lakehouse.flows.recomputing import compute, due
from lakehouse.flows.rollup import Rollup
from lakehouse.lake import Lake
from lakehouse.pipeline import check_table, restart_table, run_table
from lakehouse.streams.queries import StopRequest
from lakehouse.streams.run import Run
from lakehouse.streams.trigger import Trigger
from lakehouse.table import At, Catalogue, Table


class Tables:
    """A lake with a declaration of its own, and sources that are written without Spark."""

    def __init__(self, spark, lake, folder):
        self.spark, self.folder = spark, Path(folder)
        settings = lake.settings.model_copy(update={"declaration": self.folder / "lakehouse.yaml"})
        self.lake = Lake(settings, lake.endpoint, lake.store)

    def declare(self, text):
        self.lake.settings.declaration.write_text("tables:\n" + text)

    def uri(self, table):
        return self.lake.settings.table_uri(table)

    def write(self, table, rows, schema, **options):
        data = pa.Table.from_pylist(rows, schema=pa.schema(list(schema.items())))
        uri = self.uri(table).replace("s3a://", "s3://", 1)
        write_deltalake(
            uri, data, **{"mode": "append", **options}, storage_options=self.lake.endpoint.deltalake_options()
        )

    def run(self, table, spark=True):
        return run_table(self.spark if spark else None, self.lake, table)

    def rows(self, table):
        return self.lake.rows(table).to_table().to_pylist()

    def findings(self, table):
        return {finding.check: finding for finding in check_table(self.spark, self.lake, table)}

    def at(self, table):
        catalogue = read_catalogue(self.lake.settings)
        return At(self.spark, self.lake, catalogue[table], catalogue)


@pytest.fixture
def tables(spark, lake, tmp_path):
    return Tables(spark, lake, tmp_path)


STATES = {
    "shop": pa.int64(),
    "sku": pa.string(),
    "updated": pa.float64(),
    "stock": pa.int64(),
    "labels": pa.map_(pa.string(), pa.string()),
    "problem": pa.string(),
    "_processing_time": pa.timestamp("us", "UTC"),
    "_source_file": pa.string(),
    "_source_sequence": pa.int64(),
    "_source_record": pa.int64(),
}
SHOPS = """
  bronze.states: {files: {path: s3a://landing/states/}}
  silver.stock:
    latest: {of: bronze.states, key: [sku, shop], order: updated, columns: {empty: stock = 0}}
"""


def state(shop, sku, updated, sequence, record=0):
    return {
        "shop": shop,
        "sku": sku,
        "updated": updated,
        "stock": sequence % 3,
        "labels": [("n", str(sequence))],
        "problem": f"p{sequence}",
        "_processing_time": datetime(2026, 2, 1, tzinfo=UTC),
        "_source_file": f"s3a://landing/states/{sequence}.json",
        "_source_sequence": sequence,
        "_source_record": record,
    }


def test_the_latest_version_wins_in_whatever_order_versions_come(tables):
    """Each permutation of the versions is a key of its own; another key gets all of them in one batch."""
    tables.declare(SHOPS)
    versions = [(None, 9), (-math.inf, 1), (-math.inf, 3)]
    batches = [[] for _ in versions]
    for shop, places in enumerate(itertools.permutations(range(len(versions)))):
        for batch, place in zip(batches, places, strict=True):
            updated, sequence = versions[place]
            batch.append(state(shop, "a", updated, sequence, record=shop))
    batches[1] += [state(0, "b", updated, sequence, record=99) for updated, sequence in versions]
    batches[1] += [state(1, "b", None, 2), state(None, "a", 1.0, 2, 1), state(0, None, 1.0, 2, 2)]
    batches[2] += [state(1, "b", None, 1)]
    for batch in batches:
        tables.write("bronze.states", batch, STATES)
        tables.run("silver.stock")
    rows = {(row["shop"], row["sku"]): row for row in tables.rows("silver.stock")}
    assert len(rows) == len(tables.rows("silver.stock")) == math.factorial(len(versions)) + 2
    for key, row in rows.items():
        expected = (None, 2) if key == (1, "b") else (-math.inf, 3)
        assert (row["updated"], row["_source_sequence"]) == expected, key
        assert (row["empty"], row["problem"], row["labels"]) == (
            row["stock"] == 0,
            f"p{row['_source_sequence']}",
            [("n", str(row["_source_sequence"]))],
        )
    assert "_processing_time" not in row
    found = tables.findings("silver.stock")
    keyed, numbers = found["keyed"], {"keys_in_source": 8, "rows_in_table": 8, "wrong_keys": 0}
    assert (found["matches"].passed, found["matches"].numbers) == (True, numbers)
    assert (keyed.passed, keyed.blocks, keyed.numbers) == (False, False, {"rows_without_key": 2})
    assert {(row["shop"], row["sku"]) for row in keyed.sample} == {(None, "a"), (0, None)}
    assert "lakehouse replay --files s3a://landing/states/2.json" in keyed.next_command


@pytest.mark.soak("another key, and the way to it; tests/store/test_definitions.py has what is refused")
def test_another_key_is_refused_until_the_table_is_computed_again(tables):
    tables.declare(SHOPS)
    tables.write("bronze.states", [state(0, "a", 1.0, 2), state(1, "a", 1.0, 1)], STATES)
    tables.run("silver.stock")
    tables.declare(SHOPS.replace("[sku, shop]", "sku").replace("empty: stock = 0", "left: CAST(stock AS STRING)"))
    with pytest.raises(ConfigurationError, match="key was"):
        tables.run("silver.stock", spark=False)
    restart_table(tables.lake, "silver.stock", really=True)
    tables.run("silver.stock")
    [row] = tables.rows("silver.stock")
    assert ("empty" in row, row["left"]) == (False, str(row["stock"]))
    assert tables.findings("silver.stock")["matches"].passed


def test_versions_that_nothing_tells_apart_are_refused(tables):
    tables.declare("""
  bronze.states: {files: {path: s3a://landing/states/}}
  silver.stock: {latest: {of: bronze.states, key: sku}}
  silver.other: {latest: {of: bronze.states, key: sku, order: changed}}
""")
    tables.write("bronze.states", [{"sku": "a"}], {"sku": pa.string()})
    with pytest.raises(ConfigurationError, match="later version") as refused:
        tables.run("silver.stock", spark=False)
    assert "order" in refused.value.next_command
    with pytest.raises(ConfigurationError, match="has no column changed"):
        tables.run("silver.other", spark=False)


SALES = {"city": pa.string(), "floor": pa.int32(), "amount": pa.float64(), "tags": pa.map_(pa.string(), pa.string())}
BY_CITY = Rollup(
    of="bronze.sales",
    group={"town": "city"},
    aggregates={"sales": "count(*)", "total": "sum(amount)", "mean": "avg(amount)", "top": "max(amount)"},
)
BY_FLOOR = Rollup(
    of="bronze.sales",
    group={"half_floor": "floor * 2", "town": "upper(city)"},
    aggregates={"sales": "count(*)", "total": "sum(amount)"},
)
ROLLUPS = Catalogue(
    (
        Table("bronze.sales", Files(path="s3a://landing/sales/")),
        Table("gold.by_city", BY_CITY, BY_CITY.default_checks()),
        Table("gold.by_floor", BY_FLOOR, BY_FLOOR.default_checks()),
    )
)
CITIES = ["L'Aquila", 'say "x" \\', "", None, "'; DROP", "100%_\n", "Zürich", "${env:AWS_SECRET_ACCESS_KEY}"]


def sale(city, floor, amount):
    return {"city": city, "floor": floor, "amount": amount, "tags": [("k", "v")]}


def roll_up(tables, table):
    at = At(tables.spark, tables.lake, ROLLUPS[table], ROLLUPS)
    return at.table.flow.bring_up_to_date(at, Run())


def rollup_finding(tables, table):
    at = At(tables.spark, tables.lake, ROLLUPS[table], ROLLUPS)
    [check] = at.table.checks
    return check.examine(at)


def log_of(tables, table):
    layer, name = table.split(".")
    settings = tables.lake.settings
    return tables.lake.store.list(settings.bucket, f"{settings.user}/{layer}/{name}/_delta_log/")


def assert_rolled_up(tables, check=("gold.by_city", "gold.by_floor")):
    by_city, by_floor = defaultdict(list), defaultdict(list)
    for row in tables.rows("bronze.sales"):
        by_city[row["city"]].append(row["amount"])
        half = None if row["floor"] is None else row["floor"] * 2
        by_floor[half, None if row["city"] is None else row["city"].upper()].append(row["amount"])
    cities, floors = tables.rows("gold.by_city"), tables.rows("gold.by_floor")
    assert {row["town"]: row["sales"] for row in cities} == {key: len(of) for key, of in by_city.items()}
    assert {(row["half_floor"], row["town"]): row["sales"] for row in floors} == {
        key: len(of) for key, of in by_floor.items()
    }
    assert (len(cities), len(floors)) == (len(by_city), len(by_floor))
    for row in cities:
        amounts = [amount for amount in by_city[row["town"]] if amount is not None]
        assert (row["total"] is None) == (not amounts)
        assert not amounts or math.isclose(row["total"], math.fsum(amounts), rel_tol=1e-12, abs_tol=1e-12)
    for table in check:
        found = rollup_finding(tables, table)
        assert found.passed, found
        assert found.numbers["source_rows"] == len(tables.rows("bronze.sales"))


@pytest.mark.soak(
    "groups of odd texts and NULLs by Spark; test_sql_like_spark.py has a rollup, test_local_rollups.py such groups"
)
def test_groups_of_text_with_quotes_of_numbers_and_of_nulls_follow_every_change(tables):
    """Two rollups of one table, which has rows that are equal and no key."""
    rows = [sale(city, n % 3 or None, amount) for n, city in enumerate(CITIES) for amount in (0.1, 0.2, -0.3, None)]
    tables.write("bronze.sales", [*rows, *rows[:3]], SALES)
    with pytest.raises(ConfigurationError, match="no change data feed") as refused:
        roll_up(tables, "gold.by_city")
    assert "delta.enableChangeDataFeed" in refused.value.next_command
    sales = f"delta.`{tables.uri('bronze.sales')}`"
    tables.spark.sql(f"ALTER TABLE {sales} SET TBLPROPERTIES (delta.enableChangeDataFeed = true)")
    both = ("gold.by_city", "gold.by_floor")
    for table in both:
        roll_up(tables, table)
    assert_rolled_up(tables, check=())
    secret, store = tables.lake.endpoint.secret_key.get_secret_value(), tables.lake.store
    logs = [store.read(tables.lake.settings.bucket, info.key) for table in both for info in log_of(tables, table)]
    assert logs and not any(secret.encode() in log for log in logs)

    tables.spark.sql(f"UPDATE {sales} SET amount = amount WHERE city = 'Zürich'")
    tables.spark.sql(f'UPDATE {sales} SET amount = 7 WHERE city = "L\'Aquila" AND amount IS NULL')
    tables.spark.sql(f"DELETE FROM {sales} WHERE city IS NULL OR city = ''")
    tables.write("bronze.sales", [sale("new", None, 1.0), sale("new", None, 1.0)], SALES)
    behind = rollup_finding(tables, "gold.by_city")
    assert behind.passed, "what the stream has still to read is not judged"
    assert behind.numbers["groups_to_come"] == 4, "a row that is written again as it was changes nothing"
    [by_city, _] = [roll_up(tables, table) for table in both]
    assert (by_city.rows_added, by_city.rows_removed) == (2, 3)
    assert_rolled_up(tables)

    tables.write("bronze.sales", [sale(f"town '{n}'", n, float(n)) for n in range(600)], SALES)
    for table in both:
        roll_up(tables, table)
    assert_rolled_up(tables, check=("gold.by_floor",))

    tables.spark.sql(f"UPDATE delta.`{tables.uri('gold.by_city')}` SET top = top + 0.001 WHERE town = \"town '7'\"")
    tampered = rollup_finding(tables, "gold.by_city")
    assert (tampered.passed, tampered.numbers["wrong_groups"], tampered.sample[0]["town"]) == (False, 1, "town '7'")
    assert "checkpoint restart gold.by_city" in tampered.next_command


QUERY = (
    "SELECT sales.city, sum(amount) AS total, max(n) AS n FROM bronze.sales JOIN bronze.towns t USING (city) GROUP BY 1"
)
COMPUTED = """
  bronze.sales: {files: {path: s3a://landing/sales/}}
  bronze.towns: {files: {path: s3a://landing/towns/}}
  gold.totals:
    sql:
      of: [bronze.sales, bronze.towns]
      query: QUERY
  gold.counted:
    python: {of: [bronze.sales, bronze.towns], function: "MODULE:counted"}
"""
TOWNS = {"city": pa.string(), "n": pa.int64()}


def test_a_query_is_computed_again_when_a_source_or_its_text_changes(tables):
    tables.declare(COMPUTED.replace("QUERY", QUERY))
    tables.write("bronze.sales", [sale("a", 1, 1.0), sale("a", 2, 2.0), sale("b", 1, 4.0)], SALES)
    assert tables.run("gold.totals", spark=False).delta_version is None, "a source is not there yet"
    tables.write("bronze.towns", [{"city": "a", "n": 1}], TOWNS)
    report = tables.run("gold.totals")
    assert (report.rows_added, report.input_rows, report.delta_version, len(report.batches)) == (1, 4, 0, 1)
    assert tables.rows("gold.totals") == [{"city": "a", "total": 3.0, "n": 1}]
    assert tables.run("gold.totals", spark=False).batches == ()
    assert tables.findings("gold.totals") == {}

    tables.write("bronze.towns", [{"city": "b", "n": 2}], TOWNS)
    at = tables.at("gold.totals")
    todo = due(at, at.table.flow)
    for _ in range(2):  # a run that was killed behind its commit, and one that did not know of it
        compute(at, at.table.flow, todo)
        assert tables.lake.version("gold.totals") == 1
    assert len(tables.rows("gold.totals")) == 2
    assert tables.run("gold.totals", spark=False).batches == ()

    tables.declare(COMPUTED.replace("QUERY", QUERY.replace("max(n) AS n", "'bronze.sales' AS source")))
    tables.run("gold.totals")
    assert {tuple(row.items()) for row in tables.rows("gold.totals")} == {
        (("city", "a"), ("total", 3.0), ("source", "bronze.sales")),
        (("city", "b"), ("total", 4.0), ("source", "bronze.sales")),
    }

    restart_table(tables.lake, "gold.totals", really=True)
    stop = StopRequest()
    endless = Run(Trigger.parse("processing-time=1s"), on_batch=lambda batch: stop.ask(), stop=stop)
    report = run_table(tables.spark, tables.lake, "gold.totals", endless)
    assert (report.rows_added, len(report.batches)) == (2, 1), "it was emptied, and no source has changed"

    without = {name: type_ for name, type_ in SALES.items() if name != "amount"}
    tables.write("bronze.sales", [{"city": "a"}], without, mode="overwrite", schema_mode="overwrite")
    before = tables.lake.version("gold.totals")
    with pytest.raises(StreamFailed, match="amount"):
        tables.run("gold.totals")
    assert tables.lake.version("gold.totals") == before

    tables.declare(COMPUTED.replace("QUERY", "SELECT 1 AS one").replace("gold.totals", "bronze.towns2"))
    tables.write("bronze.towns2", [{"city": "mine", "n": 1}], TOWNS)
    with pytest.raises(ConfigurationError, match="did not write"):
        tables.run("bronze.towns2", spark=False)
    assert tables.rows("bronze.towns2") == [{"city": "mine", "n": 1}]


FUNCTION = """
from pyspark.sql import functions as F

@F.udf("string")
def shouted(text):
    return named(text)

def named(text):
    return text.upper() + "!"

def counted(sales, towns):
    counted = sales.join(towns, "city").groupBy(shouted("city").alias("city")).agg(F.count("*").alias("sales"))
    return counted.withColumn("all", F.array(F.struct("city")))
"""


def test_a_function_is_computed_again_when_its_text_changes(tables):
    module = f"own_{tables.lake.settings.bucket.replace('-', '_')}"
    tables.declare(COMPUTED.replace("QUERY", "SELECT 1 AS one").replace("MODULE", module))
    tables.write("bronze.sales", [sale("a", 1, 1.0), sale("a", 2, 2.0), sale("b", 1, 4.0)], SALES)
    tables.write("bronze.towns", [{"city": "a", "n": 1}], TOWNS)
    with pytest.raises(ConfigurationError, match=f"{module} cannot be imported: ModuleNotFoundError"):
        tables.run("gold.counted", spark=False)
    file = tables.folder / f"{module}.py"
    file.write_text(FUNCTION)
    tables.run("gold.counted")
    assert tables.rows("gold.counted") == [{"city": "A!", "sales": 2, "all": [{"city": "A!"}]}]
    assert tables.run("gold.counted", spark=False).batches == ()
    file.write_text(FUNCTION.replace('"!"', '"!!"'))
    tables.run("gold.counted")
    assert tables.rows("gold.counted") == [{"city": "A!!", "sales": 2, "all": [{"city": "A!!"}]}]
    for text, said in (
        ("def counted(*frames): return 7", "returned a int"),
        ("def other(): ...", "has no function counted"),
        ("import nonsense_of_mine", "nonsense_of_mine"),
        ("def counted(:", "SyntaxError"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=said):
            tables.run("gold.counted")
    assert tables.rows("gold.counted") == [{"city": "A!!", "sales": 2, "all": [{"city": "A!!"}]}]


def test_a_query_as_a_stream_hands_each_row_on_once(tables):
    tables.declare("""
  bronze.sales: {files: {path: s3a://landing/sales/}}
  bronze.towns: {files: {path: s3a://landing/towns/}}
  silver.known:
    sql:
      of: [bronze.sales, bronze.towns]
      mode: stream
      query: |
        WITH known AS (SELECT * FROM bronze.towns)
        SELECT sales.city, amount, n FROM bronze.sales JOIN known ON known.city = sales.city  -- of known towns
""")
    tables.write("bronze.sales", [sale("a", 1, 1.0), sale("b", 1, 4.0)], SALES)
    tables.write("bronze.towns", [{"city": "a", "n": 1}], TOWNS)
    assert tables.run("silver.known").rows_added == 1
    tables.write("bronze.towns", [{"city": "b", "n": 2}], TOWNS)
    assert tables.run("silver.known", spark=False).batches == (), "nothing is new in the first source"
    tables.write("bronze.sales", [sale("b", 1, 8.0)], SALES)
    assert tables.run("silver.known").rows_added == 1
    expected = [("a", 1.0, 1), ("b", 8.0, 2)]
    assert sorted((row["city"], row["amount"], row["n"]) for row in tables.rows("silver.known")) == expected
    assert not [row for row in tables.spark.sql("SHOW VIEWS").collect() if row["viewName"].startswith("computed_from")]
    tables.spark.sql(f"DELETE FROM delta.`{tables.uri('bronze.sales')}` WHERE city = 'a'")
    with pytest.raises(RowsRemoved):
        tables.run("silver.known", spark=False)

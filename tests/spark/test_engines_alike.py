"""Files loaded by Spark, with its own sink and without, and by the local engine give the same table, also in turns."""

import io
import json
from datetime import datetime

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from declared import with_declaration

from lakehouse.checkpoints.agreement import object_key
from lakehouse.pipeline import check_table, ingest, run_table

NESTED = [
    '{"a": 1, "b": {"x": "u", "y": [1, 2]}, "t": "2026-01-02T03:04:05.678Z", "d": "2026-01-02"}',
    '{"a": "none", "b": {"x": 5, "z": true}, "p": 1.25}',
    '{"a": 3, "b": null, "w": [{"k": "v"}]',
    '{"A": 4, "more": null}',
]
CSV = "id,name,at\n1,Ada,2026-01-02 03:04:05\nx,Ben,\n3,Chloé,2026-01-02 03:04:05.5,surplus\n"


def parquet():
    made = io.BytesIO()
    rows = [{"id": n, "s": f"s{n}", "f": n / 3, "l": [n], "m": {"k": n}} for n in range(5)]
    pq.write_table(pa.Table.from_pylist(rows), made)
    return made.getvalue()


def workbook():
    made, file = openpyxl.Workbook(), io.BytesIO()
    for row in (["id", "at", "more"], [1, datetime(2026, 1, 2, 3, 4, 5, 678000)], ["x", None, 1], [2.5, "2026-01-02"]):
        made.active.append(row)
    made.save(file)
    return file.getvalue()


CASES = {
    "json": ({"options": {"cloudFiles.inferColumnTypes": True}, "hints": {"a": "INT"}}, "1.json", "\n".join(NESTED)),
    "json_by_day": ({"schema": "a INT, d DATE, p DECIMAL(10,2)", "partition_by": ["d"]}, "1.json", "\n".join(NESTED)),
    "json_kept": (
        {
            "schema": "a INT, d DATE, t TIMESTAMP, _rescued_data STRING",
            "metadata": {"name": "file_name", "tag": "e_tag"},
        },
        "1.json",
        "\n".join(NESTED),
    ),
    "csv": ({"format": "csv", "options": {"header": True, "cloudFiles.inferColumnTypes": True}}, "1.csv", CSV),
    "csv_given": ({"format": "csv", "schema": "id INT, name STRING", "options": {"header": True}}, "1.csv", CSV),
    "parquet": ({"format": "parquet"}, "1.parquet", parquet()),
    "excel": (
        {
            "format": "excel",
            "schema": "id INT, at TIMESTAMP_NTZ",
            "options": {"headerRows": 1, "rescuedDataColumn": "_rescued_data"},
        },
        "1.xlsx",
        workbook(),
    ),
}


def put(lake, name, data):
    data = data.encode() if isinstance(data, str) else data
    lake.store.write(lake.settings.landing_bucket, lake.settings.landing_prefix + name, data)


def seen(spark, lake, table):
    """Schema and rows of a table, but for the moment when they were loaded."""
    opened = lake.delta(table)
    types = {field["name"]: field["type"] for field in json.loads(opened.schema().to_json())["fields"]}
    rows = spark.read.format("delta").load(lake.settings.table_uri(table)).drop("_processing_time").collect()
    return types, opened.metadata().partition_columns, sorted(map(str, rows))


MORE = ("json_by_day", "json_kept", "csv_given", "excel")
ROADS = {"sink": {"engine": "spark", "sink": "spark"}, "spark": {"engine": "spark"}, "local": {"engine": "local"}}


def test_every_road_makes_the_same_tables_of_the_same_files(lake, spark, tmp_path):
    assert_alike(lake, spark, tmp_path, [case for case in CASES if case not in MORE])


@pytest.mark.soak("partitions, given schemas and workbooks; test_declared_files.py and test_excel.py have some")
def test_every_road_makes_the_same_tables_of_more_files(lake, spark, tmp_path):
    assert_alike(lake, spark, tmp_path, MORE)


def assert_alike(lake, spark, tmp_path, cases):
    tables = {
        f"bronze.{case}_{road}": {"files": {"path": f"{{landing}}/{case}/", **said, **CASES[case][0]}}
        for case in cases
        for road, said in ROADS.items()
    }
    lake = with_declaration(lake, tmp_path, json.dumps({"tables": tables}))
    for case in cases:
        _, name, data = CASES[case]
        put(lake, f"{case}/{name}", data)
        if case == "json_by_day":
            put(lake, f"{case}/2.json", '{"a": 9, "d": null}\n{"a": 8, "d": "1999-12-31"}\n')
    done = ingest(spark, lake)
    done.require_success()
    for case in cases:
        by_sink, by_spark, by_local = (seen(spark, lake, f"bronze.{case}_{road}") for road in ROADS)
        assert by_spark == by_sink, case
        assert by_local == by_sink, case
        numbers = {report.table: report.batches for report in done.reports}
        told = [
            [
                (batch.input_rows, batch.rescued_rows or 0, batch.corrupt_rows or 0)
                for batch in numbers[f"bronze.{case}_{road}"]
            ]
            for road in ROADS
        ]
        assert told[0] == told[1] == told[2], case
        roads = [lake.commits_since(f"bronze.{case}_{road}", None)[-1].operation for road in ROADS]
        assert [operation == "STREAMING UPDATE" for operation in roads] == [True, False, False], case
    assert {finding.check for finding in done.findings if not finding.passed} == set()


TURNS = """
tables:
  bronze.turns:
    files:
      path: "{landing}/turns/"
      ROAD
      options: {cloudFiles.inferColumnTypes: true, cloudFiles.maxFilesPerTrigger: 2}
  silver.turns:
    latest: {of: bronze.turns, key: fifth, engine: ENGINE}
  gold.turns:
    rollup:
      of: silver.turns
      group: {even: "if(fifth IN (0, 2, 4), 'even', 'odd')"}
      aggregates: {rows: count(*), sum: sum(id), last: max(id)}
      engine: ENGINE
"""


@pytest.mark.soak(
    "the road changes six times, with commits lost; test_sql_like_spark.py changes the engine of three tables twice"
)
def test_roads_take_turns_on_one_table_and_silver_reads_it(lake, spark, tmp_path):
    files = 0
    turns = ["sink", "spark", "local", "sink", "local", "spark"]
    for turn, road in enumerate(turns):
        said = "\n      ".join(f"{name}: {value}" for name, value in ROADS[road].items())
        merging = "local" if road == "local" and turn > 2 else "spark"
        lake = with_declaration(lake, tmp_path, TURNS.replace("ROAD", said).replace("ENGINE", merging))
        for _ in range(3):
            put(
                lake,
                f"turns/{files:02}.json",
                json.dumps({"id": files, "fifth": files % 5, f"turn{turn}": files}) + "\n",
            )
            files += 1
        assert run_table(spark, lake, "bronze.turns").rows_added == 3, (turn, road)
        if road == "local" or turn == len(turns) - 1:
            assert run_table(spark, lake, "bronze.turns").batches == ()
            run_table(spark, lake, "silver.turns")
            assert len(run_table(spark, lake, "gold.turns").batches) == 1, (turn, merging)
            assert not [finding.check for finding in check_table(spark, lake, "gold.turns") if not finding.passed]
        if road == "spark":  # killed right after its commit; what its last file is now counts no more
            last = max(batch.batch_id for batch in lake_batches(lake))
            lake.store.delete(lake.settings.bucket, object_key(lake, "bronze.turns", f"commits/{last}"))
            put(lake, f"turns/{files - 1:02}.json", "")
            assert run_table(spark, lake, "bronze.turns").rows_added == 0
    for table, ids in (("bronze.turns", range(files)), ("silver.turns", range(files - 5, files))):
        rows = spark.read.format("delta").load(lake.settings.table_uri(table))
        assert sorted(row["id"] for row in rows.collect()) == list(ids)
        assert rows.where("turn5 = 17").count() == 1
        assert rows.where("fifth IS NULL").count() == 0
        assert not [finding.check for finding in check_table(spark, lake, table) if not finding.passed]
    sums = spark.read.format("delta").load(lake.settings.table_uri("gold.turns")).orderBy("even").collect()
    assert [tuple(row) for row in sums] == [("even", 3, 14 + 15 + 17, 17), ("odd", 2, 13 + 16, 16)]
    assert [commit.batch_id for commit in lake.commits_since("gold.turns", None) if commit.batch_id is not None] == [
        0,
        1,
        2,
    ]
    commits = lake.commits_since("silver.turns", None)
    assert [commit.batch_id for commit in commits if commit.batch_id is not None] == [0, 1, 2]
    versions = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", 0)
    changes = versions.load(lake.settings.table_uri("silver.turns")).groupBy("_change_type").count().collect()
    assert dict(changes) == {"insert": 5, "update_preimage": 8, "update_postimage": 8}
    assert [commit.batch_id for commit in lake_batches(lake)] == list(range(12))


def lake_batches(lake):
    return [commit for commit in lake.commits_since("bronze.turns", None) if commit.batch_id is not None]

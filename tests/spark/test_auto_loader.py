"""``format("cloudFiles")`` as its users write it, on the warm engine and a real object store."""

import io
from datetime import UTC, datetime
from functools import reduce

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F  # noqa: N812

from lakehouse.events.event import Event
from lakehouse.events.sqlite_inbox import SqliteInbox
from lakehouse.file_reading import read_files

DDL = "order_id STRING, quantity INT"


class Source:
    """A landing folder, and streams over it."""

    def __init__(self, spark, lake):
        self.spark, self.lake, self.settings = spark, lake, lake.settings

    def put(self, name, data):
        data = data if isinstance(data, bytes) else data.encode()
        self.lake.store.write(self.settings.landing_bucket, self.settings.landing_prefix + name, data)

    def order(self, name, *ids):
        self.put(name, "".join(f'{{"order_id": "{order_id}", "quantity": {len(order_id)}}}\n' for order_id in ids))

    def frame(self, schema=DDL, path="", **options):
        reader = self.spark.readStream.format("cloudFiles").option("cloudFiles.format", options.pop("format", "json"))
        for name, value in options.items():
            spelled = name if name in ("pathGlobFilter", "header") else f"cloudFiles.{name}"
            reader = reader.option(spelled, value)
        return (reader.schema(schema) if schema else reader).load(self.settings.landing_uri + path)

    def location(self, name):
        return f"{self.settings.lake_uri}/{name}"

    def start(self, frame, name="t", **trigger):
        return (
            frame.writeStream.format("delta")
            .option("checkpointLocation", self.location(f"checkpoint-{name}"))
            .trigger(**(trigger or {"availableNow": True}))
            .start(self.location(f"table-{name}"))
        )

    def run(self, frame, name="t", **trigger):
        query = self.start(frame, name, **trigger)
        query.awaitTermination()
        return [progress for progress in query.recentProgress if "addBatch" in progress["durationMs"]]

    def ids(self, name="t"):
        table = self.spark.read.format("delta").load(self.location(f"table-{name}"))
        return sorted(row["order_id"] for row in table.select("order_id").collect())


@pytest.fixture
def source(spark, lake):
    return Source(spark, lake)


def test_the_notebooks_example_with_only_the_path_changed(source, land):
    land(files=7, rows_per_file=5)
    schema_location = source.location("autoloader_schema")
    orders = (
        source.spark.readStream.format("cloudFiles")
        .option("cloudFiles.format", "json")
        .option("cloudFiles.schemaLocation", schema_location)
        .option("cloudFiles.inferColumnTypes", "true")
        .option("cloudFiles.schemaEvolutionMode", "addNewColumns")
        .option("cloudFiles.maxFilesPerTrigger", 3)
        .load(source.settings.landing_uri)
    )
    enriched = orders.withColumn("_processing_time", F.current_timestamp()).withColumn(
        "_source_file", F.col("_metadata.file_path")
    )
    assert len(source.run(enriched)) == 3, "seven files, three a batch"
    table = source.spark.read.format("delta").load(source.location("table-t"))
    assert table.count() == 35
    types = dict(table.dtypes)
    assert (types["total_amount"], types["quantity"], types["order_date"]) == ("double", "bigint", "string")
    assert table.select("_source_file").distinct().count() == 7
    land(files=1, first_file=7, rows_per_file=5)
    assert len(source.run(enriched)) == 1
    assert table.count() == 40
    for place in (schema_location, source.location("checkpoint-t")):
        states = source.spark.sql(f"SELECT * FROM cloud_files_state('{place}')").collect()
        assert [row["ingestion_state"] for row in states] == ["INGESTED"] * 8
        assert [row["rows"] for row in states] == [5] * 8
        assert all(row["path"].startswith(source.settings.landing_uri) for row in states)
    assert [row["batch_id"] for row in states] == [0, 0, 0, 1, 1, 1, 2, 3]
    assert all(row["commit_time"] for row in states)


def test_each_file_is_loaded_once_whatever_its_name_and_time_and_overwritten_ones_as_asked(source):
    """Two streams over a folder; one of them loads overwritten files again."""
    once, again = source.frame(), source.frame(allowOverwrites="true")
    source.order("m.json", "m1")
    source.order("n.json", "n1")
    source.run(once, "once")
    source.run(again, "again")
    source.order("n2.json", "same-second")
    source.order("a.json", "lexically-smaller")
    source.order("0/deep.json", "deeper")
    source.order("m.json", "m2")
    source.run(once, "once")
    source.run(again, "again")
    source.run(once, "once")
    loaded = sorted(["m1", "n1", "same-second", "lexically-smaller", "deeper"])
    assert source.ids("once") == loaded
    assert source.ids("again") == sorted([*loaded, "m2"])

    # a journal that does not fit the checkpoint is refused
    source.lake.store.delete_prefix(source.settings.bucket, f"{source.settings.user}/_journal/")
    source.order("b.json", "two")
    with pytest.raises(Exception, match="which this journal of"):
        source.run(once, "once")
    assert source.ids("once") == loaded


@pytest.mark.soak(
    "streams of one folder by Spark; tests/store/test_replay_machine.py has three, test_every_format four sources"
)
def test_streams_share_a_source_and_choose_files_and_limits_for_themselves(source):
    source.order("date=2026-01-01/x.json", "first")
    source.order("date=2026-01-02/y.json", "second")
    source.order("_hidden/z.json", "hidden")
    source.order("date=2026-01-02/y.txt", "other name")
    assert len(source.run(source.frame(pathGlobFilter="*.json", maxBytesPerTrigger="30"), "all")) == 2
    glob = source.frame(path="date=2026-01-0[2-9]/", maxFilesPerTrigger="1")
    assert len(source.run(glob, "glob", once=True)) == 1, "the limit does not count"
    with_date = source.frame("order_id STRING, date DATE", pathGlobFilter="*.json")
    source.run(with_date.where("date = '2026-01-01'"), "date")
    assert (source.ids("all"), source.ids("glob"), source.ids("date")) == (
        ["first", "second"],
        ["other name", "second"],
        ["first"],
    )


def test_processing_time(source):
    source.order("first.json", "first")
    query = source.start(source.frame(), "p", processingTime="500 milliseconds")
    try:
        query.processAllAvailable()
        source.order("later.json", "later")
        query.processAllAvailable()
    finally:
        query.stop()
    assert source.ids("p") == ["first", "later"]


def test_what_does_not_fit_is_rescued_and_a_bad_file_is_left_out(source):
    source.put(
        "a.json", '{"order_id": "fits", "quantity": 1}\n{"order_id": "odd", "quantity": "many", "new": [1]}\nbroken'
    )
    source.put("b.json.gz", b"\x1f\x8b\x08\x00cut off")
    source.run(source.frame(f"{DDL}, _rescued_data STRING, _metadata STRUCT<file_name: STRING, record_index: BIGINT>"))
    table = source.spark.read.format("delta").load(source.location("table-t"))
    rows = {row["_metadata"]["record_index"]: row for row in table.collect()}
    assert rows[0]["_rescued_data"] is None
    assert '"quantity":"many"' in rows[1]["_rescued_data"] and '"new":[1]' in rows[1]["_rescued_data"]
    assert '"_corrupt_record":"broken"' in rows[2]["_rescued_data"]
    place = source.location("checkpoint-t")
    [bad] = source.spark.sql(f"SELECT * FROM cloud_files_state('{place}') WHERE error IS NOT NULL").collect()
    assert bad["ingestion_state"] == "QUARANTINED"
    assert bad["path"].endswith("b.json.gz")


def test_every_format_end_to_end_in_one_stream_of_four_sources(source):
    table = pa.table({"order_id": ["p1", "p2"], "quantity": pa.array([1, 2], pa.int32())})
    parquet, avro = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    fields = [{"name": "order_id", "type": "string"}, {"name": "quantity", "type": "int"}]
    fastavro.writer(avro, {"type": "record", "name": "o", "fields": fields}, table.to_pylist())
    content = {"csv": b"order_id,quantity\np1,1\np2,2\n", "parquet": parquet.getvalue(), "avro": avro.getvalue()}
    frames = {}
    for name, data in content.items():
        source.put(f"{name}/f.{name}", data)
        options = {"header": "true"} if name == "csv" else {}
        frames[name] = source.frame(path=f"{name}/", format=name, **options)
    source.put("text/f.txt", b"p1\np2")
    text = source.frame("value STRING", path="text/", format="text")
    frames["text"] = text.withColumnRenamed("value", "order_id")
    named = [frame.selectExpr(f"concat('{name} ', order_id) order_id") for name, frame in frames.items()]
    source.run(reduce(lambda united, other: united.union(other), named))
    assert source.ids() == sorted(f"{name} {order_id}" for name in frames for order_id in ("p1", "p2"))


@pytest.mark.parametrize(
    ("options", "schema", "said"),
    [
        ({"maxFilesPerTriger": "3"}, DDL, "maxFilesPerTrigger"),
        ({"awsSecretKey": "x"}, DDL, "awsSecretKey"),
        ({}, None, "cloudFiles.schemaLocation"),
        ({"schemaEvolutionMode": "addNewColumnsWithTypeWidening"}, DDL, "cannot change a schema that was given"),
        ({"schemaEvolutionMode": "addNewColumns"}, DDL, "cannot change a schema that was given"),
    ],
)
def test_a_mistake_is_one_clear_error(source, options, schema, said):
    source.order("a.json", "one")
    with pytest.raises(Exception, match=said):
        source.run(source.frame(schema, **options))


def test_existing_files_can_be_left_out_and_loaded_ones_leave_the_folder_in_the_run_that_loads_them(source):
    source.order("old.json", "old")
    bucket, prefix = source.settings.landing_bucket, source.settings.landing_prefix
    frame = source.frame(
        **{
            "includeExistingFiles": "false",
            "maxFilesPerTrigger": "2",
            "cleanSource": "MOVE",
            "cleanSource.moveDestination": f"s3a://{bucket}/loaded/{prefix}",
            "cleanSource.retentionDuration": "0 seconds",
        }
    )
    source.run(frame)
    assert source.ids() == [], "its one batch has no files: it makes the beginning durable"
    for name in ("a.json", "b.json", "c.json"):
        source.order(name, name)
    source.run(frame)
    assert source.ids() == ["a.json", "b.json", "c.json"]
    assert [info.key for info in source.lake.store.list(bucket, prefix)] == [f"{prefix}old.json"]
    assert len(list(source.lake.store.list(bucket, f"loaded/{prefix}"))) == 3


def test_reading_as_a_batch_says_what_to_use_instead(source):
    with pytest.raises(Exception, match="readStream"):
        source.spark.read.format("cloudFiles").option("cloudFiles.format", "json").schema(DDL).load(
            source.settings.landing_uri
        ).collect()


@pytest.mark.soak("events by way of Spark; test_events.py has them on the local engine")
def test_events_bring_new_files_and_a_stream_goes_back_to_listing(source, tmp_path):
    inbox = SqliteInbox(tmp_path / "inbox" / "inbox.sqlite", create=True)
    bucket = source.settings.landing_bucket

    def tell(name):
        info = source.lake.store.info(bucket, source.settings.landing_prefix + name)
        now = datetime.now(UTC)
        inbox.put([Event(bucket, info.key, info.e_tag, info.size_bytes, now, "1", info.last_modified)], now)

    def run(**options):
        source.run(source.frame(journalLocation=source.location("journal"), **options))
        return source.ids()

    events = {"useNotifications": "true", "eventsInbox": str(inbox.path)}
    source.order("1.json", "a")
    assert run(**events) == ["a"], "the first look lists"
    source.order("2.json", "b")
    source.order("3.json", "c")
    tell("2.json")
    assert run(**events) == ["a", "b"], "nobody told of the third"
    assert run() == ["a", "b", "c"]
    tell("3.json")
    assert run(**events) == ["a", "b", "c"]
    inbox.close()


def test_read_files_gives_the_rows_that_are_there_now(spark, source):
    source.put("a/1.json", '{"id": 1, "at": "2026-01-02T03:04:05Z"}\n{"id": "x"}\n')
    source.put("a/2.json", '{"id": 2}\n')
    folder = source.settings.landing_uri + "a/"
    found = read_files(spark, folder, "json", schemaHints="id INT")
    assert found.columns == ["at", "id", "_rescued_data"], (
        "inferred columns are in the order of their names, as Spark's"
    )
    assert sorted(row["id"] or 0 for row in found.collect()) == [0, 1, 2]
    named = read_files(spark, folder, "json", schemaHints="id INT", metadata=True).where("_rescued_data IS NOT NULL")
    assert [row[0] for row in named.select("_metadata.file_name").collect()] == ["1.json"]
    assert read_files(None, folder, "json", lake=source.lake, schemaHints="id INT").num_rows == found.count()
    with pytest.raises(Exception, match="no file to infer a schema from"):
        read_files(spark, source.settings.landing_uri + "b/", "json").collect()

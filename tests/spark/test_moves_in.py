"""A table that Spark's own file source has filled goes on here, by the checkpoint that it left."""

from store.local_world import TABLE, LocalWorld

from lakehouse.places import import_place

NAMES = ["0.json", "1.json", "2 ä%.json", "3=+.json"]


def test_no_file_that_spark_has_loaded_comes_again(spark, lake, tmp_path):
    things = LocalWorld(lake, tmp_path).declare(options={"cloudFiles.inferColumnTypes": True})
    for number, name in enumerate(NAMES):
        things.put(name, [{"a": number}])
    checkpoint = f"{lake.settings.lake_uri}/elsewhere"
    frame = spark.readStream.schema("a LONG").option("maxFilesPerTrigger", 2)
    writer = frame.json(f"s3a://{things.bucket}/{things.folder}").writeStream.format("delta")
    writer = writer.option("checkpointLocation", checkpoint).trigger(availableNow=True)
    writer.start(lake.settings.table_uri(TABLE)).awaitTermination()
    assert import_place(things.lake, TABLE, checkpoint, really=True).there == len(NAMES)
    assert things.load().batches == ()
    things.put("new.json", [{"a": 9}])
    assert things.load_rows() == 1
    assert sorted(a for (a,) in things.rows("a")) == [*range(len(NAMES)), 9]

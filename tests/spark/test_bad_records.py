"""badRecordsPath in streams of the warm engine: what is no row of the table is in the table of bad records, once."""

import json

import pytest
from deltalake import DeltaTable

from lakehouse.autoloader.location import uri_key

FILES = 3
LINES = 10


def json_line(number):
    return "broken" if number % 4 == 1 else json.dumps({"id": number})


def csv_line(number):
    return f"{number},1,2" if number % 4 == 1 else f"{number}"


@pytest.fixture
def bad(lake):
    uri = f"s3://{lake.settings.bucket}/bad"
    return lambda: DeltaTable(uri, storage_options=lake.endpoint.deltalake_options())


@pytest.mark.parametrize("name", ["json", "csv"])
def test_rows_and_bad_records_are_all_lines_and_running_again_changes_nothing(spark, lake, bad, name):
    root = f"s3a://{lake.settings.bucket}"

    def put(number):
        line, head = {"json": (json_line, []), "csv": (csv_line, ["id"])}[name]
        text = "\n".join([*head, *map(line, range(LINES))])
        lake.store.write(lake.settings.landing_bucket, f"{lake.settings.landing_prefix}{number}.{name}", text.encode())

    def run():
        frame = (
            spark.readStream.format("cloudFiles")
            .schema("id INT, _metadata STRUCT<file_path: STRING, record_index: BIGINT>")
            .option("cloudFiles.format", name)
            .option("cloudFiles.journalLocation", f"{root}/journal")
            .option("cloudFiles.maxFilesPerTrigger", "2")
            .option("badRecordsPath", f"{root}/bad")
        )
        frame = frame.option("header", "true") if name == "csv" else frame
        query = (
            frame.load(lake.settings.landing_uri)
            .selectExpr("id", "_metadata.file_path AS file_path", "_metadata.record_index AS record")
            .writeStream.format("delta")
            .option("checkpointLocation", f"{root}/checkpoint")
            .trigger(availableNow=True)
            .start(f"{root}/table")
        )
        query.awaitTermination()

    def places():
        rows = spark.read.format("delta").load(f"{root}/table").collect()
        kept = bad().to_pyarrow_dataset().to_table().to_pylist()
        good = [(uri_key(row["file_path"]), row["record"]) for row in rows]
        return sorted(good), sorted((uri_key(row["file_path"]), row["record"]) for row in kept)

    for number in range(FILES):
        put(number)
    run()
    good, wrong = places()
    keys = [f"{lake.settings.landing_prefix}{number}.{name}" for number in range(FILES)]
    assert wrong == [(key, record) for key in keys for record in (1, 5, 9)]
    assert sorted(good + wrong) == [(key, record) for key in keys for record in range(LINES)]
    version = bad().version()
    run()
    assert (places(), bad().version()) == ((good, wrong), version)
    # Spark reads the table too
    assert spark.read.format("delta").load(f"{root}/bad").where("reason LIKE 'MALFORMED%'").count() == len(wrong)

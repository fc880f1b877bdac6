"""badRecordsPath in streams of the warm engine: what is no row of the table is in the table of bad records, once."""

import json

import pytest
from deltalake import DeltaTable
from pyspark.errors import StreamingQueryException

from lakehouse.autoloader.options.paths import uri_key

FILES = 4
LINES = 10
BAD = (1, 5, 9)


def json_line(number):
    return "broken" if number in BAD else json.dumps({"id": number})


def csv_line(number):
    return f"{number},1,2" if number in BAD else f"{number}"


class Landed:
    """Files with broken lines, and a stream of two files a batch over them."""

    def __init__(self, spark, lake, name):
        self.spark, self.lake, self.name = spark, lake, name
        self.root = f"s3a://{lake.settings.bucket}"
        line, head = {"json": (json_line, []), "csv": (csv_line, ["id"])}[name]
        for number in range(FILES):
            text = "\n".join([*head, *map(line, range(LINES))])
            lake.store.write(lake.settings.landing_bucket, self.key(number), text.encode())

    def key(self, number):
        return f"{self.lake.settings.landing_prefix}{number}.{self.name}"

    def run(self, value="id"):
        frame = (
            self.spark.readStream.format("cloudFiles")
            .schema("id INT, _metadata STRUCT<file_path: STRING, record_index: BIGINT>")
            .option("cloudFiles.format", self.name)
            .option("cloudFiles.journalLocation", f"{self.root}/journal")
            .option("cloudFiles.maxFilesPerTrigger", "2")
            .option("badRecordsPath", f"{self.root}/bad")
        )
        frame = frame.option("header", "true") if self.name == "csv" else frame
        query = (
            frame.load(self.lake.settings.landing_uri)
            .selectExpr(f"{value} AS id", "_metadata.file_path AS file_path", "_metadata.record_index AS record")
            .writeStream.format("delta")
            .option("checkpointLocation", f"{self.root}/checkpoint")
            .trigger(availableNow=True)
            .start(f"{self.root}/table")
        )
        query.awaitTermination()

    def bad(self):
        return DeltaTable(
            self.root.replace("s3a", "s3") + "/bad", storage_options=self.lake.endpoint.deltalake_options()
        )

    def places(self):
        """File and record of each row of the table, and of each bad record."""
        rows = self.spark.read.format("delta").load(f"{self.root}/table").collect()
        kept = self.bad().to_pyarrow_dataset().to_table().to_pylist()
        return [sorted((uri_key(row["file_path"]), row["record"]) for row in found) for found in (rows, kept)]

    def staged(self):
        return list(self.lake.store.list(self.lake.settings.bucket, "journal/bad_records/"))

    def expected(self, files=FILES):
        places = [(self.key(number), record) for number in range(files) for record in range(LINES)]
        return [[place for place in places if place[1] not in BAD], [place for place in places if place[1] in BAD]]


def assert_running_again_changes_nothing(landed):
    version = landed.bad().version()
    landed.run()
    assert (landed.places(), landed.bad().version()) == (landed.expected(), version)
    # Spark reads the table too
    kept = landed.spark.read.format("delta").load(f"{landed.root}/bad")
    assert kept.where("reason LIKE 'MALFORMED%'").count() == FILES * len(BAD)


@pytest.mark.soak("CSV by Spark; tests/store/test_bad_records.py has it by the local engine")
def test_rows_and_bad_records_of_csv_are_all_lines_and_running_again_changes_nothing(spark, lake):
    landed = Landed(spark, lake, "csv")
    landed.run()
    assert landed.places() == landed.expected()
    assert landed.staged() == []
    assert_running_again_changes_nothing(landed)


@pytest.mark.soak("bad records by Spark's tasks; tests/store/test_bad_records.py has them by the local engine")
def test_a_batch_that_failed_leaves_no_bad_record_and_is_loaded_once_with_all_lines_of_json(spark, lake):
    landed = Landed(spark, lake, "json")
    last = f"_metadata.file_path LIKE '%/{landed.key(3)}' AND id = 8"
    for _ in range(2):
        with pytest.raises(StreamingQueryException, match="injected"):
            landed.run(f"IF({last}, raise_error('injected'), id)")
        assert landed.places() == landed.expected(files=2), "the first batch only"
    landed.run()
    assert landed.places() == landed.expected()
    assert landed.staged() == []
    assert_running_again_changes_nothing(landed)

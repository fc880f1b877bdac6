"""What each evolution mode does with each kind of change: every cell of the table in docs/schemas.md, run."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse.streams.widening import widen_table

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "schemas.md"
MODES = ("addNewColumns", "addNewColumnsWithTypeWidening", "inline", "rescue", "failOnNewColumns", "none")
CHANGES = (
    *("new column", "new nested field", "INT meets BIGINT", "INT meets DOUBLE", "INT meets STRING"),
    *("STRING meets INT", "missing column", "corrupt line"),
)
FAILS = "fails until schema or file is changed"
BEFORE = '{"id": 1, "seen": "x", "device": {"id": "d"}}\n'
CSV_BEFORE = "id,a,b,c,d\n1,1,1,1,x\n"


class Stream:
    """A stream over two files: its schema is inferred from the first, the second has the change."""

    def __init__(self, spark, lake, mode, name, format_, before, after):
        self.spark, self.mode = spark, mode
        folder = f"{lake.settings.landing_prefix}{mode}-{name}/"
        self.place = f"{lake.settings.lake_uri}/{mode}-{name}"
        self.uri = f"{self.place}/table"
        self.options = {
            "cloudFiles.format": format_,
            "cloudFiles.inferColumnTypes": "true",
            "cloudFiles.schemaEvolutionMode": mode,
            "cloudFiles.schemaLocation": f"{self.place}/schema",
            "cloudFiles.maxFilesPerTrigger": "1",
            **({"header": "true"} if format_ == "csv" else {}),
        }
        self.load = f"s3a://{lake.settings.landing_bucket}/{folder}"
        lake.store.write(lake.settings.landing_bucket, f"{folder}1", before.encode())
        self.known = self.frame().schema
        lake.store.write(lake.settings.landing_bucket, f"{folder}2", after.encode())
        self.restarts = 0
        self.failed = not self.run()

    def frame(self):
        reader = self.spark.readStream.format("cloudFiles")
        for name, value in self.options.items():
            reader = reader.option(name, value)
        return reader.load(self.load).drop("_metadata")

    def run(self):
        """Starts the query until it ends well, or has failed three times; what the public restart loop does."""
        while self.restarts < 3:
            frame = self.frame()
            if self.restarts:
                widen_table(frame, self.uri)
            query = (
                frame.writeStream.format("delta")
                .option("checkpointLocation", f"{self.place}/checkpoint")
                .option("mergeSchema", "true")
                .trigger(availableNow=True)
                .start(self.uri)
            )
            try:
                query.awaitTermination()
                return True
            except Exception as error:
                assert "UNKNOWN_FIELD_EXCEPTION" in str(error)
                self.restarts += 1
        return False


def value_of(row, path):
    for part in path.split("."):
        row = row[part] if row is not None and part in row.__fields__ else None
    return row


def type_of(schema, path):
    for part in path.split("."):
        schema = schema[part].dataType if part in schema.names else None
        if schema is None:
            return None
    return schema.simpleString().upper()


def outcome(stream, rows, path, wanted):
    """Where the value of a changed record is, in the words of the table."""
    if stream.failed:
        return FAILS
    schema, row = rows
    value, now, before = value_of(row, path), type_of(schema, path), type_of(stream.known, path)
    rescued = json.loads(row["_rescued_data"]) if "_rescued_data" in row.__fields__ and row["_rescued_data"] else {}
    if value is not None:
        assert str(value) == wanted
        how = "after one restart" if now != before and stream.restarts else "at once"
        return f"loaded {how}" + (f", {before} becomes {now}" if before and now != before else "")
    if path.split(".")[0] in rescued:
        return "NULL, rescued" if before else "rescued"
    return "NULL, lost" if before else "left out"


def cells(spark, lake, mode):
    """The row of the table for one mode."""
    new = Stream(spark, lake, mode, "new", "json", BEFORE, '{"id": 2, "device": {"id": "d", "os": "o"}, "new": 5}\n')
    types = Stream(spark, lake, mode, "types", "csv", CSV_BEFORE, "id,a,b,c,d\n2,3000000000,1.5,text,7\n")
    rest = Stream(spark, lake, mode, "rest", "json", BEFORE, '{"id": 2}\n{"id": 3, "se\n')

    def rows(stream):
        table = spark.read.format("delta").load(stream.uri)
        return table.schema, None if stream.failed else next(row for row in table.collect() if row["id"] == 2)

    yield outcome(new, rows(new), "new", "5")
    yield outcome(new, rows(new), "device.os", "o")
    for column, wanted in {"a": "3000000000", "b": "1.5", "c": "text", "d": "7"}.items():
        yield outcome(types, rows(types), column, wanted)
    assert rest.restarts == 0
    row = rows(rest)[1]
    yield "NULL" if row["seen"] is None and row["device"] is None else "?"
    (broken,) = [record for record in spark.read.format("delta").load(rest.uri).collect() if record["id"] is None]
    kept = rest.known.names.count("_rescued_data") and json.loads(broken["_rescued_data"])["_corrupt_record"]
    yield "row of NULLs, line rescued" if kept == '{"id": 3, "se' else "row of NULLs, line lost"


def table_of(spark, lake, modes):
    """The lines of the table for these modes."""
    with ThreadPoolExecutor(3) as pool:
        found = dict(zip(modes, pool.map(lambda mode: list(cells(spark, lake, mode)), modes), strict=True))
    lines = [f"| mode | {' | '.join(CHANGES)} |", "|---" * (len(CHANGES) + 1) + "|"]
    return lines + [f"| `{mode}` | {' | '.join(row)} |" for mode, row in found.items()]


@pytest.mark.soak("each mode with each kind of change; test_evolution.py takes a stream through all modes")
def test_the_whole_table_in_the_documents_is_what_happens(spark, lake):
    lines = table_of(spark, lake, MODES)
    assert "\n".join(lines) in DOCUMENT.read_text(), "\n".join(lines)

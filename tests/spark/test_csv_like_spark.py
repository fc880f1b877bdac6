"""Many documents of CSV, each a file, read by our format and by Spark's own reader: every row of each."""

import random

import pytest
from pyspark.sql import functions as f
from spark.test_formats_like_spark import CASES, TEXTS, lines_of_csv, ours, plain

from lakehouse.autoloader.formats.csv import parse_csv

DOCUMENTS = 60
"""For each set of options: 660 in all."""
TYPES = ["tinyint", "int", "bigint", "double", "boolean", "decimal(8,2)", "date", "timestamp", "string"]
TYPED = [
    {"header": "true", "sep": ";", "timeZone": "UTC"},
    {"sep": "|", "timeZone": "UTC", "nullValue": "-", "ignoreTrailingWhiteSpace": "true"},
]
_CORRUPT = "_corrupt_record"


def documents(options, seed):
    """Texts of documents of a few lines, with and without an end of the last line."""
    for number in range(DOCUMENTS):
        chance = random.Random(seed * DOCUMENTS + number)
        lines = lines_of_csv(chance, options, chance.randrange(1, 40))
        yield "\n".join(lines) + chance.choice(["", "\n"])


def typed_documents(options, seed):
    """Texts of documents whose values fit their columns, or do not; ends of lines are a document's own."""
    for number in range(DOCUMENTS):
        chance = random.Random(seed * DOCUMENTS + number)
        end = chance.choice(["\n", "\r\n"])
        values = [*TEXTS, "-", *["1", "2.5", "true", "2020-01-02"] * 5]
        rows = [[chance.choice(values) for _ in TYPES] for _ in range(chance.randrange(1, 40))]
        head = [[f"c{place}" for place in range(len(TYPES))]] if "header" in options else []
        yield "".join(options["sep"].join(row) + end for row in [*head, *rows])


def differences(lake, spark, texts, schema, options, corrupt=None):
    """Documents that the two read otherwise, with the first row that differs."""
    folder = f"{lake.settings.lake_uri}/_documents"
    bucket, _, prefix = folder.removeprefix("s3a://").partition("/")
    lake.store.delete_prefix(bucket, f"{prefix}/")
    data = {f"{number:03d}.csv": text.encode() for number, text in enumerate(texts)}
    for name, content in data.items():
        lake.store.write(bucket, f"{prefix}/{name}", content)
    read = spark.read.schema(schema).options(**options).csv(folder)
    columns = read.schema
    theirs = {name: [] for name in data}
    for row in read.select("*", f.col("_metadata.file_name").alias("file")).collect():
        theirs[row["file"]].append({name: plain(row[name]) for name in columns.names})
    found = []
    for name, content in data.items():
        mine = [plain(row) for row in ours(parse_csv, content, columns, options, corrupt_column=corrupt)]
        pairs = [pair for pair in zip(mine, theirs[name], strict=False) if not alike(*pair, options)]
        if pairs or len(mine) != len(theirs[name]):
            found.append((name, len(mine), len(theirs[name]), pairs[:1]))
    return found


def alike(mine, theirs, options):
    """Whether two rows are the same, but for what docs/options.md says of blanks behind the last separator."""
    empty = options.get("emptyValue") if "ignoreLeadingWhiteSpace" in options else None
    return all(mine[name] == theirs[name] or (mine[name] is None and theirs[name] == empty) for name in theirs)


@pytest.mark.soak("660 documents; test_formats_like_spark.py has one for each set of options")
@pytest.mark.parametrize("number", range(len(CASES) + len(TYPED)))
def test_many_documents(lake, spark, number):
    if number < len(CASES):
        schema = f"a STRING, b STRING, {_CORRUPT} STRING"
        found = differences(lake, spark, documents(CASES[number], number), schema, CASES[number], _CORRUPT)
    else:
        options = TYPED[number - len(CASES)]
        schema = ", ".join(f"c{place} {kind}" for place, kind in enumerate(TYPES))
        found = differences(lake, spark, typed_documents(options, number), schema, options)
    assert found == []

"""The same XML read by our format and by Spark's own reader: its columns, and every row."""

import io

import pytest
from pyspark.sql import functions as f
from spark.test_formats_like_spark import ours, plain
from spark.xml_corpus import documents, files

from lakehouse.autoloader.formats.xml import infer_xml, parse_xml

OPTIONS = [
    {},
    {"attributePrefix": "@", "valueTag": "text", "ignoreNamespace": "true"},
    {"excludeAttribute": "true", "prefersDecimal": "true"},
    {"mode": "DROPMALFORMED", "samplingRatio": "1.0"},
]
"""Not ``nullValue``, ``preferDate=false``, ``ignoreSurroundingSpaces=false``: inference differs."""
FILE = "name of the file"


def put_all(lake, name, contents):
    """The folder with these files, and their names."""
    folder = f"{lake.settings.lake_uri}/{name}"
    bucket, _, prefix = folder.removeprefix("s3a://").partition("/")
    names = [f"{number:03d}.xml" for number in range(len(contents))]
    for file_name, content in zip(names, contents, strict=True):
        lake.store.write(bucket, f"{prefix}/{file_name}", content)
    return folder, names


def differences(lake, spark, name, contents, given):
    """Fields of the schema that differ, and values that differ, with the name of their file."""
    options = {"rowTag": "row", "timeZone": "UTC", **given}
    reader = {option.lower(): value for option, value in options.items()}
    folder, names = put_all(lake, name, contents)
    theirs = spark.read.format("xml").options(**options).load(folder)
    schema = infer_xml(map(io.BytesIO, contents), reader=reader, infer_column_types=True)
    fields = [{field.name: field.dataType.simpleString() for field in some.fields} for some in (schema, theirs.schema)]
    columns = [
        (field_name, *(some.get(field_name) for some in fields))
        for field_name in sorted(fields[0].keys() | fields[1].keys())
    ]
    wrong = [column for column in columns if column[1] != column[2]]
    rows = {file_name: [] for file_name in names}
    for row in map(plain, theirs.select("*", f.col("_metadata.file_name").alias(FILE)).collect()):
        rows[row.pop(FILE)].append(row)
    cells = []
    for file_name, content in zip(names, contents, strict=True):
        mine = [plain(row) for row in ours(parse_xml, content, theirs.schema, options)]
        assert len(mine) == len(rows[file_name]) > 0
        cells += [
            (file_name, field_name, row[field_name], other[field_name])
            for row, other in zip(mine, rows[file_name], strict=True)
            for field_name in row
            if row[field_name] != other[field_name]
        ]
    return wrong, cells


def test_forty_documents(lake, spark):
    assert differences(lake, spark, "_xml", [documents(7, 40)], {}) == ([], [])


@pytest.mark.soak("560 documents, each a file, and the options of the reader")
@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_many_documents(lake, spark, number):
    given = OPTIONS[number]
    for seed in range(7 * number, 7 * number + 7):
        found = differences(lake, spark, f"_xml{seed}", files(seed, 20), given)
        assert (seed, *found) == (seed, [], [])

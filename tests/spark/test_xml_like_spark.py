"""The same XML read by our format and by Spark's own reader: its columns, and every row."""

import io

import pytest
from spark.test_formats_like_spark import ours, plain, put
from spark.xml_corpus import documents

from lakehouse.autoloader.formats.xml import infer_xml, parse_xml

OPTIONS = [
    {},
    {"attributePrefix": "@", "valueTag": "text", "ignoreNamespace": "true"},
    {"excludeAttribute": "true", "prefersDecimal": "true"},
    {"mode": "DROPMALFORMED", "samplingRatio": "1.0"},
]
"""Not ``nullValue``, ``preferDate=false``, ``ignoreSurroundingSpaces=false``: inference differs."""


def differences(lake, spark, name, data, given):
    """Fields of the schema that differ, and rows that differ."""
    options = {"rowTag": "row", "timeZone": "UTC", **given}
    reader = {option.lower(): value for option, value in options.items()}
    theirs = spark.read.format("xml").options(**options).load(put(lake, name, data))
    schema = infer_xml([io.BytesIO(data)], reader=reader, infer_column_types=True)
    fields = [{field.name: field.dataType.simpleString() for field in some.fields} for some in (schema, theirs.schema)]
    columns = [
        (field_name, *(some.get(field_name) for some in fields))
        for field_name in sorted(fields[0].keys() | fields[1].keys())
    ]
    wrong = [column for column in columns if column[1] != column[2]]
    mine = [plain(row) for row in ours(parse_xml, data, theirs.schema, options)]
    rows = [plain(row) for row in theirs.collect()]
    assert len(mine) == len(rows)
    cells = [
        (field_name, row[field_name], other[field_name])
        for row, other in zip(mine, rows, strict=True)
        for field_name in row
        if row[field_name] != other[field_name]
    ]
    return wrong, cells


def test_forty_documents(lake, spark):
    assert differences(lake, spark, "_xml", documents(7, 40), {}) == ([], [])


@pytest.mark.soak("560 documents and the options of the reader")
@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_many_documents(lake, spark, number):
    given = OPTIONS[number]
    for seed in range(7 * number, 7 * number + 7):
        found = differences(lake, spark, f"_xml{seed}", documents(seed, 20), given)
        assert (seed, *found) == (seed, [], [])

"""``singleVariantColumn``: documents whole in a VARIANT column, byte for byte what Spark's own reader makes of them."""

import json
import random
from collections import Counter

import pytest
from spark.test_auto_loader import Source

from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.checks.files import EveryFileLoaded
from lakehouse.flows.files import Files
from lakehouse.table import At, Catalogue, Table

LINES = [
    '{"a":1,"b":[1.5,"x",null,true,false],"c":{}}',
    '  {"z":{"b":2,"a":{"z":1}},"a":[]}  ',
    '[{"a":1},2]',
    '"text"',
    "null",
    "-129",
    "{'single':1}",
    '{"n":[NaN,-INF,Infinity,1e3,1.10,-0,-0.0,0.000,1e400,9223372036854775807,9223372036854775808]}',
    '{"n":[-9223372036854775808,127,128,-32768,32768,2147483648,123456789.5,1234567890.5,12345678901234567890.5]}',
    '{"n":[0.' + "1" * 38 + ",0." + "1" * 39 + "," + "9" * 38 + "," + "9" * 39 + ",-" + "9" * 39 + "]}",
    '{"é":1,"z":2,"😀":3,"\uffff":4,"":5}',
    '{"s":["' + "x" * 63 + '","' + "x" * 64 + '","é\\u0000\\ud83d\\ude00\\n"]}',
    json.dumps({f"name{number:04d}": number for number in range(300)}),
    json.dumps(list(range(70_000))),
    "[" * 999 + "]" * 999,
    '{"large":"' + "x" * (17 << 20) + '"}',
]
MALFORMED = [
    '{"a":1,"a":2}',
    '{"in":{"a":1,"a":1}}',
    "nope",
    '{"a":[1,]}',
    "{a:1}",
    "01",
    "1" * 1001,
    "[" * 1001 + "]" * 1001,
    '{"a":"x\ty"}',
]


def made(chance, depth=0):
    """A random document."""
    kind = chance.randrange(9 if depth < 4 else 7)
    if kind == 7:
        return {
            chance.choice("abcdeé😀") * chance.randrange(3): made(chance, depth + 1) for _ in range(chance.randrange(6))
        }
    if kind == 8:
        return [made(chance, depth + 1) for _ in range(chance.randrange(6))]
    size = 10 ** chance.randrange(1, 25)
    some = [None, True, False, chance.randint(-size, size), chance.uniform(-size, size), "x" * chance.randrange(100)]
    return some[kind] if kind < 6 else round(chance.uniform(-1000, 1000), chance.randrange(8))


@pytest.fixture
def source(spark, lake):
    return Source(spark, lake)


def stream(source, **options):
    reader = source.spark.readStream.format("cloudFiles").option("cloudFiles.format", "json")
    reader = reader.option("singleVariantColumn", "v").option("cloudFiles.journalLocation", source.location("journal"))
    schema = options.pop("schema", None)
    for name, value in options.items():
        reader = reader.option(name if name in ("mode", "multiLine") else f"cloudFiles.{name}", value)
    return (reader.schema(schema) if schema else reader).load(source.settings.landing_uri)


def table(source, name="t"):
    return source.spark.read.format("delta").load(source.location(f"table-{name}"))


def test_values_are_the_bytes_that_spark_writes(source):
    chance = random.Random(7)
    lines = LINES + MALFORMED + [json.dumps(made(chance), ensure_ascii=chance.random() < 0.5) for _ in range(500)]
    for number in range(5):
        source.put(f"{number}.json", "\n".join(lines[number::5]))
    source.run(stream(source).selectExpr("v", "_rescued_data", "_metadata.file_path path"))
    found = table(source)
    sparks = (
        source.spark.read.format("json")
        .option("singleVariantColumn", "v")
        .schema("v VARIANT, _corrupt_record STRING")
        .load(source.settings.landing_uri)
    )
    # what Spark's functions say of the variants, and the variants themselves
    said = ["to_json(v) j", "schema_of_variant(v) t"]
    assert Counter(found.selectExpr(*said).collect()) == Counter(sparks.selectExpr(*said).collect())

    def bytes_of(frame):
        rows = frame.select("v").where("length(to_json(v)) < 1000000").collect()
        return Counter((row.v.value, row.v.metadata) for row in rows)

    ours = bytes_of(found)
    assert ours == bytes_of(sparks)
    assert ours.total() == len(lines) - len(MALFORMED) - 1, "all but the malformed and the large one"
    rescued = [json.loads(row[0]) for row in found.where("v IS NULL").select("_rescued_data").collect()]
    assert sorted(record["_corrupt_record"] for record in rescued) == sorted(MALFORMED)
    assert all(record["_file_path"].startswith(source.settings.landing_uri) for record in rescued)
    assert found.where("v IS NOT NULL AND _rescued_data IS NOT NULL").count() == 0


CSV_TEXTS = [
    *["", "1", "-7", "+5", "007", "9223372036854775807", "9223372036854775808", "1.50", "-0.00", "1e3", "1e-3", "1e39"],
    *[
        '"1,234.5"',
        "0." + "1" * 38,
        "0." + "1" * 39,
        "NaN",
        "true",
        "FALSE",
        "x",
        "é",
        '"a ""b"""',
        "-",
        " 1",
        "2020-02-30",
    ],
    *["2020-01-02", "2020-01-02 03:04:05.123456", "2020-01-02T03:04:05+02:00", "2020-01", "1969-12-31 23:59:59.5"],
]


def csv_documents(chance, header):
    """Files whose columns begin with values of one kind; a few records have more or fewer values than the header."""
    for _ in range(30):
        kinds = [chance.sample(CSV_TEXTS, chance.randrange(1, 6)) for _ in range(4)]
        lines = ["id,é,B,b"] if header else []
        for _ in range(chance.randrange(30)):
            values = [chance.choice(kind if chance.random() < 0.9 else CSV_TEXTS) for kind in kinds]
            lines.append(",".join(values[: chance.randrange(1, 4)] if chance.random() < 0.1 else values))
        yield "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "options", [{"header": "true"}, {"preferDate": "false"}, {"header": "true", "nullValue": "-", "multiLine": "true"}]
)
def test_records_of_csv_are_the_bytes_that_spark_writes(source, options):
    for number, text in enumerate(csv_documents(random.Random(13), "header" in options)):
        source.put(f"{number:02}.csv", text)
    given = {"singleVariantColumn": "v", "timeZone": "UTC", **options}
    schema = "v VARIANT, _corrupt_record STRING"
    sparks = source.spark.read.format("csv").options(**given).schema(schema).load(source.settings.landing_uri)
    place = {"cloudFiles.format": "csv", "cloudFiles.journalLocation": source.location("journal")}
    reader = source.spark.readStream.format("cloudFiles").options(**place, **given).schema(schema)
    source.run(reader.load(source.settings.landing_uri).select("v", "_corrupt_record"))

    def plain(frame):
        rows = frame.select("v", "_corrupt_record").collect()
        return Counter((row.v.value, row.v.metadata, row["_corrupt_record"]) for row in rows)

    ours = plain(table(source))
    assert ours == plain(sparks)
    assert ours.total() > 300
    assert any(corrupt for _, _, corrupt in ours) == ("header" in options)


def test_values_equal_those_of_parse_json(source):
    chance = random.Random(11)
    lines = [json.dumps(made(chance)) for _ in range(300)]
    source.put("a.json", "\n".join(lines))
    source.run(stream(source).selectExpr("v", "_metadata.record_index n"))
    texts = source.spark.createDataFrame(list(enumerate(lines)), "n long, s string")
    both = table(source).join(texts.selectExpr("n", "parse_json(s) p"), "n").collect()
    assert len(both) == 300
    assert all((row.v.value, row.v.metadata) == (row.p.value, row.p.metadata) for row in both)


@pytest.mark.parametrize(
    ("schema", "parts"),
    [
        ("id LONG, v VARIANT", ["v"]),
        ("id LONG, v VARIANT, s STRUCT<w: VARIANT>, l ARRAY<VARIANT>", ["v", "s.w", "l[0]", "l[1]"]),
    ],
    ids=["beside", "within"],
)
def test_variant_columns_beside_others_are_those_that_spark_reads(source, schema, parts):
    chance = random.Random(5)
    rows = [{"id": number, "v": made(chance), "s": {"w": made(chance)}, "l": [1, None]} for number in range(200)]
    lines = [*map(json.dumps, rows), '{"id": 200, "v": null, "s": null}', '{"id": 201}']
    source.put("a.json", "\n".join(lines))
    sparks = source.spark.read.schema(schema).json(source.settings.landing_uri)
    place = {"cloudFiles.format": "json", "cloudFiles.journalLocation": source.location("journal")}
    reader = source.spark.readStream.format("cloudFiles").options(**place).schema(schema)
    source.run(reader.load(source.settings.landing_uri))

    def plain(frame):
        found = frame.selectExpr("id", *(f"{part} AS part{number}" for number, part in enumerate(parts))).collect()
        return {row.id: [part and (part.value, part.metadata) for part in row[1:]] for row in found}

    ours = plain(table(source))
    assert ours == plain(sparks)
    assert len(ours) == len(lines)


def test_the_schema_needs_no_file_and_no_schema_location(source):
    assert stream(source).dtypes[:2] == [("v", "variant"), ("_rescued_data", "string")]
    assert [name for name, _ in stream(source, schemaEvolutionMode="none").dtypes] == ["v", "_metadata"]
    columns = stream(source, partitionColumns="day").drop("_metadata").dtypes
    assert columns == [("v", "variant"), ("day", "string"), ("_rescued_data", "string")]


def test_partition_folders_and_new_fields_with_a_schema_location(source):
    options = {"schemaLocation": source.location("schemas")}
    source.put("day=1/a.json", '{"a":1}\n')
    source.run(stream(source, **options).drop("_metadata"))
    source.put("day=2/b.json", '{"b":2,"c":3}\nx\n')
    source.run(stream(source, **options).drop("_metadata"))
    rows = {(row.day, row.j) for row in table(source).selectExpr("day", "to_json(v) j").collect()}
    assert rows == {("1", '{"a":1}'), ("2", '{"b":2,"c":3}'), ("2", None)}


@pytest.mark.soak("modes of one column of whole records by Spark; tests/store/test_variant_modes.py has them without")
def test_modes_and_a_corrupt_record_column_in_the_schema(source):
    source.put("a.json", '{"a":1} rest\nnope\n{"a":2}\n')
    permissive = stream(source, schema="v VARIANT, _corrupt_record STRING").selectExpr("'permissive' kind", "*")
    dropped = stream(source, schema="v VARIANT", mode="DROPMALFORMED").selectExpr("'dropped' kind", "*")
    whole = stream(source, schema="v VARIANT", multiLine="true").selectExpr("'whole' kind", "*")
    # three sources of one stream
    both = permissive.unionByName(dropped, allowMissingColumns=True)
    source.run(both.unionByName(whole, allowMissingColumns=True))
    rows = table(source).selectExpr("kind", "to_json(v)", "_corrupt_record").collect()
    assert Counter(map(tuple, rows)) == Counter(
        [
            ("permissive", '{"a":1}', '{"a":1} rest'),
            ("permissive", None, "nope"),
            ("permissive", '{"a":2}', None),
            ("dropped", '{"a":1}', None),
            ("dropped", '{"a":2}', None),
            ("whole", '{"a":1}', None),
        ]
    )
    with pytest.raises(Exception, match="FAILFAST"):
        source.run(stream(source, schema="v VARIANT", mode="FAILFAST"), "failed")
    with pytest.raises(Exception, match="one column, v VARIANT"):
        source.run(stream(source, schema="v VARIANT, a INT"), "wrong")


def test_the_commands_that_need_no_spark_read_such_a_table(source, lake):
    source.put("a.json", '{"a":1}\n{"a":2}\nnope\n')
    frame = stream(source).selectExpr("v", "_rescued_data", f"_metadata.sequence {SEQUENCE}")
    name, settings = "bronze.events", lake.settings
    query = frame.writeStream.format("delta").option("checkpointLocation", settings.checkpoint_uri(name))
    query.trigger(availableNow=True).start(settings.table_uri(name)).awaitTermination()
    features = source.spark.sql(f"DESCRIBE DETAIL delta.`{settings.table_uri(name)}`").collect()[0].tableFeatures
    assert "variantType" in features
    (info,) = lake.tables()
    assert (info.name, info.rows, set(info.columns)) == (name, 3, {"v", "_rescued_data", SEQUENCE})
    table = Table(name, Files(path=lake.settings.landing_uri))
    finding = EveryFileLoaded().examine(At(source.spark, lake, table, Catalogue((table,))))
    assert finding.passed
    assert finding.numbers["rows_in_table"] == 3

"""What a stream's columns mean, from the options to the rows, as Spark calls the source but without Spark."""

import json

import pytest
from pyspark.sql.streaming.datasource import ReadAllAvailable
from pyspark.sql.types import StructType

from lakehouse.autoloader.schema.versions import SchemaLocation, SchemaVersion
from lakehouse.autoloader.source import CloudFiles
from lakehouse.errors import ConfigurationError, StreamFailed

GIVEN = StructType().add("id", "string").add("name", "string")
RENAMED = StructType().add("number", "integer").add("title", "string")
PEOPLE = b"id,name\n1,a\n"


class Loads:
    """Loads a folder of CSV files."""

    def __init__(self, world):
        self.world = world
        self.schemas = f"s3a://{world.lake.settings.bucket}/schemas/csv"
        self.reader = None

    def rows(self, schema=None, **options):
        """The rows of all files without their ``_metadata``; options with underscores for dots."""
        given = {
            "cloudFiles.format": "csv",
            "path": f"s3a://{self.world.bucket}/{self.world.folder}",
            "cloudFiles.journalLocation": self.world.journal,
            **({} if schema else {"cloudFiles.schemaLocation": self.schemas}),
            **{name.replace("_", "."): value for name, value in options.items()},
        }
        source = CloudFiles(given)
        schema = schema or source.schema()
        self.reader = source.streamReader(schema)
        start = self.reader.initialOffset()
        end = self.reader.latestOffset(start, ReadAllAvailable())
        rows = [
            row
            for part in self.reader.partitions(start, end)
            for batch in self.reader.read(part)
            for row in batch.to_pylist()
        ]
        for row in rows:
            row.pop("_metadata", None)
        return rows

    def versions(self):
        settings = self.world.lake.settings
        return SchemaLocation(self.world.lake.store, settings.bucket, "schemas/csv")


@pytest.fixture
def loads(world):
    return Loads(world)


def test_a_header_is_assumed_where_columns_are_inferred(world, loads):
    world.put("1.csv", PEOPLE)
    assert loads.rows(cloudFiles_schemaHints="id bigint") == [{"id": 1, "name": "a", "_rescued_data": None}]
    world.put("2.csv", b"name,id\nb,2\n")
    assert loads.rows()[1] == {"id": 2, "name": "b", "_rescued_data": None}, "the schema location remembers it"


def test_what_is_said_of_the_header_wins(world, loads):
    world.put("1.csv", PEOPLE)
    both = [{"_c0": "id", "_c1": "name", "_rescued_data": None}, {"_c0": "1", "_c1": "a", "_rescued_data": None}]
    assert loads.rows(header="false") == both
    assert loads.rows() == both, "the schema location remembers it"
    assert loads.rows(GIVEN) == [{"id": "id", "name": "name"}, {"id": "1", "name": "a"}]
    assert loads.rows(GIVEN, header="true") == [{"id": "1", "name": "a"}]


@pytest.mark.parametrize(("names", "first"), [(("_c0", "_c1"), "id"), (("id", "name"), "1")])
def test_a_schema_location_from_before_headers_were_assumed_means_what_it_meant(world, loads, names, first):
    world.put("1.csv", PEOPLE)
    data = StructType().add(names[0], "string").add(names[1], "string")
    loads.versions().write(SchemaVersion(0, data, StructType()))
    assert loads.rows()[0][names[0]] == first
    loads.versions().grow(StructType([*data.fields]).add("later", "string"), {"later": ("1.csv", 0)})
    assert loads.rows()[0][names[0]] == first


def test_a_grown_schema_remembers_the_header_too(world, loads):
    world.put("1.csv", PEOPLE)
    assert loads.rows(header="false")[0]["_c0"] == "id"
    known = loads.versions().latest()
    loads.versions().grow(StructType([*known.data.fields]).add("_c2", "string"), {"_c2": ("1.csv", 0)})
    assert loads.versions().latest().header is False


def test_given_columns_are_filled_by_position(world, loads):
    world.put("1.csv", PEOPLE)
    assert loads.rows(RENAMED, header="true") == [{"number": 1, "title": "a"}]
    assert loads.rows(RENAMED, header="true", enforceSchema="true") == [{"number": 1, "title": "a"}]


def test_with_a_rescued_column_they_are_filled_by_name_unless_the_schema_is_enforced(world, loads):
    world.put("1.csv", PEOPLE)
    schema = StructType([*RENAMED.fields]).add("_r", "string")
    [row] = loads.rows(schema, header="true", rescuedDataColumn="_r")
    assert (row["number"], json.loads(row["_r"])["id"]) == (None, "1")
    enforced = loads.rows(schema, header="true", rescuedDataColumn="_r", enforceSchema="true")
    assert enforced == [{"number": 1, "title": "a", "_r": None}]


def test_a_header_that_is_not_the_schema_is_refused_where_that_was_asked_for(world, loads):
    for name, data in {"1.csv": PEOPLE, "2.csv": b"ID,Name\n2,b\n", "3.csv": b"id\n3\n"}.items():
        world.put(name, data)
    assert [row["id"] for row in loads.rows(GIVEN, header="true", enforceSchema="false")] == ["1", "2"]


def test_a_rescued_column_that_is_named_has_to_be_a_string(world, loads):
    world.put("1.csv", PEOPLE)
    for options in ({"rescuedDataColumn": "_r"}, {"cloudFiles_schemaEvolutionMode": "rescue"}):
        name = options.get("rescuedDataColumn", "_rescued_data")
        with pytest.raises(ConfigurationError, match=f"{name}, .* INT"):
            loads.rows(StructType([*GIVEN.fields]).add(name, "integer"), **options)
        assert loads.rows(StructType([*GIVEN.fields]).add(name, "string"), **options)[1][name] is None


def test_a_stream_whose_schema_lacks_the_rescued_column_ends_at_the_first_value_that_would_need_it(world, loads):
    options = {"cloudFiles_format": "json", "rescuedDataColumn": "_r"}
    given = StructType().add("id", "long")
    world.put("1.json", b'{"id":1}\n{"id":2}\n')
    with pytest.warns(UserWarning, match="no column _r STRING.*nothing is lost"):
        assert loads.rows(given, **options) == [{"id": 1}, {"id": 2}]
    world.put("2.json", b'{"id":3}\n{"id":"x"}\n')
    world.put("3.json", b'{"id":4,"more":1}\n')
    with pytest.warns(UserWarning), pytest.raises(StreamFailed, match="the column _r that would keep it: id") as caught:
        loads.rows(given, **options)
    assert caught.value.where.endswith("2.json, record 1")
    assert "_r STRING" in caught.value.next_command
    rows = loads.rows(StructType([*given.fields]).add("_r", "string"), **options)
    kept = {row["id"]: row["_r"] and sorted(json.loads(row["_r"])) for row in rows}
    assert kept == {1: None, 2: None, 3: None, None: ["_file_path", "id"], 4: ["_file_path", "more"]}


def test_such_a_stream_fills_csv_columns_by_name_and_tells_of_a_broken_record(world, loads):
    world.put("1.csv", b"name,id\na,1\n")
    options = {"header": "true", "rescuedDataColumn": "_r"}
    with pytest.warns(UserWarning):
        assert loads.rows(GIVEN, **options) == [{"id": "1", "name": "a"}]
    world.put("2.csv", b"id,name\n2,b,c\n")
    with pytest.warns(UserWarning), pytest.raises(StreamFailed, match="_c2"):
        loads.rows(GIVEN, **options)


def test_where_only_the_mode_asks_for_a_rescued_column_its_lack_is_warned_of(world, loads):
    world.put("1.csv", PEOPLE)
    with pytest.warns(
        UserWarning, match="rescue is without effect: the given schema has no column _rescued_data STRING"
    ):
        assert loads.rows(GIVEN, header="true", cloudFiles_schemaEvolutionMode="rescue") == [{"id": "1", "name": "a"}]

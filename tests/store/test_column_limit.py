"""Files with more columns than a table bears: the rest is rescued, and the stream goes on."""

import json

import pytest
from pyspark.sql.types import StructType

from lakehouse.autoloader.reading.columns import METADATA_TYPE
from lakehouse.autoloader.schema.evolve import leaves
from lakehouse.autoloader.schema.versions import SchemaLocation
from lakehouse.errors import ConfigurationError, UnknownFieldException

LIMIT = {"maxColumns": "50", "schemaEvolutionMode": "addNewColumns"}


def document(prefix, count, **more):
    return json.dumps({**more, **{f"{prefix}{number:05d}": number for number in range(count)}}).encode() + b"\n"


def read(world, schema, **options):
    """Rows of all files there are, with what became of them."""
    stream = world.stream(**options)
    stream.fix_target()
    start = stream.beginning()
    found = []
    for task in stream.parts(start, stream.next_end(start, max_files=100, max_bytes=None)):
        for batch in stream.read(task, schema):
            found += batch.to_pylist()
    return found


def columns(schema):
    return [name for name in schema.names if name not in ("_rescued_data", "_metadata")]


def lost(row, written):
    """What of a document is neither in its columns nor rescued."""
    kept = {name: value for name, value in row.items() if value is not None}
    rescued = json.loads(row["_rescued_data"] or "{}")
    return {name: value for name, value in written.items() if str({**rescued, **kept}.get(name)) != str(value)}


def test_inference_stops_at_the_limit_and_the_rest_of_each_record_is_rescued(world):
    data = document("c", 60)
    world.put("a.json", data)
    source = world.stream(maxColumns="50")._source
    schema = source.inferred_schema()
    assert columns(schema) == [f"c{number:05d}" for number in range(50)]
    assert "10 more" in source.schemas.latest().reason
    assert "cloudFiles.maxColumns" in source.schemas.latest().reason
    [row] = read(world, schema, maxColumns="50")
    assert lost(row, json.loads(data)) == {}
    assert len(json.loads(row["_rescued_data"])) == 11  # with the file's path
    assert {state.ingestion_state for state in world.states().values()} == {"INGESTED"}


def test_evolution_stops_at_the_limit_and_the_stream_goes_on(world):
    world.put("a.json", document("c", 30))
    source = world.stream(**LIMIT)._source
    schema = source.inferred_schema()
    wide = document("d", 40, c00000=7)
    world.put("b.json", wide)
    with pytest.raises(UnknownFieldException):
        read(world, schema, **LIMIT)
    version = source.schemas.latest()
    assert len(version.data.fields) == 50
    assert "20 more" in version.reason
    grown = source.inferred_schema()
    rows = read(world, grown, **LIMIT)
    assert len(rows) == 2
    assert lost(next(row for row in rows if row["c00000"] == "7"), json.loads(wide)) == {}
    assert source.schemas.latest().version == version.version


def test_tasks_that_learn_at_the_same_moment_do_not_exceed_the_limit_together(world):
    schemas = SchemaLocation(world.lake.store, world.lake.settings.bucket, "schemas/one")
    world.put("a.json", document("c", 30))
    source = world.stream(maxColumns="50")._source
    source.inferred_schema()
    for prefix in "de":
        data = StructType()
        for number in range(15):
            data.add(f"{prefix}{number}", "string")
        schemas.grow(data, {}, max_columns=50)
    assert leaves(schemas.latest().data) == 50


def test_where_nothing_rescues_the_limit_is_an_error(world):
    world.put("a.json", document("c", 60))
    for mode in ("none", "failOnNewColumns"):
        source = world.stream(maxColumns="50", schemaEvolutionMode=mode)._source
        with pytest.raises(ConfigurationError, match="60 columns") as raised:
            source.inferred_schema()
        assert "cloudFiles.maxColumns" in raised.value.next_command
    assert source.schemas.latest() is None


def test_a_hint_makes_a_column_beyond_the_limit(world):
    world.put("a.json", document("c", 60))
    source = world.stream(maxColumns="50", schemaHints="c00059 STRING")._source
    assert columns(source.inferred_schema())[-1] == "c00059"


def test_a_schema_that_is_given_has_no_limit(world):
    world.put("a.json", document("c", 60))
    schema = StructType().add("_metadata", METADATA_TYPE)
    for number in range(60):
        schema.add(f"c{number:05d}", "long")
    [row] = read(world, schema, maxColumns="50")
    assert row["c00059"] == 59

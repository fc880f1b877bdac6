"""A task that met a new column reads on for others: what it knows by then is read fast."""

import pytest
from pyspark.sql.types import StructType

from lakehouse.autoloader import part as read
from lakehouse.autoloader.formats.json_rows import RowReader
from lakehouse.autoloader.reading.columns import METADATA_TYPE
from lakehouse.autoloader.schema.versions import SchemaLocation, SchemaVersion
from lakehouse.errors import UnknownFieldException


def test_only_the_piece_that_brought_a_column_is_read_line_by_line(world, monkeypatch):
    monkeypatch.setattr(read, "_PIECE_FILES", 1)
    slow, by_rules = [], RowReader.read
    monkeypatch.setattr(RowReader, "read", lambda self, data, line: slow.append(data) or by_rules(self, data, line))
    for number in range(6):
        world.put(f"{number}.json", b"".join(b'{"a": %d, "x": "new"}\n' % row for row in range(200)))
    world.put("6.json", b'{"a": 1}\n{"a": 2, "x": "", "y": 1}\n')
    schemas = SchemaLocation(world.lake.store, world.lake.settings.bucket, "schemas/one")
    schemas.write(SchemaVersion(0, StructType().add("a", "long"), StructType()))
    stream = world.stream(schemaEvolutionMode="addNewColumns", inferColumnTypes="true", minPartitions="1")
    stream.fix_target()
    start = stream.beginning()
    (task,) = stream.parts(start, stream.next_end(start, max_files=10, max_bytes=None))
    schema = StructType().add("a", "long").add("_rescued_data", "string").add("_metadata", METADATA_TYPE)
    with pytest.raises(UnknownFieldException):
        list(stream.read(task, schema))
    latest = schemas.latest()
    assert latest.data.simpleString() == "struct<a:bigint,x:string,y:bigint>"
    places = {name: (path.rsplit("/", 1)[1], record) for name, (path, record) in latest.introduced.items()}
    assert places == {"x": ("0.json", 0), "y": ("6.json", 1)}
    assert sum(len(data.splitlines()) for data in slow) == 200, "those of the first piece"

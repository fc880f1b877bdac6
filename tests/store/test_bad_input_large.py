"""Bad input around replaced large files, long lines of text and keys that XML cannot spell."""

import gzip
import io

import pyarrow as pa
import pytest
from pyarrow import parquet
from pyspark.sql.types import IntegerType, MapType, StringType, StructType
from store.landed import ROW

from lakehouse.autoloader import part as read
from lakehouse.autoloader.reading.columns import METADATA_TYPE
from lakehouse.errors import TerminalError
from lakehouse.storage import BucketMissing
from lakehouse.storage.fast_store import FastStore

TEXT_SCHEMA = StructType().add("value", "string").add("_metadata", METADATA_TYPE)
NEW = b'{"a": 7}\n{"a": 8}\n'


def rows_of(world, schema, before_read=lambda: None, **options):
    stream = world.stream(**options)
    stream.fix_target()
    start = stream.beginning()
    parts = stream.parts(start, stream.next_end(start, max_files=100, max_bytes=None))
    before_read()
    return [row for part in parts for batch in stream.read(part, schema) for row in batch.to_pylist()]


@pytest.mark.parametrize("again", ["false", "true"])
def test_of_a_large_packed_file_that_is_replaced_before_it_is_read_one_version_is_loaded(world, monkeypatch, again):
    monkeypatch.setattr(read, "_IN_MEMORY_BYTES", 10)  # large is what is over 64 MB; here over 10 bytes
    world.put("good.json")
    world.put("new.json.gz", gzip.compress(ROW))
    replaced = []

    def replace():
        if not replaced:
            replaced.append(True)
            world.put("new.json.gz", gzip.compress(NEW))

    rows = world.run(before_read=replace, allowOverwrites=again)
    rows += world.run(allowOverwrites=again)
    assert sorted(rows) == [("good.json", 0, 1), ("new.json.gz", 0, 7), ("new.json.gz", 1, 8)]
    assert world.run(allowOverwrites=again) == []


def test_of_a_large_file_of_no_lines_that_is_replaced_before_it_is_read_one_version_is_loaded(world, monkeypatch):
    monkeypatch.setattr(read, "_IN_MEMORY_BYTES", 10)
    world.put("new.csv", b"1\n2\n3\n4\n5\n6\n")
    schema = StructType().add("a", "long").add("_metadata", METADATA_TYPE)
    rows = rows_of(world, schema, lambda: world.put("new.csv", b"70\n80\n90\n100\n"), format="csv")
    assert [row["a"] for row in rows] == [70, 80, 90, 100]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_line_of_text_that_is_too_long_gives_no_row_and_the_others_keep_their_numbers(world, packed):
    data = b"one\n" + b"x" * 2_000_000 + b"\n\nthree\n" + b"y" * 2_000_000
    world.put("long.txt.gz" if packed else "long.txt", gzip.compress(data) if packed else data)
    rows = rows_of(world, TEXT_SCHEMA, format="text", maxLineBytes="1m")
    assert [(row["_metadata"]["record_index"], row["value"]) for row in rows] == [(0, "one"), (2, ""), (3, "three")]


@pytest.mark.parametrize("split", ["200k", "32m"])
def test_the_note_of_a_line_that_is_too_long_says_where_it_begins_in_the_file(world, split):
    row = b'{"a": 1, "b": "' + b"z" * 982 + b'"}\n'
    data = row * 450 + b'{"b": "' + b"x" * 50_000 + b'"}\n' + row * 450
    world.put("long.json", data)
    assert len(world.run(maxLineBytes="20k", maxPartitionBytes=split)) == 900
    assert f"begins at byte {450 * len(row):,} " in world.states()["long.json"].error


@pytest.mark.parametrize(
    "name", ["back\x08.json", "vertical\x0b.json", "unit\x1f.json", "none\ufffe.json", "\ufffd.json"]
)
def test_keys_that_xml_cannot_spell_are_loaded_and_named_exactly(world, name):
    world.put("a.json")
    world.put(name)
    world.put("z.json")
    assert world.run(max_files=9) == sorted([("a.json", 0, 1), (name, 0, 1), ("z.json", 0, 1)], key=str)


@pytest.mark.parametrize("call", ["read", "write", "delete", "list"])
def test_the_fast_store_names_a_missing_bucket(lake, call):
    calls = {
        "read": lambda store: store.read("no-such-bucket-here", "k"),
        "write": lambda store: store.write("no-such-bucket-here", "k", b""),
        "delete": lambda store: store.delete("no-such-bucket-here", "k"),
        "list": lambda store: list(store.list("no-such-bucket-here", "k/")),
    }
    with pytest.raises(BucketMissing, match="no-such-bucket-here") as raised:
        calls[call](FastStore(lake.endpoint))
    assert raised.value.next_command


@pytest.mark.parametrize("key", ["/begins/with/a/slash", "two//slashes", "up/../down", ""])
def test_the_fast_store_refuses_a_key_that_would_not_come_back_as_written(lake, key):
    with pytest.raises(TerminalError):
        FastStore(lake.endpoint).write(lake.settings.bucket, key, b"x")
    assert list(lake.store.list(lake.settings.bucket)) == []


def test_the_fast_store_writes_reads_and_removes_an_unusual_key(lake):
    store, bucket = FastStore(lake.endpoint), lake.settings.bucket
    e_tag = store.write(bucket, "line\nbreak", b"1", if_absent=True)
    assert store.read(bucket, "line\nbreak") == b"1"
    assert [(info.key, info.e_tag) for info in store.list(bucket)] == [("line\nbreak", e_tag)]
    store.delete(bucket, "line\nbreak")
    assert list(store.list(bucket)) == []


def parquet_of(*values):
    """A column of such values, in a few KB: runs of one byte pack well."""
    out = io.BytesIO()
    rows = pa.table({"m": pa.array([[(value, 1)] for value in values], pa.map_(pa.string(), pa.int32()))})
    parquet.write_table(rows, out, compression="brotli", use_dictionary=False)
    return out.getvalue()


def test_a_small_file_with_a_huge_record_is_quarantined_and_its_neighbours_are_loaded(world):
    """Parquet of 3 KB with a value of 300 MB: the reader bears it, Spark's heap would not."""
    world.put("huge.parquet", parquet_of("a", "b" * (300 << 20)))
    world.put("large.parquet", parquet_of("c" * (40 << 20), "d", "e" * (20 << 20)))
    stream, schema = world.stream(format="parquet"), StructType().add("m", MapType(StringType(), IntegerType()))
    stream.fix_target()
    start = stream.beginning()
    end = stream.next_end(start, max_files=None, max_bytes=None)
    batches = [batch for task in stream.parts(start, end) for batch in stream.read(task, schema)]
    assert sum(batch.num_rows for batch in batches) == 3
    assert len(batches) == 3, "a batch is bounded by bytes, too"
    states = world.states()
    assert states["huge.parquet"].error.startswith("RECORD_TOO_LARGE: a record takes 314,")
    assert states["large.parquet"].ingestion_state == "INGESTED"

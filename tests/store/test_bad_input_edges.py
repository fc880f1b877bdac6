"""Rarer things that senders and stores do: no row is lost or doubled, and what is left out says why."""

import bz2
import gzip
import random
import zlib

import pyarrow as pa
import pytest
import stamina
from pyspark.sql.types import StructType
from store.landed import ROW, SCHEMA

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.reading.columns import METADATA_TYPE
from lakehouse.autoloader.reading.fetch import Fetcher
from lakehouse.errors import StreamFailed, TerminalError
from lakehouse.storage import BucketMissing

TEXT_SCHEMA = StructType().add("value", "string").add("_metadata", METADATA_TYPE)


def outcome(world, name):
    found = world.states()[name]
    return found.ingestion_state, found.rows, (found.error or "").split(":")[0]


def planned(world, **options):
    """The parts of all that is there, and the stream that would read them."""
    stream = world.stream(**options)
    stream.fix_target()
    start = stream.beginning()
    return stream.parts(start, stream.next_end(start, max_files=100, max_bytes=None)), stream


def key_of(world, length):
    """A name whose key has that many bytes, none of its folders more than MinIO takes."""
    free = length - len(world.folder) - len("/x.json")
    return "/".join(["d" * 250] * 9)[: free - 1] + "d/x.json"


@pytest.mark.parametrize("name", ["del\x7f.json", "return\r.json", "separator\u2028.json", " lead.json", "%zz.json"])
def test_more_keys_that_the_store_takes_are_loaded_and_named_exactly(world, name):
    world.put(name)
    assert world.run() == [(name, 0, 1)]
    assert outcome(world, name) == ("INGESTED", 1, "")


def test_the_longest_key_is_loaded_and_a_longer_one_never_gets_there(world):
    name = key_of(world, 1024)
    assert len(world.folder + name) == 1024
    world.put(name)
    with pytest.raises(TerminalError, match="KeyTooLongError"):
        world.put(key_of(world, 1025))
    assert world.run() == [(name, 0, 1)]


@pytest.mark.parametrize("name", ["a/./b.json", "a/../b.json"])
def test_dotted_folders_are_refused_by_the_client_that_would_write_them(world, name):
    with pytest.raises(TerminalError, match="path segment is not supported"):
        world.put(name)


@pytest.fixture
def retries():
    """What is tried again while the test runs."""
    seen = []
    stamina.instrumentation.set_on_retry_hooks([seen.append])
    yield seen
    stamina.instrumentation.set_on_retry_hooks(None)


def test_a_file_that_vanished_is_not_asked_for_again_and_again(world, retries):
    world.put("gone.json")
    world.put("gone\n.json")
    assert world.run(before_read=lambda: world.lake.store.delete_prefix(world.bucket, world.folder)) == []
    assert outcome(world, "gone.json") == outcome(world, "gone\n.json") == ("QUARANTINED", 0, "VANISHED")
    assert retries == []


def test_a_bucket_that_a_worker_does_not_see_fails_the_batch_and_quarantines_nothing(world):
    world.put("a.json")
    world.put("b\n.json")
    parts, stream = planned(world)
    stream._source.fetcher = Fetcher(world.lake.endpoint, "no-such-bucket-here")
    assert len(parts) == 2
    for part in parts:
        receipts = []
        with pytest.raises(BucketMissing, match="no-such-bucket-here") as raised:
            list(stream.rows(part.spans, SCHEMA, receipts))
        assert receipts == []
        assert "workers" in raised.value.next_command
    assert [row[0] for row in world.run()] == ["a.json", "b\n.json"]


@pytest.mark.parametrize("again", ["false", "true"])
def test_a_split_file_that_is_replaced_while_it_is_read_fails_the_batch_and_is_loaded_by_the_next(world, again):
    options = {"maxPartitionBytes": "100k", "allowOverwrites": again}
    world.put("good.json")
    world.put("large.json", ROW * 40_000)
    with pytest.raises(StreamFailed, match="replaced or removed"):
        world.run(before_read=lambda: world.put("large.json", b'{"a": 7}\n' * 20_000), **options)
    rows = world.run(**options) + world.run(**options)
    expected = [("good.json", 0, 1)] + [("large.json", number, 7) for number in range(20_000)]
    if again == "true":  # the new version is a file of its own, and large enough to be split again
        rows = [(name, 0 if name == "good.json" else None, value) for name, _, value in rows]
        expected = [(name, 0 if name == "good.json" else None, value) for name, _, value in expected]
    assert sorted(rows, key=str) == sorted(expected, key=str)


def test_a_split_file_that_is_removed_while_it_is_read_is_listed_by_the_next_run(world):
    world.put("good.json")
    world.put("large.json", ROW * 40_000)
    with pytest.raises(StreamFailed, match="replaced or removed"):
        world.run(
            before_read=lambda: world.lake.store.delete(world.bucket, f"{world.folder}large.json"),
            maxPartitionBytes="100k",
        )
    assert world.run(maxPartitionBytes="100k") == [("good.json", 0, 1)]
    assert outcome(world, "large.json") == ("QUARANTINED", 0, "VANISHED")


def by_arrow(codec):
    def pack(data):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes()

    return pack


CODECS = [
    ("gz", gzip.compress),
    ("bz2", bz2.compress),
    ("deflate", zlib.compress),
    ("zst", by_arrow("zstd")),
    ("lz4", by_arrow("lz4")),
]


@pytest.mark.parametrize(("extension", "pack"), CODECS, ids=[packing[0] for packing in CODECS])
def test_packed_files_that_were_joined_are_read_to_their_end(world, extension, pack):
    name = f"joined.json.{extension}"
    world.put(name, pack(ROW) + pack(b'{"a": 2}\n') + pack(b'{"a": 3}\n'))
    assert world.run() == [(name, 0, 1), (name, 1, 2), (name, 2, 3)]


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
@pytest.mark.parametrize(("extension", "pack"), CODECS, ids=[packing[0] for packing in CODECS])
def test_damage_in_a_later_joined_file_gives_no_row_at_all(world, extension, pack, damage):
    name, second = f"joined.json.{extension}", pack(ROW * 100)
    second = second[:-5] if damage == "cut" else b"damage" + second[6:]
    world.put("good.json")
    world.put(name, pack(ROW) + second)
    assert world.run() == [("good.json", 0, 1)]
    assert outcome(world, name)[:2] == ("QUARANTINED", 0)


def test_the_error_of_a_bomb_names_the_limit_and_how_high_it_is(world):
    world.put("bomb.json.gz", gzip.compress(b" " * 50_000_000))
    assert world.run(maxDecompressedBytes="20m") == []
    assert "cloudFiles.maxDecompressedBytes, 20,971,520 bytes" in world.states()["bomb.json.gz"].error


def test_a_large_packed_file_under_a_plain_name_gives_no_row_from_any_of_its_parts(world):
    world.put("good.json")
    world.put("large.json", gzip.compress(random.Random(1).randbytes(1_000_000)))
    assert world.run(maxPartitionBytes="200k") == [("good.json", 0, 1)]
    assert outcome(world, "large.json") == ("QUARANTINED", 0, "WRONG_EXTENSION")


@pytest.mark.parametrize("end", [b"", b'{"a": 4}', b'{"a": 4}\n'])
def test_lines_between_two_enormous_ones_are_all_loaded(world, end):
    """Both are longer than what is unpacked at a time, so one is left while the other already begins."""
    between = b"".join(b'{"a": %d}\n' % number for number in range(1000))
    enormous = [b'{"b": "' + b"x" * size + b'"}\n' for size in (9 << 20, 20 << 20)]
    world.put("long.json.gz", gzip.compress(enormous[0] + between + enormous[1] + end, 1))
    rows = sorted((record, value) for _, record, value in world.run(maxLineBytes="1m"))
    last = [(1002, 4)] if end else []
    assert rows == [(number + 1, number) for number in range(1000)] + last
    found = world.states()["long.json.gz"]
    assert (found.ingestion_state, found.rows) == ("INGESTED", len(rows))
    for at in (0, len(enormous[0]) + len(between)):
        assert f"LINE_TOO_LONG: the line that begins at byte {at:,} is longer than 1,048,576 bytes" in found.error


def test_text_after_an_enormous_line_ends_where_the_file_ends(world):
    world.put("long.txt.gz", gzip.compress(b"one\n" + b"x" * (20 << 20) + b"\ntwo\n", 1))
    parts, stream = planned(world, format="text", maxLineBytes="1m")
    rows = [row for part in parts for batch in stream.read(part, TEXT_SCHEMA) for row in batch.to_pylist()]
    assert [(row["_metadata"]["record_index"], row["value"]) for row in rows] == [(0, "one"), (2, "two")]


def read_as_one_part(world, **options):
    """The rows and receipts of all files: only what one task reads is joined."""
    parts, stream = planned(world, **options)
    spans = sorted((span for part in parts for span in part.spans), key=lambda span: span.seq)
    receipts = []
    rows = [row for batch in stream.rows(spans, SCHEMA, receipts) for row in batch.to_pylist()]
    found = [(row["_metadata"]["file_name"], row["_metadata"]["record_index"], row["a"]) for row in rows]
    return found, receipts


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_too_long_line_does_not_shift_the_numbers_of_files_that_are_parsed_with_it(world, at):
    lines = [ROW, b'{"a": 2}\n']
    lines.insert(at, b'{"b": "' + b"x" * 3_000_000 + b'"}\n')
    for name, data in (("a.json", ROW), ("b.json", b"".join(lines)), ("c.json", b'{"a": 3}\n')):
        world.put(name, data)
    rows, receipts = read_as_one_part(world, maxLineBytes="1m")
    first, second = [number for number in range(3) if number != at]
    assert rows == [("a.json", 0, 1), ("b.json", first, 1), ("b.json", second, 2), ("c.json", 0, 3)]
    assert [receipt.seq for receipt in receipts if receipt.error] == [2]
    assert [sum(receipt.rows for receipt in receipts if receipt.seq == seq) for seq in (1, 2, 3)] == [1, 2, 1]


MARK = b"\xef\xbb\xbf"
JOINED = {
    "byte order marks": ([MARK + ROW + ROW, MARK + ROW], [[1, 1], [1]]),
    "a record over two files": ([b'{"a":\n', b"2}\n"], [[None], [None]]),
    "a string that is not closed": ([b'{"a": 1, "b": "', b'x"}\n'], [[None], [None]]),
    # three objects on three lines, but not one on each
    "objects that only add up": ([b'{"a": 1}{"a": 2}\n{"a":\n', b"3}\n"], [[1, None], [None]]),
    "one line of zeros": ([b"\x00" * 1000, ROW], [[None], [1]]),
    "only carriage returns": ([b'{"a": 1}\r{"a": 2}', ROW], [[1, 2], [1]]),
    "blank lines": ([b"   \n\t\n\n", ROW], [[], [1]]),
    "braces without end": ([b"{" * 100_000, ROW], [[None], [1]]),
    "brackets without end": ([b'{"a":' + b"[" * 100_000 + b"\n", ROW], [[None], [1]]),
}


@pytest.mark.parametrize(("files", "values"), JOINED.values(), ids=JOINED)
def test_odd_text_stays_within_its_file_when_files_are_parsed_as_one_input(world, files, values):
    for number, data in enumerate(files):
        world.put(f"{number}.json", data)
    rows, receipts = read_as_one_part(world)
    assert [[value for name, _, value in rows if name == f"{number}.json"] for number in range(len(files))] == values
    assert [(receipt.seq, receipt.rows, receipt.state, receipt.error) for receipt in receipts] == [
        (seq, len(expected), "INGESTED", "") for seq, expected in enumerate(values, 1)
    ]


@pytest.mark.parametrize("end", [b"", b"\n"], ids=["without", "with"])
def test_wherever_a_file_is_cut_each_line_is_in_one_part(world, end):
    data = b"a\nbb\n\n\nccc\r\n\n" + b"d" * 12 + b"\n\neeee" + end
    world.put("cut.txt", data)
    [there] = world.lake.store.list(world.bucket, world.folder)
    fetcher = Fetcher(world.lake.endpoint, world.bucket)
    file = (1, there.key, there.e_tag, len(data), there.last_modified)
    for step in range(1, len(data) + 1):
        spans = [Span(*file, start, min(step, len(data) - start)) for start in range(0, len(data), step)]
        read = [fetcher.lines(span, 1 << 20) for span in spans]
        assert b"".join(lines for lines, _, _ in read) == data, step
        for span, (lines, begin, too_long) in zip(spans, read, strict=True):
            assert data[begin:].startswith(lines)
            assert not lines or span.start <= begin < span.start + span.length
            assert too_long is None

"""What senders do to a landing folder: every case ends with rows or with a reason, and the other files are loaded."""

import bz2
import gzip
import zlib

import pytest
from store.landed import ROW

from lakehouse.autoloader.options.paths import key_uri, uri_key
from lakehouse.errors import TerminalError

GOOD = ("good.json", 0, 1)
KEYS = [
    "with space.json",
    "100%+#?&=.json",
    "%2F%20.json",
    "emoji-\U0001f9ca-\u017c\u00f3\u0142\u0107.json",
    "quote'\"`.json",
    "x" * 250 + ".json",
    "/".join(["d" * 200] * 4) + "/x.json",
    "*[{~^}]|<>!$&,;:@().json",
    "line\nbreak-and\ttab.json",
    "e\u0301-is-not-\u00e9.json",
    "back\\slash.json",
]


def test_every_key_that_the_store_takes_is_loaded_and_named_exactly(world):
    for key in KEYS:
        world.put(key)
    assert world.run(max_files=100) == sorted(((key, 0, 1) for key in KEYS), key=str)
    assert {uri_key(key_uri("b", key)) for key in KEYS} == set(KEYS)
    assert {state.ingestion_state for state in world.states().values()} == {"INGESTED"}


@pytest.mark.parametrize("key", ["a//b.json", "x" * 256 + ".json"])
def test_keys_that_the_store_refuses_never_get_there(world, key):
    with pytest.raises(TerminalError):
        world.put(key)


def test_folder_markers_and_empty_objects_are_no_input_until_they_have_content(world):
    world.put("folder/", b"")
    world.put("late.json", b"")
    world.put("good.json")
    assert world.run() == [GOOD]
    world.put("late.json", b'{"a": 2}')
    assert world.run() == [("late.json", 0, 2)]
    assert sorted(world.states()) == ["good.json", "late.json"]


@pytest.mark.parametrize(
    ("options", "state"), [({}, "QUARANTINED"), ({"ignoreMissingFiles": "true"}, "SKIPPED_MISSING")]
)
def test_a_file_that_vanished_is_listed_and_the_rest_is_loaded(world, options, state):
    world.put("good.json")
    world.put("gone.json")

    def remove():
        world.lake.store.delete(world.bucket, f"{world.folder}gone.json")

    assert world.run(before_read=remove, **options) == [GOOD]
    found = world.states()["gone.json"]
    assert (found.ingestion_state, found.error.split(":")[0]) == (state, "VANISHED")


@pytest.mark.parametrize("again", ["false", "true"])
def test_of_a_file_that_is_replaced_before_it_is_read_one_version_is_loaded(world, again):
    world.put("good.json")
    world.put("new.json")
    replaced = []

    def replace():
        if not replaced:
            replaced.append(True)
            world.put("new.json", b'{"a": 7}\n{"a": 8}\n')

    rows = world.run(before_read=replace, allowOverwrites=again)
    rows += world.run(allowOverwrites=again)
    assert sorted(rows) == [GOOD, ("new.json", 0, 7), ("new.json", 1, 8)]
    assert world.run(allowOverwrites=again) == []


DAMAGED = [
    ("cut.json.gz", gzip.compress(ROW * 5000)[:-20], "TRUNCATED"),
    ("empty-member.json.gz", b"\x1f\x8b\x08", "TRUNCATED"),
    ("plain.json.gz", ROW, "NOT_GZIP"),
    ("packed.json", gzip.compress(ROW), "WRONG_EXTENSION"),
    ("cut.json.bz2", bz2.compress(ROW * 5000)[:-20], "TRUNCATED"),
    ("cut.json.deflate", zlib.compress(ROW * 5000)[:-20], "TRUNCATED"),
    ("noise.json.zst", b"\x28\xb5\x2f\xfdnoise", "NOT_ZSTD"),
    ("bomb.json.gz", gzip.compress(b" " * 50_000_000 + ROW), "TOO_LARGE_UNPACKED"),
]


@pytest.mark.parametrize(("name", "data", "reason"), DAMAGED, ids=[damaged[0] for damaged in DAMAGED])
def test_a_damaged_file_goes_to_quarantine_with_its_reason_and_gives_no_row(world, name, data, reason):
    world.put("good.json")
    world.put(name, data)
    assert world.run(maxDecompressedBytes="20m") == [GOOD]
    found = world.states()[name]
    assert (found.ingestion_state, found.error.split(":")[0], found.rows) == ("QUARANTINED", reason, 0)
    assert world.names() == {"good.json", name}, "it stays where it is"


def test_corrupt_files_can_be_skipped(world):
    world.put("good.json")
    world.put("cut.json.gz", DAMAGED[0][1])
    assert world.run(ignoreCorruptFiles="true") == [GOOD]
    assert world.states()["cut.json.gz"].ingestion_state == "SKIPPED_CORRUPTED"


def test_a_gzip_of_several_members_is_read_to_its_end(world):
    world.put("two.json.gz", gzip.compress(ROW) + gzip.compress(b'{"a": 2}\n'))
    assert world.run() == [("two.json.gz", 0, 1), ("two.json.gz", 1, 2)]


LONG = b'{"a": 2, "b": "' + b"x" * 3_000_000 + b'"}\n'


@pytest.mark.parametrize("place", ["first", "middle", "last", "last without line feed"])
@pytest.mark.parametrize("how", ["whole", "split", "gzip"])
def test_a_line_that_is_too_long_is_left_out_and_noted_and_the_others_keep_their_numbers(world, place, how):
    lines = [ROW] * 6
    at = {"first": 0, "middle": 3}.get(place, 6)
    lines.insert(at, LONG)
    data = b"".join(lines)
    data = data.removesuffix(b"\n") if place == "last without line feed" else data
    name = "long.json.gz" if how == "gzip" else "long.json"
    world.put(name, gzip.compress(data) if how == "gzip" else data)
    options = {"maxPartitionBytes": "500k"} if how == "split" else {}
    rows = world.run(maxLineBytes="1m", **options)
    numbers = [record for file, record, _ in rows if file == name]
    if how == "split":  # in a later block records are counted from the block's first byte
        assert len(set(numbers)) == 6
    else:
        assert numbers == [number for number in range(7) if number != at]
    assert [value for *_, value in rows] == [1] * len(rows)
    assert len(rows) == 6
    found = world.states()[name]
    assert (found.ingestion_state, found.rows) == ("INGESTED", 6)
    assert found.error.startswith("LINE_TOO_LONG")
    assert "1,048,576" in found.error


def test_a_line_of_exactly_the_limit_is_loaded(world):
    line = b'{"a": 3, "b": "%s"}' % (b"x" * (1_048_576 - 17))
    assert len(line) == 1 << 20
    world.put("edge.json", ROW + line + b"\n" + ROW)
    assert [value for *_, value in world.run(maxLineBytes="1m")] == [1, 3, 1]
    assert world.states()["edge.json"].error is None


TEXTS = [
    ("no line feed at the end", b'{"a": 1}\n{"a": 2}', [1, 2]),
    ("carriage returns", b'{"a": 1}\r\n{"a": 2}\r\n', [1, 2]),
    ("only line feeds", b"\n\n\n", []),
    ("byte order mark", b"\xef\xbb\xbf" + ROW, [1]),
    ("bytes that are no text", b'{"a": 1}\n\xff\xfe\xff\n{"a": 2}\n', [1, None, 2]),
    ("zeros", b'{"a": 1}\n\x00\x00\x00\n{"a": 2}\n', [1, None, 2]),
]


@pytest.mark.parametrize(("data", "values"), [text[1:] for text in TEXTS], ids=[text[0] for text in TEXTS])
def test_odd_text_gives_a_row_for_every_record(world, data, values):
    world.put("odd.json", data)
    assert [value for *_, value in world.run()] == values
    assert world.states()["odd.json"].ingestion_state == "INGESTED"

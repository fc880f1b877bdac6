"""``unique`` without Spark: new keys are held against an index of the old ones, and a hit is looked at by its value."""

import random
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from counted import SparkWasAsked, found, opened, place, remove_data_files, write

from lakehouse.checks.kept import finding_of
from lakehouse.checks.unique import Unique
from lakehouse.counting import copies, keys, spill
from lakehouse.counting.copies import Key
from lakehouse.counting.data_files import DataFileMissing, DataFiles
from lakehouse.counting.hashes import BITS, hashes_of
from lakehouse.counting.keys import count_keys
from lakehouse.counting.segments import without
from lakehouse.counting.state import read_state

NAN = float("nan")
TABLE = "bronze.things"


def things(first, end, file="f", **more):
    return [{"id": number, "_source_file": f"{file}{number % 3}", **more} for number in range(first, end)]


def numbers(lake, check=None, **options):
    finding = found(lake, check or Unique(columns="id"), **options)["unique"]
    return tuple(finding.numbers[name] for name in ("duplicate_keys", "surplus_rows", "examined_rows"))


def counted(lake):
    """By the index where it can be, and how many data files were read; None for all."""
    files = DataFiles.of(lake, TABLE)
    done = count_keys(lake, TABLE, files, Key((("id",),), "_source_file"), 20)
    return (done.copies.keys, done.copies.rows, done.examined), done.read


@pytest.mark.parametrize(
    ("values", "doubled"),
    [
        (pa.array(["a", "b", "a", None, None, "", "é" * 9, "é" * 9]), 2),
        (pa.array([1, -1, 1, None, None], pa.int32()), 1),
        (pa.array([0.0, -0.0, NAN, -NAN, 1.0, None]), 2),
        (pa.array([0.5, 0.5, NAN], pa.float32()), 1),
        (pa.array([Decimal("1.50"), Decimal("-1.50"), Decimal("1.5"), None], pa.decimal128(30, 2)), 1),
        (pa.array([date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 1)]), 1),
        (pa.array([datetime(2020, 1, 1, tzinfo=UTC), datetime(1960, 1, 1, tzinfo=UTC)] * 2), 2),
        (pa.array([True, False, True, None]), 1),
        (pa.array([b"\0", b"", b"\0\0", b"\0"]), 1),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_equal_keys_are_found_whatever_their_type_and_a_null_is_no_key(lake, values, doubled):
    write(lake, pa.table({"id": values}))
    assert numbers(lake) == (doubled, doubled, len(values))
    assert numbers(lake) == (doubled, doubled, len(values)), "from what is kept"


def test_a_key_of_several_columns_may_lie_in_structures_and_has_no_null(lake):
    rows = [{"in": {"Id": 1}, "x.y": "a"}, {"in": {"Id": 1}, "x.y": "b"}, {"in": {"Id": 1}, "x.y": "a"}]
    write(lake, [*rows, {"in": None, "x.y": "a"}, {"in": {"Id": None}, "x.y": "a"}, {"in": {"Id": 2}, "x.y": None}])
    check = Unique(columns=["in.id", "`x.y`"])
    assert numbers(lake, check) == (1, 1, 6)
    assert found(lake, check)["unique"].sample == ({"id": 1, "x.y": "a", "copies": 2, "source_files": "unknown"},)


def test_the_sample_has_the_worst_first_with_their_files_and_the_cure_names_those(lake):
    write(lake, things(0, 10))
    write(lake, [*things(5, 7, "again"), *things(5, 6, "again"), {"id": 9, "_source_file": None}])
    for _ in range(2):
        finding = found(lake, Unique(columns="ID"))["unique"]
        assert finding.sample == (
            {"ID": 5, "copies": 3, "source_files": "again2, f2"},
            {"ID": 6, "copies": 2, "source_files": "again0, f0"},
            {"ID": 9, "copies": 2, "source_files": "f0"},
        )
        assert "--files again2 --files f2" in finding.next_command


def test_the_column_that_names_the_file_may_be_the_key_itself(lake):
    write(lake, things(0, 4))
    assert numbers(lake, Unique(columns="_source_file")) == (1, 1, 4)
    [row] = found(lake, Unique(columns=["_source_file"]))["unique"].sample
    assert row == {"_source_file": "f0", "copies": 2, "source_files": "f0"}


def test_a_key_of_a_list_is_left_to_spark(lake):
    write(lake, [{"id": [1]}])
    with pytest.raises(SparkWasAsked):
        found(lake, Unique(columns="id"))


def test_old_files_are_not_read_for_new_keys_and_a_doubled_old_key_is_found(lake):
    write(lake, things(0, 1000))
    assert counted(lake) == ((0, 0, 1000), None)
    old = list(DataFiles.of(lake, TABLE).sizes)
    write(lake, things(1000, 1050))
    kept = lake.store.read(lake.settings.bucket, _key_of(lake, old[0]))
    remove_data_files(lake, old)
    assert counted(lake) == ((0, 0, 1050), 1)
    write(lake, things(500, 501))
    with pytest.raises(DataFileMissing):  # a hit is believed only when the rows themselves were seen
        counted(lake)
    lake.store.write(lake.settings.bucket, _key_of(lake, old[0]), kept)
    assert counted(lake) == ((1, 2, 1051), 1)
    write(lake, things(2000, 2001))
    remove_data_files(lake, old)
    assert counted(lake) == ((1, 2, 1052), 1), "what was found once is remembered"


def bits(lake):
    files = DataFiles.of(lake, TABLE)
    folder = f"{lake.settings.user}/_checks/{TABLE}/"
    below = [info.key.removeprefix(folder) for info in lake.store.list(lake.settings.bucket, folder)]
    [name] = [key.removesuffix(".parquet") for key in below if "/" not in key]
    return read_state(lake, TABLE, name, files.table_id).manifest["bits"]


def _key_of(lake, path):
    return lake.settings.table_uri(TABLE).split("/", 3)[3] + f"/{path}"


def test_two_keys_with_one_hash_are_no_duplicates(lake):
    first, second = (_with_hash(low) for low in (1, 2))
    (first_hash, other), _ = hashes_of([pa.array([first, second])])
    assert first_hash == other
    write(lake, [{"id": first, "_source_file": "f"}, *things(0, 500)])
    assert numbers(lake) == (0, 0, 501)
    write(lake, [{"id": second, "_source_file": "f"}])
    assert numbers(lake) == (0, 0, 502)
    write(lake, [{"id": second, "_source_file": "f"}])
    assert numbers(lake) == (1, 1, 503)
    assert found(lake, Unique(columns="id"))["unique"].sample[0]["id"] == second


def _with_hash(low):
    """An integer whose hash differs from others of this function only in bits that are cut off."""
    whole = (12345 << (64 - BITS)) | (low & 0xFFFF)
    value = _unmixed(_unmixed(whole))
    return value - 2**64 if value >= 2**63 else value


def _unmixed(word):
    mask = 2**64 - 1
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, None)):
        undone = word
        for _ in range(64 // shift + 1):
            undone = word ^ (undone >> shift)
        word = undone * pow(factor, -1, 2**64) & mask if factor else undone
    return word


def test_rows_that_are_rewritten_are_no_new_ones(lake):
    for number in range(10):
        write(lake, things(number * 100, number * 100 + 100))
    assert counted(lake) == ((0, 0, 1000), None)
    opened(lake).delete("id = 150")
    assert counted(lake) == ((0, 0, 999), 1)
    write(lake, things(150, 151))
    assert counted(lake) == ((0, 0, 1000), 1), "it came back, and is there once"
    opened(lake).update(updates={"id": "7"}, predicate="id = 950")
    assert counted(lake) == ((1, 2, 1000), 1), "a value that somebody tampered with"
    opened(lake).delete("id = 7")
    assert counted(lake)[0] == (0, 0, 998)
    opened(lake).optimize.compact()
    assert counted(lake)[0] == (0, 0, 998)


def test_after_any_changes_the_index_says_what_a_count_of_all_keys_says(lake, monkeypatch):
    assert_index_agrees(lake, monkeypatch, 0)


@pytest.mark.soak("six other orders of changes")
@pytest.mark.parametrize("seed", range(1, 7))
def test_after_many_changes_the_index_says_what_a_count_of_all_keys_says(lake, monkeypatch, seed):
    assert_index_agrees(lake, monkeypatch, seed)


def assert_index_agrees(lake, monkeypatch, seed):
    monkeypatch.setattr(keys, "_MOST_LATER", 2)
    monkeypatch.setattr(spill, "_PART_KEYS", 100)
    monkeypatch.setattr(spill, "_HELD_KEYS", 64)
    monkeypatch.setattr(copies, "_ROWS_AT_ONCE", 3)
    chance = random.Random(seed)
    for number in range(8):
        write(lake, things(number * 60, number * 60 + 60))
    by_index = 0
    for step in range(14):
        there = lake.rows(TABLE).to_table(columns=["id"])["id"].to_pylist()
        match chance.randrange(5):
            case 0 | 1 | 2:
                first = 1000 + step * 10
                old = [chance.choice(there) for _ in range(chance.randrange(3))]
                write(lake, [*things(first, first + 8), *({"id": old_id, "_source_file": "again"} for old_id in old)])
            case 3:
                opened(lake).delete(f"id IN ({chance.choice(there)}, {chance.choice(there)})")
            case 4:
                opened(lake).update(updates={"id": str(chance.choice(there))}, predicate=f"id = {chance.choice(there)}")
        got, read = counted(lake)
        by_index += read is not None
        times = Counter(lake.rows(TABLE).to_table(columns=["id"])["id"].to_pylist())
        several = [count for count in times.values() if count > 1]
        assert got == (len(several), sum(several), times.total()), f"seed {seed}, step {step}"
    assert by_index >= 7
    before = bits(lake)
    write(lake, things(5000, 5400))
    assert counted(lake)[1] == 1
    assert bits(lake) == before + 1, "parts that have grown are cut"
    at = place(lake, Unique(columns="id"), full=True)
    Unique(columns="id").examine(at)
    assert finding_of(at).passed


def test_a_full_count_finds_a_key_that_the_index_lost_and_writes_it_anew(lake):
    write(lake, things(0, 300))
    numbers(lake)
    folder = f"{lake.settings.user}/_checks/{TABLE}/"
    [segment] = [
        info.key
        for info in lake.store.list(lake.settings.bucket, folder)
        if info.key.count("/") == folder.count("/") + 1
    ]
    segments, name = keys.Segments(lake, segment.rpartition("/")[0] + "/"), segment.rpartition("/")[2]
    lost = segments.write(segments.read(name)[1:])
    lake.store.write(lake.settings.bucket, segment, lake.store.read(lake.settings.bucket, segments.folder + lost))
    at = place(lake, Unique(columns="id"), full=True)
    assert Unique(columns="id").examine(at).passed
    finding = finding_of(at)
    assert not finding.passed and finding.sample[0]["of"] == "keys of unique"
    assert len(segments.names()) == 1, "what nobody needs is removed"
    again = place(lake, Unique(columns="id"), full=True)
    Unique(columns="id").examine(again)
    assert finding_of(again).passed


def test_an_index_whose_parts_have_become_too_few_agrees_with_a_full_count(lake, monkeypatch):
    monkeypatch.setattr(spill, "_PART_KEYS", 100)
    write(lake, things(0, 190))
    numbers(lake)
    before = bits(lake)
    write(lake, things(190, 270))
    at = place(lake, Unique(columns="id"), full=True)
    assert Unique(columns="id").examine(at).passed and finding_of(at).passed
    assert bits(lake) == before + 1
    opened(lake).delete("id > 20")
    again = place(lake, Unique(columns="id"), full=True)
    assert Unique(columns="id").examine(again).passed
    assert finding_of(again) is None, "so much went that nothing kept was of use"


def test_an_index_that_is_gone_or_damaged_is_made_anew(lake):
    write(lake, things(0, 300))
    numbers(lake)
    folder = f"{lake.settings.user}/_checks/{TABLE}/"
    for content in (b"nothing", None):
        for info in list(lake.store.list(lake.settings.bucket, folder)):
            if content is None:
                lake.store.delete(lake.settings.bucket, info.key)
            elif info.key.count("/") > folder.count("/"):
                lake.store.write(lake.settings.bucket, info.key, content)
        write(lake, things(10, 11))
        assert numbers(lake)[:2] == (1, 1 if content else 2)


def test_hashes_go_as_often_as_they_are_gone():
    there = np.array([1, 2, 2, 2, 5, 7, 7], np.uint64)
    assert without(there, np.array([2, 2, 7, 9], np.uint64)).tolist() == [1, 2, 5, 7]


def test_text_has_one_hash_wherever_it_stands():
    chance = random.Random(5)
    texts = ["".join(chance.choice("abé\0") for _ in range(chance.randrange(40))) for _ in range(2000)]
    whole, _ = hashes_of([pa.array(texts)])
    for first in (0, 1, 7, 1993):
        part, _ = hashes_of([pa.array(texts).slice(first, 50)])
        assert (part == whole[first : first + 50]).all()
    assert len(set(zip(texts, whole.tolist(), strict=True))) == len(set(texts)) == len(set(whole.tolist()))

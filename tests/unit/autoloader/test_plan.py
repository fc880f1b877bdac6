"""Batches cut into parts: every byte once, whatever the sizes."""

from collections import defaultdict
from datetime import UTC, datetime

import hypothesis.strategies as st
from hypothesis import given

from lakehouse.autoloader.files.plan import plan
from lakehouse.autoloader.files.segments import FileVersion

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def version(seq, size, name="x.json"):
    return FileVersion(seq, "b", f"{seq}-{name}", "e", size, NOW, NOW, True, "s")


def cut(files, *, lines=True, parts=2, most=100, **options):
    return plan(files, lines=lines, min_partitions=parts, max_partition_bytes=most, **options)


@given(st.lists(st.integers(1, 200), max_size=30), st.integers(1, 8), st.integers(1, 100), st.booleans())
def test_every_byte_is_in_one_part(sizes, parts, most, lines):
    files = [version(seq, size) for seq, size in enumerate(sizes, 1)]
    made = cut(files, lines=lines, parts=parts, most=most)
    spans = defaultdict(list)
    for part in made:
        for span in part:
            spans[span.seq].append((span.start, span.length))
    for file in files:
        end = 0
        for start, length in sorted(spans[file.seq]):
            assert start == end
            assert length > 0
            end += length
        assert end == file.size_bytes
    assert made == cut(files, lines=lines, parts=parts, most=most), "the same at every call"
    assert all(part == sorted(part, key=lambda span: (span.seq, span.start)) for part in made)
    assert all(made), "no task without work"


def test_large_files_of_lines_are_split_and_others_are_not():
    assert [len(part) for part in cut([version(1, 1000)])] == [1] * 10
    assert cut([version(1, 1000)], lines=False)[0][0].whole
    assert cut([version(1, 1000, "x.json.gz")])[0][0].whole
    assert cut([version(1, 1000)], may_split=lambda file: False)[0][0].whole


def test_small_files_are_packed_into_as_few_parts_as_are_wanted():
    made = cut([version(seq, 10) for seq in range(1, 101)], parts=4, most=10_000)
    assert [len(part) for part in made] == [25] * 4


def test_nothing_makes_no_part():
    assert cut([]) == []

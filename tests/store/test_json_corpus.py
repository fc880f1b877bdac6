"""JSON documents of every kind through the whole reader: each becomes the rows that the corpus states, none is lost."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from store.json_corpus import BLANK, COLUMNS, EITHER, INVALID, KEEP, KEPT, RESCUED, VALID

from lakehouse.autoloader.reading.columns import METADATA_TYPE

CORPUS = [
    *((text, rows) for text, rows in VALID.items()),
    *((text, KEEP) for text in INVALID),
    *((text, rows) for text, rows in EITHER.items()),
]
LINES = [text if isinstance(text, bytes) else text.encode() for text, _ in CORPUS]
STATED = [rows if isinstance(rows, list) else [rows] for _, rows in CORPUS]
SEPARATE = [
    ("_rescued_data", b"", {}),
    ("_rescued_data", b"\r\n", {"maxPartitionBytes": "2k"}),
    ("_corrupt_record", b"\n", {}),
]
TOGETHER = [{}, *({"maxPartitionBytes": size} for size in ("400", "20k"))]


def load(world, keep, **options):
    """The rows of all that is there, in the order of their records, and what became of each file."""
    schema = COLUMNS.fieldNames()
    whole = type(COLUMNS)([*COLUMNS.fields]).add(keep, "string").add("_metadata", METADATA_TYPE)
    stream = world.stream(**options)
    stream.fix_target()
    start = stream.beginning()
    parts = stream.parts(start, stream.next_end(start, max_files=10_000, max_bytes=None))
    rows = [row for part in parts for batch in stream.read(part, whole) for row in batch.to_pylist()]
    rows.sort(key=lambda row: (row["_metadata"]["file_name"], row["_metadata"]["record_index"]))
    found = [({name: row[name] for name in schema}, row[keep], row["_metadata"]) for row in rows]
    return found, world.states(), len(parts)


def expected(line, stated, keep):
    """The values of a row, and what its column for the rest holds."""
    values = {name: stated.get(name) for name in COLUMNS.fieldNames()}
    kept = stated.get(KEPT)
    text = (
        kept if isinstance(kept, str) and kept != "mismatch" else line.decode(errors="replace").removeprefix("\ufeff")
    )
    if keep == "_corrupt_record":
        return values, text if kept else None
    rest = dict(stated.get(RESCUED, {})) | ({"_corrupt_record": text} if kept and kept != "mismatch" else {})
    return values, rest or None


def seen(values, rest, keep):
    if keep == "_rescued_data" and rest is not None:
        rest = json.loads(rest)
        assert rest.pop("_file_path").startswith("s3a://")
    return values, rest


def same(ours, stated):
    """Equal, NaN to itself, minus zero to itself alone; ``...`` stands for what is too deep to write down."""
    if stated is ...:
        return ours is not None
    if isinstance(stated, float):
        return isinstance(ours, float) and (repr(ours) == repr(stated) or (math.isnan(ours) and math.isnan(stated)))
    if isinstance(stated, dict) and isinstance(ours, dict):
        return ours.keys() == stated.keys() and all(same(ours[name], stated[name]) for name in stated)
    if isinstance(stated, tuple):
        return all(same(*pair) for pair in zip(ours, stated, strict=True))
    return type(ours) is type(stated) and ours == stated


def differing(rows, wanted):
    return [(mine, other) for mine, other in zip(rows, wanted, strict=False) if not same(mine, other)]


def test_the_corpus_is_large_and_has_no_document_twice():
    assert len(set(LINES)) == len(LINES)
    assert not any(b"\n" in line for line in LINES)
    assert (len(VALID) >= 80, len(INVALID) >= 150, len(EITHER) >= 35) == (True, True, True)
    for text in VALID:
        assert isinstance(json.loads(text), dict)
    for text in INVALID:
        with pytest.raises((ValueError, RecursionError, AssertionError)):
            document = json.loads(text.decode() if isinstance(text, bytes) else text)
            assert isinstance(document, dict), "Spark takes a top-level object, or an array of such"


@pytest.mark.parametrize("keep", ["_rescued_data", "_corrupt_record"])
@pytest.mark.parametrize("options", TOGETHER, ids=str)
def test_all_documents_in_one_file_become_what_is_stated(world, options, keep):
    world.put("all.json", b"\n".join(LINES))
    rows, states, parts = load(world, keep, **options)
    wanted = [expected(line, row, keep) for line, stated in zip(LINES, STATED, strict=True) for row in stated]
    assert differing([seen(*row[:2], keep) for row in rows], wanted) == []
    assert len(rows) == len(wanted) == states["all.json"].rows
    assert (states["all.json"].ingestion_state, states["all.json"].error) == ("INGESTED", None)
    assert (parts > 1) == ("maxPartitionBytes" in options)
    if not options:  # in a split file a record has another number than its line
        without_row = [number for number, stated in enumerate(STATED) if not stated]
        assert {row[2]["record_index"] for row in rows} == set(range(len(LINES))).difference(without_row)
        assert {LINES[number].strip() for number in without_row} == {b"[]", b"[ ]"}


@pytest.mark.parametrize(("keep", "end", "options"), SEPARATE, ids=str)
def test_each_document_in_its_own_file_becomes_what_is_stated(world, keep, end, options):
    names = [f"{number:03}.json" for number in range(len(LINES))]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(world.put, names, [line + end for line in LINES]))
    rows, states, parts = load(world, keep, **options)
    assert (parts > 2) == bool(options)
    by_file = {name: [] for name in names}
    for row in rows:
        by_file[row[2]["file_name"]].append(row)
    for name, line, stated in zip(names, LINES, STATED, strict=True):
        mine, state = by_file[name], states[name]
        if line.startswith((b"\xff\xfe", b"\xfe\xff")):
            assert (mine, state.ingestion_state, state.error[:9]) == ([], "QUARANTINED", "NOT_UTF8:"), line
            continue
        wanted = [expected(line, row, keep) for row in stated]
        assert differing([seen(*row[:2], keep) for row in mine], wanted) == []
        assert (len(mine), state.rows, state.ingestion_state) == (len(wanted), len(wanted), "INGESTED"), line
        assert {row[2]["record_index"] for row in mine} <= {0}
    assert len(rows) == sum(state.rows for state in states.values())
    quarantined = [file_state for file_state in states.values() if file_state.ingestion_state == "QUARANTINED"]
    lines_with_a_row = len({row[2]["file_name"] for row in rows})
    assert lines_with_a_row + len(quarantined) + sum(not stated for stated in STATED) == len(LINES)
    assert len(quarantined) == 1


def test_blank_lines_between_documents_are_no_rows_and_shift_nothing(world):
    blank = [text.encode() for text in BLANK]
    lines = [part for line in LINES for part in (blank[len(line) % len(blank)], line)]
    world.put("all.json", b"\n".join(lines) + b"\n\n")
    rows, states, _ = load(world, "_rescued_data")
    wanted = [
        expected(line, row, "_rescued_data") for line, stated in zip(LINES, STATED, strict=True) for row in stated
    ]
    assert differing([seen(*row[:2], "_rescued_data") for row in rows], wanted) == []
    assert len(rows) == len(wanted) == states["all.json"].rows
    assert all(row[2]["record_index"] % 2 == 1 for row in rows)

"""badRecordsPath without Spark: records that give no row are kept in a table, each once, whatever dies in between."""

import gzip
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from command import lakehouse_here, lakehouse_json_here
from deltalake import DeltaTable
from pyspark.sql.types import StructType
from store.landed import ROW, SCHEMA

from lakehouse.autoloader.options.paths import uri_key
from lakehouse.autoloader.outcomes import bad_records
from lakehouse.autoloader.outcomes import bad_records_table as quarantine
from lakehouse.autoloader.outcomes.bad_records import FinishedBatch
from lakehouse.autoloader.reading.columns import METADATA_TYPE
from lakehouse.errors import TerminalError

LINES = [b'{"a": 1}', b"no json", b'{"a": "x"}', b'{"a": 2} tail', b'{"a": 3', b'{"a": 4}', b"\xff\xfe"]
BAD = [1, 2, 3, 4, 6]


class Quarantine:
    """A place for bad records in the lake's bucket."""

    def __init__(self, world):
        self.world = world
        self.uri = f"s3a://{world.lake.settings.bucket}/bad"

    def delta(self):
        return DeltaTable(self.uri.replace("s3a", "s3"), storage_options=self.world.lake.endpoint.deltalake_options())

    def rows(self):
        rows = self.delta().to_pyarrow_dataset().to_table().to_pylist()
        return sorted(rows, key=lambda row: (row["file_path"], row["record"], row["raw"]))

    def places(self):
        folder = self.world.folder
        return [(uri_key(row["file_path"]).removeprefix(folder), row["record"]) for row in self.rows()]

    def staged(self):
        return self.below("journal/bad_records/")

    def below(self, folder):
        lake = self.world.lake
        return {info.key.removeprefix(folder) for info in lake.store.list(lake.settings.bucket, folder)}


@pytest.fixture
def kept(world):
    return Quarantine(world)


def test_records_that_give_no_row_are_in_the_table_with_place_text_and_reason(world, kept):
    world.put("one.json", b"\n".join(LINES))
    rows = world.run(badRecordsPath=kept.uri)
    assert rows == [("one.json", 0, 1), ("one.json", 5, 4)]
    found = kept.rows()
    assert [row["record"] for row in found] == BAD
    assert [row["raw"] for row in found] == [LINES[at].decode(errors="replace") for at in BAD]
    assert [row["reason"].split(":")[0] for row in found] == ["MALFORMED", "WRONG_TYPE"] + ["MALFORMED"] * 3
    assert found[1]["reason"] == "WRONG_TYPE: the value of a is not of its column's type"
    assert found[2]["reason"] == "MALFORMED: text after the document"
    assert {(row["sequence"], row["batch_end"], row["quarantined_at"]) for row in found} == {(1, 1, world.now)}
    state = world.states()["one.json"]
    assert (state.ingestion_state, state.rows, state.bad_records) == ("INGESTED", 2, 5)
    assert kept.staged() == set()
    assert world.run(badRecordsPath=kept.uri) == []
    assert len(kept.rows()) == 5


@pytest.mark.parametrize("local", [False, True])
def test_the_table_is_where_it_was_asked_for_whatever_signs_are_in_its_name(world, kept, tmp_path, local):
    name = "bad of 5% #1?/ä"
    uri = f"file://{tmp_path}/{name}" if local else f"{kept.uri}/{name}"
    world.put("one.json", b"no json")
    assert world.run(badRecordsPath=uri) == []
    table = quarantine.QuarantineTable(uri, lambda: world.lake.endpoint)
    assert [row["raw"] for row in table.newest(5)] == ["no json"]
    log = "_delta_log/00000000000000000000.json"
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")} if local else kept.below("bad/")
    assert f"{name}/{log}" in found


def test_nothing_bad_makes_no_table(world, kept):
    world.put("one.json")
    assert len(world.run(badRecordsPath=kept.uri)) == 1
    assert kept.below("bad/") == set()


@pytest.mark.parametrize("multi_line", ["false", "true"])
def test_with_a_rescued_column_a_wrong_type_keeps_its_row(world, kept, multi_line):
    schema = StructType().add("a", "long").add("kept", "string").add("_metadata", METADATA_TYPE)
    world.put("one.json", b'{"a": "x"}')
    world.put("two.json", b'{"a": "x"')
    stream = world.stream(badRecordsPath=kept.uri, rescuedDataColumn="kept", multiLine=multi_line)
    start = stream.beginning()
    end = stream.next_end(start, max_files=9, max_bytes=None)
    rows = [
        row for task in stream.parts(start, end) for batch in stream.read(task, schema) for row in batch.to_pylist()
    ]
    assert [(row["a"], '"a":"x"' in row["kept"]) for row in rows] == [(None, True)]
    assert stream.next_end(end, max_files=9, max_bytes=None) == end
    assert kept.places() == [("two.json", 0)]


def test_a_column_for_corrupt_records_stays_empty(world, kept):
    schema = StructType().add("a", "long").add("_corrupt_record", "string")
    world.put("one.json", b"\n".join(LINES))
    stream = world.stream(badRecordsPath=kept.uri)
    start = stream.beginning()
    tasks = stream.parts(start, stream.next_end(start, max_files=9, max_bytes=None))
    rows = [row for task in tasks for batch in stream.read(task, schema) for row in batch.to_pylist()]
    assert rows == [{"a": 1, "_corrupt_record": None}, {"a": 4, "_corrupt_record": None}]


@pytest.mark.parametrize("many", [3, 40_000])
def test_csv_with_plain_and_with_odd_blocks(world, kept, many):
    lines = ["a", *["1"] * many, "x", "2,3", *["1"] * many, '"4"', '"y']
    world.put("one.csv", "\n".join(lines).encode())
    rows = world.run(format="csv", header="true", badRecordsPath=kept.uri)
    assert Counter(value for *_, value in rows) == {1: 2 * many, 4: 1}
    found = kept.rows()
    assert [(row["record"], row["raw"]) for row in found] == [(many, "x"), (many + 1, "2,3"), (2 * many + 3, '"y')]
    assert [row["reason"] for row in found] == [
        "WRONG_TYPE: the value of a is not of its column's type",
        "MALFORMED: 2 values for 1 columns",
        "WRONG_TYPE: the value of a is not of its column's type",
    ]
    assert {record for _, record, _ in rows} | {row["record"] for row in found} == set(range(2 * many + 4))


@pytest.mark.parametrize("name", ["large.json", "large.json.gz"])
def test_rows_and_bad_records_of_large_files_are_all_their_lines(world, kept, name):
    lines = [b'{"a": %d}' % n if n % 7 else b"broken %d" % n for n in range(60_000)]
    data = b"\n".join(lines)
    world.put(name, gzip.compress(data) if name.endswith("gz") else data)
    rows = world.run(badRecordsPath=kept.uri, maxPartitionBytes="200k")
    found = kept.rows()
    assert sorted(value for *_, value in rows) == [n for n in range(60_000) if n % 7]
    assert sorted(int(row["raw"].split()[1]) for row in found) == list(range(0, 60_000, 7))
    assert not {record for _, record, _ in rows} & {row["record"] for row in found}
    state = world.states()[name]
    assert (state.rows, state.bad_records) == (len(rows), len(found))


def test_a_line_that_is_too_long_is_a_bad_record_without_text(world, kept):
    world.put("long.json", ROW + b'{"a": "' + b"x" * 2_000_000 + b'"}\n' + ROW)
    assert [record for _, record, _ in world.run(badRecordsPath=kept.uri, maxLineBytes="1m")] == [0, 2]
    (row,) = kept.rows()
    assert (row["record"], row["raw"], row["reason"].split(":")[0]) == (1, "", "LINE_TOO_LONG")
    assert world.states()["long.json"].bad_records == 1


@pytest.mark.parametrize("name", ["json", "csv"])
def test_a_long_text_is_cut_and_the_reason_says_so(world, kept, monkeypatch, name):
    monkeypatch.setattr(bad_records, "_OBJECT_BYTES", 1 << 20)
    text = "\u20ac" * 700_000
    world.put("long.json", f"{text}\n{text}\nx\n4 5".encode())
    world.put("good.json", ROW if name == "json" else b"1")
    assert world.run(format=name, badRecordsPath=kept.uri) == [("good.json", 0, 1)]
    state = world.states()["long.json"]
    assert (state.ingestion_state, state.bad_records, state.error.split(":")[0]) == ("INGESTED", 4, "TEXT_CUT")
    first, second, third, fourth = kept.rows()
    assert first["raw"] == second["raw"] == text[: (1 << 20) // 3]
    assert first["reason"].endswith("(of its 2,100,000 bytes the first 1,048,576 are kept)")
    assert (third["raw"], fourth["raw"]) == ("x", "4 5")
    log = world.lake.store.list(world.lake.settings.bucket, "bad/_delta_log/")
    assert max(info.size_bytes for info in log) < 10_000, "no statistics of texts"


def test_records_of_a_batch_that_did_not_finish_are_not_in_the_table(world, kept):
    world.put("one.json", b"bad 1\nbad 2")
    world.run(badRecordsPath=kept.uri, commit=False)
    assert len(kept.staged()) == 1
    world.run(badRecordsPath=kept.uri, commit=False)
    assert kept.below("bad/") == set()
    world.run(badRecordsPath=kept.uri)
    assert kept.places() == [("one.json", 0), ("one.json", 1)]
    assert kept.staged() == set()


def test_a_retried_task_writes_over_its_own_records(world, kept, monkeypatch):
    monkeypatch.setattr(bad_records, "_OBJECT_BYTES", 1)
    monkeypatch.setattr(bad_records, "_ROWS", 1)
    world.put("one.json", b"bad 1\nbad 2\nbad 3")
    stream = world.stream(badRecordsPath=kept.uri)
    start = stream.beginning()
    end = stream.next_end(start, max_files=9, max_bytes=None)
    (task,) = stream.parts(start, end)
    list(stream.read(task, SCHEMA))
    assert len(kept.staged()) == 3
    left_over = min(kept.staged()).replace("00000.parquet", "00007.parquet")
    world.lake.store.write(world.lake.settings.bucket, f"journal/bad_records/{left_over}", b"of a longer attempt")
    list(stream.read(task, SCHEMA))
    stream.next_end(end, max_files=9, max_bytes=None)
    assert kept.places() == [("one.json", record) for record in range(3)]


def test_a_batch_that_was_cut_differently_when_it_was_planned_again(world, kept):
    world.put("large.json", b"\n".join(b"bad %06d" % n for n in range(60_000)))
    world.run(badRecordsPath=kept.uri, maxPartitionBytes="100k", commit=False)
    before = len(kept.staged())
    assert before > 4
    world.run(badRecordsPath=kept.uri, maxPartitionBytes="300k")
    assert Counter(row["raw"] for row in kept.rows()) == {f"bad {n:06d}": 1 for n in range(60_000)}
    assert kept.staged() == set()


def test_a_death_between_append_and_removal_repeats_nothing(world, kept, monkeypatch):
    world.put("one.json", b"bad 1\nbad 2")

    def dies(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FinishedBatch, "remove", dies)
        world.run(badRecordsPath=kept.uri)
    assert len(kept.staged()) == 1
    version = kept.delta().version()
    world.put("two.json", b"bad 3")
    world.run(badRecordsPath=kept.uri)
    assert kept.places() == [("one.json", 0), ("one.json", 1), ("two.json", 0)]
    assert kept.delta().version() == version + 1
    assert kept.staged() == set()


def test_a_death_before_the_append_loses_nothing(world, kept, monkeypatch):
    world.put("one.json", b"bad 1")

    def dies(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(quarantine, "write_deltalake", dies)
        world.run(badRecordsPath=kept.uri)
    world.run(badRecordsPath=kept.uri)
    assert kept.places() == [("one.json", 0)]


def test_what_was_staged_counts_no_more_when_the_batch_is_read_again_and_nothing_is_bad(world, kept):
    world.put("large.json", b"\n".join(b'{"a": "x%06d"}' % n for n in range(60_000)))
    world.run(badRecordsPath=kept.uri, maxPartitionBytes="100k", commit=False)
    assert kept.staged()
    stream, start = world.stream(badRecordsPath=kept.uri, maxPartitionBytes="300k"), world.one["start"]
    end = stream.next_end(start, max_files=9, max_bytes=None)
    text = StructType().add("a", "string")
    rows = [len(batch) for task in stream.parts(start, end) for batch in stream.read(task, text)]
    assert (sum(rows), kept.staged()) == (60_000, set())
    assert stream.next_end(end, max_files=9, max_bytes=None) == end
    assert kept.below("bad/") == set()


def test_what_was_staged_counts_when_the_sink_has_the_batch_already_and_no_task_runs_again(world, kept):
    world.put("large.json", b"\n".join(b"bad %06d" % n for n in range(60_000)))
    world.run(badRecordsPath=kept.uri, maxPartitionBytes="100k", commit=False)
    stream, start = world.stream(badRecordsPath=kept.uri, maxPartitionBytes="300k"), world.one["start"]
    end = stream.next_end(start, max_files=9, max_bytes=None)
    stream.parts(start, end)
    stream.next_end(end, max_files=9, max_bytes=None)
    assert Counter(row["raw"] for row in kept.rows()) == {f"bad {n:06d}": 1 for n in range(60_000)}


def test_streams_with_the_same_options_do_not_touch_each_others_records(world, kept):
    same = {"badRecordsPath": kept.uri, "schemaLocation": f"s3a://{world.lake.settings.bucket}/schemas/same"}
    world.put("one.json", b"bad 1")
    world.run("one", **same, commit=False)
    assert len(kept.staged()) == 1
    world.run("two", **same)
    assert kept.places() == [("one.json", 0)]
    assert len(kept.staged()) == 1, "what the first has not committed is still there"
    world.run("one", **same)
    world.put("two.json", b"bad 2")
    for query in ("one", "two", "one", "two"):
        world.run(query, **same)
    assert Counter(kept.places()) == {("one.json", 0): 2, ("two.json", 0): 2}
    assert kept.staged() == set()


def test_a_stream_whose_checkpoint_is_from_before_the_option(world, kept):
    world.put("one.json", b"bad 1")
    world.run()
    world.put("two.json", b"bad 2")
    world.run(badRecordsPath=kept.uri)
    world.run(badRecordsPath=kept.uri)
    assert kept.places() == [("two.json", 0)]


def test_two_streams_share_a_table(world, kept):
    world.put("one.json", b"bad 1")
    world.run("one", badRecordsPath=kept.uri)
    world.run("two", badRecordsPath=kept.uri)
    world.put("two.json", b"bad 2")
    for query in ("one", "two", "one", "two"):
        world.run(query, badRecordsPath=kept.uri)
    assert Counter(kept.places()) == {("one.json", 0): 2, ("two.json", 0): 2}


def test_streams_that_make_the_table_at_the_same_moment_lose_nothing(world, kept):
    world.put("one.json", b"bad 1")
    finished = []
    for query in ("one", "two", "three", "four"):
        stream = world.stream(query, badRecordsPath=kept.uri)
        start = stream.beginning()
        end = stream.next_end(start, max_files=1, max_bytes=None)
        for task in stream.parts(start, end):
            list(stream.read(task, SCHEMA))
        finished.append((stream, end))
    with ThreadPoolExecutor(len(finished)) as pool:
        list(pool.map(lambda pair: pair[0].next_end(pair[1], max_files=1, max_bytes=None), finished))
    assert kept.places() == [("one.json", 0)] * 4
    assert [commit["operation"] for commit in kept.delta().history()] == ["WRITE"] * 4 + ["CREATE TABLE"]
    assert kept.staged() == set()


def test_of_two_drivers_that_append_the_same_batch_one_wins(world, kept, monkeypatch):
    world.put("one.json", b"bad 1")
    write = quarantine.write_deltalake

    def late(table, rows, **options):
        with monkeypatch.context() as patch:
            patch.setattr(quarantine, "write_deltalake", write)
            patch.setattr(FinishedBatch, "remove", lambda self: None)
            stream = world.stream(badRecordsPath=kept.uri)
            stream.next_end(world.last, max_files=1, max_bytes=None)
        write(table, rows, **options)

    stream = world.stream(badRecordsPath=kept.uri)
    start = stream.beginning()
    world.last = stream.next_end(start, max_files=1, max_bytes=None)
    for task in stream.parts(start, world.last):
        list(stream.read(task, SCHEMA))
    monkeypatch.setattr(quarantine, "write_deltalake", late)
    stream.next_end(world.last, max_files=1, max_bytes=None)
    assert kept.places() == [("one.json", 0)]
    assert kept.staged() == set()


def test_a_path_with_another_table_is_an_error_and_loses_nothing(world, kept):
    world.lake.store.write(world.lake.settings.bucket, "bad/_delta_log/00000000000000000000.json", b"{}")
    world.put("one.json", b"bad 1")
    with pytest.raises(TerminalError, match="bad records cannot be appended"):
        world.run(badRecordsPath=kept.uri)
    assert len(kept.staged()) == 1


def test_the_command_lists_files_in_quarantine_and_what_to_do(world, kept, environment):
    world.put("one.json", b"\n".join(LINES))
    world.put("cut.json.gz", gzip.compress(ROW * 5000)[:-20])
    world.run(badRecordsPath=kept.uri)
    place = world.lake.settings.checkpoint_uri("bronze.orders_autoloader").partition(f"{world.lake.settings.bucket}/")[
        2
    ]
    pointer = json.dumps({"journal": world.journal}).encode()
    world.lake.store.write(world.lake.settings.bucket, f"{place}/_source.json", pointer)
    found = lakehouse_json_here(environment, "quarantine")
    assert [file["error"].split(":")[0] for file in found["files"]] == ["TRUNCATED"]
    assert found["bad_records"] == len(BAD)
    (loaded,) = lakehouse_json_here(environment, "files", "--state", "ingested")["files"]
    assert (loaded["rows"], loaded["bad_records"]) == (2, len(BAD))
    said = lakehouse_here(environment, "quarantine").stdout
    assert "cut.json.gz" in said
    assert "lakehouse replay --files" in said


def test_the_command_lists_the_newest_records(world, kept, environment):
    world.put("one.json", b"\n".join(LINES))
    world.run(badRecordsPath=kept.uri)
    found = lakehouse_json_here(environment, "quarantine", "--records", kept.uri, "--limit", "2")["records"]
    assert [row["record"] for row in found] == [6, 4]
    said = lakehouse_here(environment, "quarantine", "--records", kept.uri).stdout
    assert "MALFORMED" in said
    assert "lakehouse replay --files" in said
    missing = lakehouse_here(environment, "quarantine", "--records", f"{kept.uri}/none")
    assert missing.returncode == 1
    assert "no table of bad records" in missing.stderr

"""A table that a stream elsewhere has filled goes on here, and no row of it comes twice."""

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from command import lakehouse_here
from deltalake import write_deltalake
from store.local_world import TABLE, LocalWorld

from lakehouse.autoloader.options.paths import key_uri
from lakehouse.errors import ConfigurationError
from lakehouse.places import import_place
from lakehouse.storage.local_paths import LOCAL

NAMES = ["0.json", "1.json", "2 ä%.json", "3.json"]


@pytest.fixture
def things(lake, tmp_path):
    world = LocalWorld(lake, tmp_path).declare(options={"cloudFiles.inferColumnTypes": True})
    for number, name in enumerate(NAMES):
        world.put(name, [{"a": number}])
    return world


def table_of(world, numbers):
    """The rows that the other stream has written, without lineage."""
    uri = world.lake.settings.table_uri(TABLE).replace("s3a://", "s3://", 1)
    rows = pa.table({"a": pa.array(list(numbers), pa.int64())})
    write_deltalake(uri, rows, storage_options=world.lake.endpoint.deltalake_options())


def paths(world, names, bucket=None):
    return [key_uri(bucket or world.bucket, world.folder + name) for name in names]


def spark_checkpoint(world, batches, finished=None, compacted=None):
    """A checkpoint as Spark's file source leaves it: a log entry a batch."""
    folder = "elsewhere/checkpoint/"

    def write(name, *lines):
        text = "\n".join(["v1", *lines])
        world.lake.store.write(world.lake.settings.bucket, folder + name, text.encode())

    entries = [
        [json.dumps({"path": path, "timestamp": 1, "batchId": number}) for path in batch]
        for number, batch in enumerate(batches)
    ]
    for number, lines in enumerate(entries):
        if number == compacted:
            write(f"sources/0/{number}.compact", *(line for some in entries[: number + 1] for line in some))
        else:
            write(f"sources/0/{number}", *lines)
        write(f"offsets/{number}", '{"batchWatermarkMs":0}', json.dumps({"logOffset": number}))
        if finished is None or number <= finished:
            write(f"commits/{number}", "{}")
    return f"s3a://{world.lake.settings.bucket}/{folder}"


@pytest.mark.parametrize("compacted", [None, 1])
def test_what_sparks_file_source_has_loaded_does_not_come_again(things, compacted):
    table_of(things, [2, 0, 1])
    batches = [paths(things, [NAMES[2]]), paths(things, [NAMES[0], "gone.json"]), paths(things, [NAMES[1]])]
    checkpoint = spark_checkpoint(things, batches, compacted=compacted)
    asked = import_place(things.lake, TABLE, checkpoint)
    assert (asked.loaded, asked.there, asked.gone, asked.new, asked.rows, asked.done) == (4, 3, 1, 1, True, False)
    assert things.checkpoint() == {}, "nothing is done without being asked twice"
    assert import_place(things.lake, TABLE, checkpoint, really=True).done
    things.put("4.json", [{"a": 4}])
    assert things.load_rows() == 2
    assert [a for (a,) in things.rows("a")] == [0, 1, 2, 3, 4]
    assert things.load().batches == ()
    assert things.failed_checks() == set()
    with pytest.raises(ConfigurationError, match="has a checkpoint already"):
        import_place(things.lake, TABLE, checkpoint, really=True)


def rows_of_state(world, loaded, waiting, bucket):
    """As Databricks tells them: paths without escapes."""
    for name in [*loaded, *waiting]:
        path = f"s3://{bucket}/{world.folder}{name}"
        yield {"path": path, "size": 9, "commit_time": "2026-01-01T00:00:00Z" if name in loaded else None}


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_what_auto_loader_has_loaded_does_not_come_again(things, tmp_path, form):
    table_of(things, [0, 2])
    rows = list(rows_of_state(things, [NAMES[0], NAMES[2]], [NAMES[3]], "old-bucket"))
    saved = tmp_path / f"state.{form}"
    if form == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        saved.write_text(text.getvalue())
    else:
        saved.write_text(json.dumps(rows) if form == "json" else "\n".join(map(json.dumps, rows)))
    rewrites = {"s3://old-bucket/": f"s3a://{things.bucket}/"}
    with pytest.raises(ConfigurationError, match="none of the 2 files") as refused:
        import_place(things.lake, TABLE, str(saved))
    assert "--rewrite" in refused.value.next_command
    done = import_place(things.lake, TABLE, str(saved), rewrites, really=True)
    assert (done.there, done.gone, done.new, done.not_loaded) == (2, 0, 2, 1)
    assert things.load_rows() == 2
    assert [a for (a,) in things.rows("a")] == [0, 1, 2, 3]
    assert things.failed_checks() == set()


def test_a_journal_that_met_other_files_first_is_refused_and_one_of_its_own_does(things):
    things.declare(options={"cloudFiles.inferColumnTypes": True})
    things.load()  # another table, by the same journal
    things.lake.store.delete_prefix(things.lake.settings.bucket, f"{things.lake.settings.user}/_checkpoints/{TABLE}/")
    things.lake.store.delete_prefix(things.lake.settings.bucket, f"{things.lake.settings.user}/bronze/things/")
    table_of(things, [0, 3])
    checkpoint = spark_checkpoint(things, [paths(things, [NAMES[0], NAMES[3]])])
    with pytest.raises(ConfigurationError, match="met other files before") as refused:
        import_place(things.lake, TABLE, checkpoint, really=True)
    place = refused.value.next_command.partition("cloudFiles.journalLocation: ")[2].rstrip("}")
    things.declare(options={"cloudFiles.inferColumnTypes": True, "cloudFiles.journalLocation": place})
    import_place(things.lake, TABLE, checkpoint, really=True)
    assert things.load_rows() == 2
    assert [a for (a,) in things.rows("a")] == [0, 1, 2, 3]


def test_what_does_not_say_what_was_loaded_is_refused(things, tmp_path):
    unfinished = spark_checkpoint(things, [paths(things, [NAMES[0]]), paths(things, [NAMES[1]])], finished=0)
    with pytest.raises(ConfigurationError, match="batch 1 is planned and not finished"):
        import_place(things.lake, TABLE, unfinished, really=True)
    things.lake.store.delete_prefix(things.lake.settings.bucket, "elsewhere/checkpoint/commits/")
    with pytest.raises(ConfigurationError, match="no batch of the stream is finished"):
        import_place(things.lake, TABLE, unfinished, really=True)
    with pytest.raises(ConfigurationError, match="no checkpoint"):
        import_place(things.lake, TABLE, f"s3a://{things.bucket}/nothing/")
    for name, text, said in (
        ("a.json", "{", "no JSON"),
        ("b.csv", "path\nx\n", "no path and commit_time"),
        ("c.csv", None, "cannot be read"),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(ConfigurationError, match=said):
            import_place(things.lake, TABLE, str(tmp_path / name))
    assert things.checkpoint() == {}


def test_the_command_says_what_it_would_do_and_does_it(things, environment):
    checkpoint = spark_checkpoint(things, [paths(things, NAMES[:2])])
    told = {**environment, "LAKEHOUSE_DECLARATION": str(things.lake.settings.declaration)}
    asked = lakehouse_here(told, "import-checkpoint", TABLE, checkpoint)
    assert asked.returncode == 0, asked.stderr
    assert "2 files loaded by Spark's file source: 2 would not be loaded again" in asked.stdout
    assert "nothing was changed" in asked.stdout
    assert f"import-checkpoint {TABLE} {checkpoint} --yes" in asked.stdout
    done = lakehouse_here(told, "import-checkpoint", TABLE, checkpoint, "--yes", "--json")
    assert (json.loads(done.stdout)["there"], json.loads(done.stdout)["new"]) == (2, 2)
    assert things.load_rows() == 2
    wrong = lakehouse_here(told, "import-checkpoint", TABLE, checkpoint, "--rewrite", "x")
    assert (wrong.returncode, "is not OLD=NEW" in wrong.stderr) == (1, True)


def test_files_of_this_machine_move_in_by_the_checkpoint_that_spark_left_here(lake, tmp_path):
    (tmp_path / "landed").mkdir()
    for number, name in enumerate(NAMES):
        (tmp_path / "landed" / name).write_text(json.dumps({"a": number}) + "\n")
    folder = f"{str(tmp_path)[1:]}/landed/"
    options = {"cloudFiles.inferColumnTypes": True}
    things = LocalWorld(lake, tmp_path).declare(path=f"file:///{folder}", options=options)
    table_of(things, [0, 2])
    loaded = [{"path": key_uri(LOCAL, folder + name), "timestamp": 1, "batchId": 0} for name in NAMES[::2]]
    for name, lines in {
        "sources/0/0": [json.dumps(entry) for entry in loaded],
        "offsets/0": ['{"batchWatermarkMs":0}', '{"logOffset":0}'],
        "commits/0": ["{}"],
    }.items():
        (tmp_path / "checkpoint" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkpoint" / name).write_text("\n".join(["v1", *lines]))
    done = import_place(things.lake, TABLE, f"{tmp_path}/checkpoint", really=True)
    assert (done.there, done.gone, done.new) == (2, 0, 2)
    assert things.load_rows() == 2
    assert [a for (a,) in things.rows("a")] == [0, 1, 2, 3]


@pytest.mark.soak("ten thousand files, a hundred batches")
def test_ten_thousand_files_move_in_and_none_comes_twice(lake, tmp_path):
    things = LocalWorld(lake, tmp_path).declare(options={"cloudFiles.inferColumnTypes": True})
    names = [f"{number:05}.json" for number in range(10_000)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: things.put(name, [{"a": int(name[:5])}]), names))
    table_of(things, range(10_000))
    batches = [paths(things, names[first : first + 100]) for first in range(0, 10_000, 100)]
    checkpoint = spark_checkpoint(things, batches, compacted=89)
    assert import_place(things.lake, TABLE, checkpoint, really=True).there == 10_000
    assert things.load().batches == ()
    things.put("new.json", [{"a": 10_000}])
    assert things.load_rows() == 1
    assert [a for (a,) in things.rows("a")] == sorted(range(10_001), key=lambda a: repr((a,)))
    assert things.failed_checks() == set()


def test_rows_of_the_state_that_spark_saved_as_json_lack_what_is_null(things, tmp_path):
    rows = list(rows_of_state(things, [NAMES[0]], [NAMES[3], NAMES[1]], things.bucket))
    saved = tmp_path / "state.json"
    plain = [{name: value for name, value in row.items() if value is not None} for row in reversed(rows)]
    saved.write_text("\n".join(map(json.dumps, plain)))
    asked = import_place(things.lake, TABLE, str(saved))
    assert (asked.there, asked.not_loaded) == (1, 2)


@pytest.mark.parametrize(("books", "loaded"), [("spark", "a b.json"), ("auto loader", "a%20b.json")])
def test_of_two_names_that_an_escape_makes_alike_the_one_that_was_meant_does_not_come_again(
    things, tmp_path, books, loaded
):
    for name in ("a b.json", "a%20b.json"):
        things.put(name, [{"a": 8 if name == loaded else 9}])
    source = str(tmp_path / "state.jsonl")
    if books == "spark":
        source = spark_checkpoint(things, [paths(things, [loaded])])
    else:
        row = {"path": f"s3://{things.bucket}/{things.folder}{loaded}", "commit_time": "2026-01-01T00:00:00Z"}
        (tmp_path / "state.jsonl").write_text(json.dumps(row))
    import_place(things.lake, TABLE, source, really=True)
    things.load()
    assert [a for (a,) in things.rows("a")] == [0, 1, 2, 3, 9]


@pytest.mark.parametrize("name", ["sources/0/1", "offsets/1"])
@pytest.mark.parametrize("content", [b"", b"v1\n{", b"v1\n[]\n[]", b"\xff"])
def test_a_checkpoint_that_is_damaged_is_refused_with_the_object(things, name, content):
    checkpoint = spark_checkpoint(things, [paths(things, [file_name]) for file_name in NAMES[:2]])
    things.lake.store.write(things.lake.settings.bucket, f"elsewhere/checkpoint/{name}", content)
    with pytest.raises(ConfigurationError) as refused:
        import_place(things.lake, TABLE, checkpoint, really=True)
    assert name in f"{refused.value.where} {refused.value.what}"
    assert things.checkpoint() == {}

"""What keys of each role may do at a real store, and what they are refused."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from command import lakehouse_here, lakehouse_json_here
from store.local_world import TABLE, LocalWorld, no_session
from store.role_keys import Keys

from lakehouse.dagster.cursor import Cursor
from lakehouse.dagster.landing import landing_folders
from lakehouse.dagster.looking import look_around
from lakehouse.declaration import read_catalogue
from lakehouse.errors import AccessDenied
from lakehouse.pipeline import run_table
from lakehouse.storage import ObjectMissing
from lakehouse.streams.run import Run

ROWS = [{"id": 1, "amount": 2.5}, {"id": 2, "amount": 3.5}]


@pytest.fixture
def things(lake, tmp_path):
    """A table of files whose first file has landed; its folder is beside another one in the same bucket."""
    world = LocalWorld(lake, tmp_path)
    world.put("0.json", ROWS)
    return world


@pytest.fixture
def keys(things, tmp_path):
    made = Keys(things, tmp_path)
    yield made
    made.remove()


@pytest.fixture
def loaded(things):
    """The same table with the rows of that file, its checks counted, and another file that nobody has loaded."""
    things.load()
    assert things.failed_checks() == set()
    things.put("1.json", ROWS)
    return things


@pytest.fixture
def others(things):
    """Objects of somebody else: users' tables, another folder of the landing bucket, another bucket."""
    settings, store = things.lake.settings, things.plain.store
    bucket = f"other-{settings.bucket}"
    store.ensure_bucket(bucket)
    found = [
        (settings.bucket, "another/bronze/things/part-0.parquet"),
        (settings.bucket, f"{settings.user}-2/bronze/things/part-0.parquet"),
        (settings.landing_bucket, f"{settings.landing_prefix}others/1.json"),
        (bucket, "1.json"),
    ]
    for place in found:
        store.write(*place, b"1")
    return found


def rights(lake, bucket, key):
    """What these keys may do to an object."""
    asked = {
        "list": lambda: list(lake.store.list(bucket, key)),
        "read": lambda: lake.store.read(bucket, key),
        "write": lambda: lake.store.write(bucket, key, b"2"),
        "delete": lambda: lake.store.delete(bucket, key),
    }
    found = set()
    for name, ask in asked.items():
        with suppress(AccessDenied, ObjectMissing):
            ask()
            found.add(name)
    return found


def no_right_beyond(lake, others):
    """Whether objects of others, and the names in whole buckets, are refused."""
    settings, own = lake.settings, lake.store
    opened = {place: rights(lake, *place) for place in others}
    for bucket in (settings.bucket, settings.landing_bucket):
        with pytest.raises(AccessDenied):
            list(own.list(bucket))
        with pytest.raises(AccessDenied):
            list(own.list(bucket, "another/"))
    return opened == {place: set() for place in others}


def object_of(world, prefix):
    """The key of some object of the lake."""
    bucket, folder = world.lake.settings.bucket, f"{world.lake.settings.user}/{prefix}"
    return bucket, next(iter(world.plain.store.list(bucket, folder))).key


def test_the_writer_loads_checks_and_keeps_tables(things, keys, others):
    writer = keys.of("writer")
    assert run_table(no_session, writer.lake, TABLE, Run()).rows_added == 2
    things.put("1.json", ROWS)
    done = lakehouse_json_here(writer.environment, "ingest", TABLE)
    assert [one["rows_added"] for one in done["tables"]] == [2]
    assert {one["passed"] for one in done["checks"]} == {True}
    assert {one["passed"] for one in lakehouse_json_here(writer.environment, "check", "--full")["checks"]} == {True}
    signs = {one["sign"] for one in lakehouse_json_here(writer.environment, "doctor")["findings"] if one["sign"]}
    assert signs <= {"store_unmaintained", "small_files"}
    for words in (
        ("maintain", "optimize", TABLE, "--yes"),
        ("maintain", "vacuum", TABLE, "--yes"),
        ("maintain", "orphans", "--yes"),
        ("checkpoint", "backup", TABLE),
        ("checklist", TABLE),
        ("checkpoint", "reset", TABLE, "--yes"),
        ("ingest", TABLE),
        ("du",),
        ("cleanup", "--tables", "--checkpoints", "--yes"),
    ):
        said = lakehouse_here(writer.environment, *words)
        assert "AccessDenied" not in said.stdout + said.stderr, words
    assert things.rows() == []
    assert no_right_beyond(writer.lake, others)


def test_the_writer_removes_no_file_that_landed_unless_the_declaration_has_it_clean_up(things, keys):
    landed = (things.bucket, f"{things.folder}0.json")
    assert rights(keys.of("writer").lake, *landed) == {"list", "read"}
    away = f"{things.lake.settings.landing_prefix}away/"
    clean = {"": "MOVE", ".moveDestination": f"s3a://{things.bucket}/{away}", ".retentionDuration": "0 seconds"}
    things.declare(options={f"cloudFiles.cleanSource{name}": value for name, value in clean.items()})
    writer = keys.of("writer")
    for name in ("0.json", "1.json"):
        things.put(name, ROWS)
        run_table(no_session, writer.lake, TABLE, Run())
    moved = [one.key for one in things.plain.store.list(things.bucket, away)]
    assert moved[0] == f"{away}0.json"
    assert rights(writer.lake, things.bucket, moved[0]) == {"list", "read", "write"}


def test_the_reader_reads_tables_and_writes_nothing(loaded, keys, others):
    reader = keys.of("reader")
    [told] = lakehouse_json_here(reader.environment, "tables")["tables"]
    assert (told["name"], told["rows"], told["last_batch"]) == (TABLE, 2, 0)
    assert len(lakehouse_json_here(reader.environment, "history", TABLE)["versions"]) == 1
    assert reader.lake.rows(TABLE).count_rows() == 2
    assert len(lakehouse_json_here(reader.environment, "files")["files"]) == 1
    before = names_of(loaded)
    for more in ((), ("--full",)):
        checked = lakehouse_json_here(reader.environment, "check", TABLE, *more)["checks"]
        assert {one["passed"] for one in checked} == {True}
    for words in (("ingest", TABLE), ("checkpoint", "reset", TABLE, "--yes")):
        said = lakehouse_here(reader.environment, *words)
        assert (said.returncode, "AccessDenied" in said.stderr) == (1, True), words
    assert names_of(loaded) == before
    for area in ("bronze/things/_delta_log/", "bronze/things/part", "_checkpoints/", "_checks/", "_journal/"):
        assert rights(reader.lake, *object_of(loaded, area)) == {"list", "read"}, area
    assert rights(reader.lake, loaded.bucket, f"{loaded.folder}1.json") == {"list"}
    assert no_right_beyond(reader.lake, others)


def names_of(world):
    return [(one.key, one.e_tag) for one in world.plain.store.list(world.lake.settings.bucket)]


def test_the_discoverer_finds_what_waits_and_sees_no_row(loaded, keys, others):
    lake = keys.of("discoverer").lake
    loaded.lake.store.write(lake.settings.bucket, f"{lake.settings.user}/_checkpoints/{TABLE}/state/0/1.delta", b"1")
    folders = landing_folders(read_catalogue(lake.settings))
    looked = look_around(lake, folders, Cursor(), now=datetime.now(UTC), in_a_hurry=lambda folder: False)
    [(_, found)] = looked.found
    assert (found.files, found.fresh.count, looked.problems) == (2, 1, {})
    assert rights(lake, loaded.bucket, f"{loaded.folder}1.json") == {"list"}
    for area in ("bronze/things/_delta_log/", "bronze/things/part", "_checks/", "_schemas/"):
        assert rights(lake, *object_of(loaded, area)) == set(), area
    for area, allowed in {
        f"_checkpoints/{TABLE}/offsets/": {"list", "read"},
        f"_checkpoints/{TABLE}/state/": {"list"},
        "_journal/": set(),  # receipts come first: they may quote what could not be read
    }.items():
        assert rights(lake, *object_of(loaded, area)) == allowed, area
    assert no_right_beyond(lake, others)


def test_roles_beside_an_own_place_of_journal_and_bad_records_reach_these(things, keys):
    settings = things.lake.settings
    journal, bad = (f"s3a://{settings.bucket}/shared/{name}" for name in ("journal", "bad"))
    things.declare(
        options={"cloudFiles.journalLocation": journal, "badRecordsPath": bad},
        schema="id BIGINT, amount DOUBLE",
    )
    things.put("1.json", '{"id": "no number"\n')
    writer = keys.of("writer")
    assert run_table(no_session, writer.lake, TABLE, Run()).rows_added == 2
    assert writer.lake.delta_at(bad) is not None and keys.of("reader").lake.delta_at(bad) is not None
    lake = keys.of("discoverer").lake
    folders = landing_folders(read_catalogue(lake.settings))
    looked = look_around(lake, folders, Cursor(), now=datetime.now(UTC), in_a_hurry=lambda folder: False)
    assert [(found.files, found.fresh.count) for _, found in looked.found] == [(2, 0)]
    log = "shared/bad/_delta_log/00000000000000000000.json"
    assert rights(lake, settings.bucket, log) == set()

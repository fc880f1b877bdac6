"""What keys of each role may do at a real store, and what they are refused."""

from dataclasses import replace

import pytest
from command import lakehouse_here, lakehouse_json_here
from store.local_world import TABLE, LocalWorld, no_session
from store.role_keys import Keys, no_right_beyond, object_of, rights, things_of_others

from lakehouse.pipeline import run_table
from lakehouse.roles import ROLES
from lakehouse.storage import BucketMissing
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
    with Keys(things, tmp_path) as made:
        yield made


@pytest.fixture
def loaded(things):
    """The same table with the rows of that file, its checks counted, and another file that nobody has loaded."""
    things.load()
    assert things.failed_checks() == set()
    things.put("1.json", ROWS)
    return things


@pytest.fixture
def others(things):
    return things_of_others(things)


def test_the_writer_loads_checks_and_keeps_tables(things, keys, others):
    writer = keys.of("writer")
    assert run_table(no_session, writer.lake, TABLE, Run()).rows_added == 2
    things.put("1.json", ROWS)
    done = lakehouse_json_here(writer.environment, "ingest", TABLE)
    assert [table["rows_added"] for table in done["tables"]] == [2]
    assert {check["passed"] for check in done["checks"]} == {True}
    assert {check["passed"] for check in lakehouse_json_here(writer.environment, "check", "--full")["checks"]} == {True}
    signs = {
        finding["sign"] for finding in lakehouse_json_here(writer.environment, "doctor")["findings"] if finding["sign"]
    }
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
    moved = [info.key for info in things.plain.store.list(things.bucket, away)]
    assert moved[0] == f"{away}0.json"
    assert rights(writer.lake, things.bucket, moved[0]) == {"list", "read", "write"}


def test_the_reader_reads_tables_and_writes_nothing(loaded, keys, others):
    reader = keys.of("reader")
    [told] = lakehouse_json_here(reader.environment, "tables")["tables"]
    assert (told["name"], told["rows"], told["last_batch"]) == (TABLE, 2, 0)
    assert len(lakehouse_json_here(reader.environment, "history", TABLE)["versions"]) == 1
    assert reader.lake.rows(TABLE).count_rows() == 2
    assert lakehouse_json_here(reader.environment, "sql", f"SELECT count(*) AS n FROM {TABLE}")["rows"] == [{"n": 2}]
    assert len(lakehouse_json_here(reader.environment, "files")["files"]) == 1
    before = names_of(loaded)
    for more in ((), ("--full",)):
        checked = lakehouse_json_here(reader.environment, "check", TABLE, *more)["checks"]
        assert {check["passed"] for check in checked} == {True}
    for words in (("ingest", TABLE), ("checkpoint", "reset", TABLE, "--yes")):
        said = lakehouse_here(reader.environment, *words)
        assert (said.returncode, "AccessDenied" in said.stderr) == (1, True), words
    assert names_of(loaded) == before
    for area in ("bronze/things/_delta_log/", "bronze/things/part", "_checkpoints/", "_checks/", "_journal/"):
        assert rights(reader.lake, *object_of(loaded, area)) == {"list", "read"}, area
    assert rights(reader.lake, loaded.bucket, f"{loaded.folder}1.json") == {"list"}
    assert no_right_beyond(reader.lake, others)


def names_of(world):
    return [(info.key, info.e_tag) for info in world.plain.store.list(world.lake.settings.bucket)]


def test_writer_and_reader_reach_journals_and_bad_records_at_places_of_their_own(things, keys):
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


@pytest.mark.parametrize("role", ROLES)
def test_a_bucket_that_is_not_there_is_told_to_who_may_see_a_part_of_it(things, keys, role):
    settings = things.lake.settings.model_copy(update={"bucket": f"no-{things.lake.settings.bucket}"})
    things.lake = replace(things.lake, settings=settings)
    with pytest.raises(BucketMissing, match=f"no bucket {settings.bucket}"):
        list(keys.of(role).lake.store.list(settings.bucket, f"{settings.user}/_checkpoints/"))

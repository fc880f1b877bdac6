"""Dagster with keys of its own: those of its sensor see names alone, and those of its runs are in no event."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from store.local_world import TABLE, LocalWorld
from store.role_keys import Keys, no_right_beyond, object_of, rights, things_of_others

from lakehouse.dagster import LakeResource, definitions
from lakehouse.dagster.cursor import Cursor
from lakehouse.dagster.landing import landing_folders
from lakehouse.dagster.looking import look_around
from lakehouse.declaration import read_catalogue

ROWS = [{"id": 1, "amount": 2.5}, {"id": 2, "amount": 3.5}]


@pytest.fixture
def loaded(lake, tmp_path):
    """A table with the rows of one file, its checks counted, and another file that nobody has loaded."""
    world = LocalWorld(lake, tmp_path)
    world.put("0.json", ROWS)
    world.load()
    assert world.failed_checks() == set()
    world.put("1.json", ROWS)
    return world


@pytest.fixture
def keys(loaded, tmp_path):
    with Keys(loaded, tmp_path) as made:
        yield made


def look(lake):
    """What a tick of the sensor finds in the one folder."""
    folders = landing_folders(read_catalogue(lake.settings))
    looked = look_around(lake, folders, Cursor(), now=datetime.now(UTC), in_a_hurry=lambda folder: False)
    assert looked.problems == {}
    [(_, found)] = looked.found
    return found.files, found.fresh.count


def test_the_discoverer_finds_what_waits_and_sees_no_row(loaded, keys):
    others = things_of_others(loaded)
    lake = keys.of("discoverer").lake
    loaded.lake.store.write(lake.settings.bucket, f"{lake.settings.user}/_checkpoints/{TABLE}/state/0/1.delta", b"1")
    assert look(lake) == (2, 1)
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


def test_the_discoverer_reaches_a_journal_at_a_place_of_its_own(loaded, keys):
    bucket = loaded.lake.settings.bucket
    places = {"cloudFiles.journalLocation": "journal", "badRecordsPath": "bad"}
    given = {name: f"s3a://{bucket}/shared/{place}" for name, place in places.items()}
    loaded.declare(path="{landing}/more/", options=given, schema="id BIGINT, amount DOUBLE")
    lake, settings = loaded.plain, loaded.lake.settings
    prefix = f"{settings.user}/_checkpoints/"
    lake.store.delete_prefix(bucket, prefix)
    lake.store.delete_prefix(bucket, f"{settings.user}/bronze/")
    lake.store.write(loaded.bucket, f"{settings.landing_prefix}more/0.json", b'{"id": 1}\n{"id": \n')
    loaded.load()
    lake.store.write(loaded.bucket, f"{settings.landing_prefix}more/1.json", b'{"id": 2}\n')
    discoverer = keys.of("discoverer").lake
    assert look(discoverer) == (2, 1)
    assert rights(discoverer, bucket, "shared/bad/_delta_log/00000000000000000000.json") == set()


def test_no_key_is_in_the_events_of_a_run(loaded, keys, monkeypatch):
    for name, value in keys.of("writer").environment.items():
        if name.startswith("LAKEHOUSE_"):
            monkeypatch.setenv(name, value)
    job = definitions(lake=LakeResource()).resolve_job_def("ingest")
    with dg.DagsterInstance.ephemeral() as instance:
        first = job.execute_in_process(instance=instance, raise_on_error=False)
        loaded.plain.store.delete_prefix(loaded.lake.settings.bucket, f"{loaded.lake.settings.user}/bronze/things/")
        second = job.execute_in_process(instance=instance, raise_on_error=False)
        events = [(str(entry), str(entry)) for run in (first, second) for entry in instance.all_logs(run.run_id)]
    assert not second.success
    assert any("rows_added" in text for _, text in events) and any("lakehouse doctor" in text for _, text in events)
    assert [name for name, text in events if "canary" in text] == []

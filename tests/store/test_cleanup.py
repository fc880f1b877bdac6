"""What belongs to nothing is listed and removed by name; a clean-up removes what is one's own, and nothing else."""

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from declared import with_declaration
from store.local_world import TABLE, LocalWorld
from store.notified_world import until
from store.test_upkeep import expected, keys, load, stand, values

from lakehouse.checkpoints.agreement import rewriter_of
from lakehouse.errors import ConfigurationError, LeaseHeld
from lakehouse.maintenance import cleanup
from lakehouse.maintenance.positions import alone, place_of
from lakehouse.storage.lease_holder import Holder
from lakehouse.streams.services import leaving_marks, service_of
from lakehouse.upkeep import clean_up, find_orphans, remove_orphans

GONE = "silver.gone"
ALL = {"tables": True, "checkpoints": True, "landing": True}


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(options={"cloudFiles.inferColumnTypes": True})


def test_what_is_kept_for_no_table_is_listed_and_removed_by_name(things):
    load(things, 0, 1)
    lake, user, bucket = things.lake, things.lake.settings.user, things.lake.settings.bucket
    assert find_orphans(lake) == []
    stand(things, "silver.gone", 1)
    lake.store.write(bucket, f"{user}/_checkpoints/silver.gone.kept.json", b"{}")
    for key in ("_checks/silver.gone/rows.parquet", "_journal/landing-gone-1/segments/0.parquet", "_schemas/gold.g/x"):
        lake.store.write(bucket, f"{user}/{key}", b"12345")
    names = ["_checkpoints/silver.gone", "_checks/silver.gone", "_journal/landing-gone-1", "_schemas/gold.g"]
    assert sorted(orphan.name for orphan in find_orphans(lake)) == names
    before = keys(lake)
    for wrong in (TABLE, f"_checkpoints/{TABLE}", ""):
        with pytest.raises(ConfigurationError, match="is no orphan"):
            remove_orphans(lake, [names[0], wrong])
    with alone(lake, "silver.gone"), pytest.raises(LeaseHeld, match="is being written by"):
        remove_orphans(lake, names)
    assert before.keys() <= keys(lake).keys()
    remove_orphans(lake, names[:2])
    assert sorted(orphan.name for orphan in find_orphans(lake)) == names[2:]
    assert not [key for key in keys(lake) if "silver.gone" in key]
    things.load()
    assert things.failed_checks() == set()


def test_a_cleanup_leaves_the_bucket_as_it_was_and_others_alone(things):
    lake, settings = things.lake, things.lake.settings
    other = replace(lake, settings=settings.model_copy(update={"user": f"{settings.user}2"}))
    lake.store.write(settings.bucket, f"{settings.user}2/bronze/things/x.parquet", b"theirs")
    lake.store.write(settings.landing_bucket, f"{settings.landing_prefix}other/x.json", b"nobody's table")
    before, landed = keys(lake), f"{settings.landing_prefix}things/"
    load(things, 0, 2)
    full = keys(lake)
    dry = clean_up(lake, **ALL)
    assert sum(folder.objects for folder in dry.folders) == len(full) - len(before) + 2 and not dry.done
    assert keys(lake) == full
    with alone(lake, TABLE), pytest.raises(LeaseHeld, match=r"bronze\.things by pid"):
        clean_up(lake, **ALL, really=True)
    with rewriter_of(lake, TABLE), pytest.raises(LeaseHeld, match=r"bronze\.things is being written by pid"):
        clean_up(lake, **ALL, really=True)
    clean_up(lake, tables=True, checkpoints=False, landing=False, really=True)
    assert lake.table_names() == [] and place_of(lake, TABLE).finished == 1
    assert len(list(lake.store.list(settings.landing_bucket, landed))) == 2
    clean_up(lake, **ALL, really=True)
    assert keys(lake) == before == keys(other)
    assert [info.key for info in lake.store.list(settings.landing_bucket, settings.landing_prefix)] == [
        f"{settings.landing_prefix}other/x.json"
    ]
    load(things, 0, 1)
    assert values(things) == expected(1)


def test_a_run_that_begins_when_the_leases_are_given_back_keeps_its_place(things, monkeypatch):
    load(things, 0, 2)

    @contextmanager
    def and_then_a_run(lake, table):
        with alone(lake, table):
            yield
        monkeypatch.undo()
        assert things.load_rows() == 6

    monkeypatch.setattr(cleanup, "alone", and_then_a_run)
    clean_up(things.lake, tables=True, checkpoints=True, landing=False, really=True)
    assert place_of(things.lake, TABLE).finished == 0
    assert things.load().batches == ()
    assert things.failed_checks() == set()


def test_files_that_a_table_of_another_declaration_has_loaded_go_and_those_that_nobody_found_stay(things, tmp_path):
    load(things, 0, 2)
    things.put("later.json", [{"a": 1}])
    flow = {"path": "{landing}/others/", "engine": "local"}
    lake = with_declaration(things.plain, tmp_path, json.dumps({"tables": {"bronze.others": {"files": flow}}}))
    dry = clean_up(lake, tables=False, checkpoints=False, landing=True)
    assert [(folder.uri, folder.objects) for folder in dry.folders] == [(f"s3a://{things.bucket}/{things.folder}", 2)]
    journal = next(key for key in keys(lake) if "/segments/" in key)
    whole = lake.store.read(lake.settings.bucket, journal)
    lake.store.write(lake.settings.bucket, journal, whole[:9])
    damaged = clean_up(lake, tables=False, checkpoints=False, landing=True)
    assert damaged.folders == () and "the files of the journal" in damaged.left[0]
    lake.store.write(lake.settings.bucket, journal, whole)
    clean_up(lake, **ALL, really=True)
    assert keys(lake) == {}
    assert [info.key for info in lake.store.list(things.bucket, things.folder)] == [f"{things.folder}later.json"]


def test_a_service_between_two_tries_holds_no_lease_and_keeps_a_cleanup_out_all_the_same(things):
    lake = things.lake
    before = keys(lake)
    load(things, 0, 1)
    told = {"table": TABLE, "state": "restarting", "begun": True, "last_error": "the store is away", "batches": 1}
    told |= {"restarts": 1, "seconds_since_progress": 1.0, "seconds_since_batch": 1.0, "last_batch_id": 0}
    full = keys(lake)
    with leaving_marks(lake, lambda: [told], "", timedelta(minutes=15), every_seconds=0.05):
        until(lambda: service_of(lake.store, lake, TABLE, datetime.now(UTC)) is not None)
        with pytest.raises(LeaseHeld, match=rf"services keep tables up to date: {TABLE} by pid"):
            clean_up(lake, **ALL, really=True)
        assert full.keys() <= keys(lake).keys() and values(things) == expected(1)
    clean_up(lake, **ALL, really=True)
    assert keys(lake) == before


def test_a_silent_writer_elsewhere_is_waited_for_and_no_longer_than_its_lease(things):
    """Of tables that nobody declares: no command takes them over."""
    load(things, 0, 1)
    lake, bucket, folder = things.lake, things.lake.settings.bucket, f"{things.lake.settings.user}/_checkpoints"
    for remove in (lambda: remove_orphans(lake, [f"_checkpoints/{GONE}"]), lambda: clean_up(lake, **ALL, really=True)):
        stand(things, GONE, 1)
        silent = Holder("h", GONE, "elsewhere/1/", 7, "1", 0.0, ttl_seconds=0.5)
        lake.store.write(bucket, f"{folder}/{GONE}.lease", silent.encoded())
        remove()
        assert not [key for key in keys(lake) if GONE in key]

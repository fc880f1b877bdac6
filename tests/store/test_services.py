"""What services leave in the lake: they are told from runs, and a dead one is found and mended by what is printed."""

import shlex
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from command import lakehouse_here, start_lakehouse
from store.broken_pipelines import Pipeline
from store.local_world import TABLE
from store.notified_world import until

from lakehouse.errors import TransientError
from lakehouse.lake import Lake
from lakehouse.maintenance.optimize import Thresholds
from lakehouse.service.service import Service
from lakehouse.settings import Settings
from lakehouse.storage import stop_store, store_status
from lakehouse.streams.services import ServiceMark, forget_dead, leaving_marks, service_of
from lakehouse.streams.trigger import Trigger
from lakehouse.upkeep import optimize_tables, vacuum_tables

KEY = f"_checkpoints/{TABLE}.service"
STALE = timedelta(minutes=15)


@pytest.fixture
def pipeline(lake, tmp_path, environment, monkeypatch):
    return Pipeline(lake, tmp_path, environment, monkeypatch)


def signs(pipeline):
    return [found.sign for found in pipeline.examine()]


def seen(pipeline, later=timedelta()):
    return service_of(pipeline.lake.store, pipeline.lake, TABLE, datetime.now(UTC) + later)


def change(pipeline, process=None, **changed):
    """What the service said, said otherwise."""
    mark = seen(pipeline).mark
    mark = replace(mark, **changed, holder=replace(mark.holder, **(process or {})))
    pipeline.lake.store.write(pipeline.bucket, f"{pipeline.user}/{KEY}", mark.encoded())


def test_a_service_is_told_from_runs_and_a_dead_one_is_a_finding_until_it_is_forgotten(pipeline):
    loaded = pipeline.land(2).load()
    assert seen(loaded) is None and signs(loaded) == []
    service = Service(loaded.lake, [TABLE], Trigger.parse("processing-time=50ms"))
    with leaving_marks(loaded.lake, lambda: service.health.as_dict()["tables"], "t=1s", STALE, every_seconds=0.05):
        thread = threading.Thread(target=service.run)
        thread.start()
        loaded.land(2)
        until(lambda: seen(loaded) is not None and seen(loaded).mark.batches == 2)
        there = seen(loaded)
        kept = loaded.objects(KEY)
        service.stop.ask()
        thread.join()
    assert not there.dead and f"looked 0 s ago, batch {there.mark.last_batch_id} 0 s ago" in there.described()
    assert (there.mark.state, there.mark.restarts, there.mark.last_error) == ("running", 0, "")
    assert seen(loaded) is None, "a service that is stopped takes it away"
    loaded.put_back(KEY, kept)
    change(loaded, every_seconds=60.0)
    assert signs(loaded) == []
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for process, changed, later, sign in (
        ({"pid": gone.pid, "started": "1"}, {}, 0, "service_dead"),
        ({"host": "elsewhere/1/"}, {}, 2, ""),
        ({"host": "elsewhere/1/"}, {}, 4, "service_silent"),
        ({}, {"ended": "the store is gone"}, 0, "service_dead"),
        ({}, {"seconds_since_look": 901.0}, 0, "service_silent"),
    ):
        loaded.put_back(KEY, kept)
        change(loaded, process, **{"every_seconds": 60.0, **changed})
        loaded.later = timedelta(minutes=later)
        assert signs(loaded) == [sign][: bool(sign)], (process, changed)
    assert forget_dead(loaded.lake, [TABLE], datetime.now(UTC)) == [], "its process lives, and may go on"
    change(loaded, ended="it was the store")
    loaded.later = timedelta()
    [finding] = loaded.examine()
    assert finding.command.startswith(f"lakehouse stream {TABLE} --trigger t=1s   ")
    assert lakehouse_here(loaded.environment, "stream", TABLE, "--forget-dead").returncode == 0
    assert seen(loaded) is None and signs(loaded) == []
    loaded.lake.store.write(loaded.bucket, f"{loaded.user}/{KEY}", b'{"tables": 5}')
    assert signs(loaded) == [], "what nobody can read says nothing"
    loaded.land().load().assert_exact()


def test_a_service_that_ends_with_an_error_says_so_and_none_ends_because_it_cannot_say(pipeline):
    loaded = pipeline.land().load()
    told = {"table": TABLE, "state": "failed", "begun": True, "seconds_since_progress": 1.0, "last_error": "no"}
    told |= {"seconds_since_batch": None, "last_batch_id": None, "batches": 0, "restarts": 0}
    with suppress(TransientError), leaving_marks(loaded.lake, lambda: [told], "", STALE):
        raise TransientError("the store is gone", where="s3a://x", state="", next_command="lakehouse up")
    assert seen(loaded).mark.ended == "the store is gone" and signs(loaded) == ["service_dead"]
    with leaving_marks(loaded.lake, lambda: [{**told, "begun": False}], "", STALE):
        pass
    assert seen(loaded).mark.ended, "a service that never had the table takes away what is of another"

    def refuse(*_, **__):
        raise TransientError("no", where="", state="", next_command="")

    loaded.patch.setattr(type(loaded.lake.store), "write", refuse)
    asked = []
    with leaving_marks(loaded.lake, lambda: asked.append(1) or [told], "", STALE, every_seconds=0.01):
        until(lambda: len(asked) > 2)
    assert seen(loaded).mark.ended == "the store is gone", "it goes on, and nothing new is said"


def test_what_was_kept_is_read_again(pipeline):
    assert ServiceMark.decoded(b"no") is None and ServiceMark.decoded(b"[]") is None


@pytest.mark.soak("a service's process, killed, and started again by what is printed; in this process it is stopped")
def test_a_killed_service_is_started_again_by_the_command_that_the_doctor_prints(pipeline):
    landed = pipeline.land(2)
    first = start_lakehouse(
        landed.environment | landed.world.environment, "stream", TABLE, "--trigger", "processing-time=1s"
    )
    until(lambda: seen(landed) is not None)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert signs(landed)[-2:] == ["writer_dead", "service_dead"], "and perhaps a batch that it had begun"
    words = shlex.split(landed.examine()[-1].command.split("   ")[0])
    landed.land(2)
    second = start_lakehouse(landed.environment | landed.world.environment, *words[1:])
    until(lambda: signs(landed) == [] and len(landed.world.rows()) == 12)
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0 and seen(landed) is None and signs(landed) == []
    landed.assert_exact()


def test_a_service_is_heard_of_when_the_store_came_back_at_another_address(tmp_path):
    own = Settings.load(home=tmp_path / "home", user="tester")
    lake = Lake.open(own)
    stream = {"table": TABLE, "state": "running", "begun": True, "last_error": "", "batches": 1, "restarts": 0}
    stream |= {"seconds_since_progress": 1.0, "seconds_since_batch": 1.0, "last_batch_id": 1}
    try:
        with leaving_marks(lake, lambda: [stream], "t=1s", STALE, every_seconds=0.2):
            until(lambda: service_of(lake.store, lake, TABLE, datetime.now(UTC)) is not None)
            killed = psutil.Process(store_status(own).pid)
            killed.kill()
            killed.wait()
            port = int(lake.endpoint.url.rsplit(":", 1)[1])
            stranger = subprocess.Popen([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"])
            until(lambda: psutil.Process(stranger.pid).net_connections("tcp"))
            moved = Lake.open(own)
            assert moved.endpoint.url != lake.endpoint.url
            moved.store.delete(own.bucket, f"{own.user}/{KEY}")
            until(lambda: service_of(moved.store, moved, TABLE, datetime.now(UTC)) is not None)
    finally:
        stranger.kill()
        stranger.wait()
        stop_store(own)


def test_files_are_joined_and_removed_beside_a_service_that_never_fails_and_loses_no_row(pipeline):
    join_and_remove(pipeline, 2)


@pytest.mark.soak("ten times the rounds of files that are joined and removed")
def test_files_are_joined_and_removed_beside_a_service_through_many_rounds(pipeline):
    join_and_remove(pipeline, 20)


def join_and_remove(pipeline, rounds):
    loaded, joined = pipeline.land(2).load(), 0
    service = Service(loaded.lake, [TABLE], Trigger.parse("processing-time=50ms"))
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        for _ in range(rounds):
            loaded.land(2)
            until(lambda: len(loaded.world.rows()) == 3 * loaded.files)
            [done] = optimize_tables(loaded.lake, [TABLE], Thresholds(least_fewer=1), really=True)
            [removed] = vacuum_tables(loaded.lake, [TABLE], retention_hours=0, really=True)
            assert (removed.refused, len(loaded.world.objects())) == ("", len(loaded.world.adds()))
            joined += done.done
    finally:
        service.stop.ask()
        thread.join()
    [told] = service.health.as_dict()["tables"]
    assert (joined, told["restarts"], told["last_error"] or "") == (rounds, 0, "")
    loaded.land().load().assert_exact()

"""The sensor against a listing that each test writes down: times and keys are the input."""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster import EventLogEntry
from declared_catalogues import orders_definitions

from lakehouse.dagster import LakeResource, sensors
from lakehouse.dagster.arrivals import Seen
from lakehouse.dagster.cursor import Cursor
from lakehouse.errors import StoreUnavailable
from lakehouse.storage import ObjectInfo

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


class Listing:
    """A landing folder, as the store would list it."""

    def __init__(self):
        self.objects = []
        self.problem = None

    def put(self, name, seconds=0.0, size_bytes=10, e_tag="e"):
        key = name if name.startswith("other/") else f"orders/{name}"
        self.objects.append(ObjectInfo(key, size_bytes, e_tag, NOON + timedelta(seconds=seconds)))

    def list(self, bucket, prefix="", start_after=None):
        if self.problem:
            raise self.problem
        found = sorted(self.objects, key=lambda info: info.key)
        return iter([info for info in found if info.key.startswith(prefix) and info.key > (start_after or "")])


@pytest.fixture
def listing(monkeypatch):
    made = Listing()

    class FakeLake:
        settings = LakeResource().settings()
        store = made

    monkeypatch.setattr(LakeResource, "open", lambda self: FakeLake)
    return made


@pytest.fixture(scope="module")
def new_order_files():
    return orders_definitions().resolve_sensor_def("new_order_files")


@pytest.fixture
def tick(listing, instance, new_order_files):
    state = {"cursor": None}

    def evaluate(*, keep_cursor=True, cursor=None):
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor or state["cursor"], resources={"lake": LakeResource()}
        )
        outcome = new_order_files.evaluate_tick(context)
        if keep_cursor and outcome.cursor:
            state["cursor"] = outcome.cursor
        return outcome

    return evaluate


@dg.job(name="ingest_orders")
def ingest_orders():
    pass


@pytest.fixture
def asked_run(instance):
    """A run as the daemon starts it for a request; None is one of the schedule's."""

    def start(request):
        tags = {**request.tags, "dagster/run_key": request.run_key} if request else {}
        return instance.create_run_for_job(ingest_orders, status=dg.DagsterRunStatus.STARTED, tags=tags)

    return start


def event_of(run, kind):
    event = dg.DagsterEvent(event_type_value=kind.value, job_name=run.job_name)
    return EventLogEntry(None, "debug", "", run.run_id, NOON.timestamp(), job_name=run.job_name, dagster_event=event)


def fail(run, instance):
    """Ends the run as failed and says when the instance thinks that was."""
    instance.report_run_failed(run)
    return datetime.fromtimestamp(instance.get_run_record_by_id(run.run_id).end_time, UTC)


def at(monkeypatch, moment):
    """Lets the sensor think that it is ``moment``."""
    monkeypatch.setattr(sensors, "_now", lambda: moment)


def test_an_empty_folder_is_a_skip_with_numbers(tick):
    outcome = tick()
    assert outcome.run_requests == []
    assert outcome.skip_message == "0 new of 0 order files under s3a://landing/orders/"


def test_new_files_are_one_run_whatever_their_number(tick, listing):
    for number in range(50):
        listing.put(f"orders_stream_{number:03d}.json", seconds=number)
    outcome = tick()
    [request] = outcome.run_requests
    assert request.tags["new_files"] == "50"
    [observation] = outcome.asset_events
    assert observation.metadata["new_files"].value == 50
    assert observation.metadata["new_bytes"].value == 500
    assert tick().skip_message == "0 new of 50 order files under s3a://landing/orders/, newest 2026-01-01 12:00:49Z"


def test_files_of_the_same_second_are_told_apart(tick, listing):
    listing.put("orders_stream_b.json")
    assert len(tick().run_requests) == 1
    listing.put("orders_stream_a.json")
    [request] = tick().run_requests
    assert request.tags["new_files"] == "1"
    assert tick().run_requests == []


def test_a_file_with_an_old_time_is_noticed(tick, listing):
    listing.put("orders_stream_b.json", seconds=100)
    tick()
    listing.put("orders_stream_a.json", seconds=-86_400)
    assert len(tick().run_requests) == 1
    assert tick().run_requests == []


def test_a_removed_file_asks_for_nothing_and_hides_nothing(tick, listing):
    for number in range(3):
        listing.put(f"orders_stream_{number}.json", seconds=number)
    tick()
    del listing.objects[0]
    assert tick().run_requests == []
    listing.put("orders_stream_9.json", seconds=9)
    assert len(tick().run_requests) == 1


def test_what_is_no_order_file_is_ignored_and_counted(tick, listing):
    listing.put("README.txt")
    listing.put("orders_stream_0.json", size_bytes=0)
    listing.put("sub/")
    outcome = tick()
    assert outcome.run_requests == []
    assert "3 other objects ignored" in outcome.skip_message


def test_a_tick_that_was_lost_asks_with_the_same_name(tick, listing):
    listing.put("orders_stream_0.json")
    first = tick(keep_cursor=False).run_requests[0].run_key
    assert tick().run_requests[0].run_key == first
    listing.put("orders_stream_1.json", seconds=1)
    assert tick().run_requests[0].run_key != first


def test_a_cursor_that_was_set_back_starts_a_run_though_the_files_are_the_same(tick, listing, asked_run, instance):
    listing.put("orders_stream_0.json")
    first = tick(keep_cursor=False).run_requests[0]
    instance.report_run_canceled(asked_run(first))
    [again] = tick(keep_cursor=False).run_requests
    assert again.run_key != first.run_key
    instance.report_run_canceled(asked_run(again))
    assert tick().run_requests[0].run_key not in (first.run_key, again.run_key)


@pytest.mark.parametrize(
    "cursor", ["typed by hand", "7", '{"v": 99, "high": 1}', '{"v": 1}', '{"v": 3, "folders": []}']
)
def test_a_cursor_that_cannot_be_read_costs_one_run_and_no_error(tick, listing, cursor):
    listing.put("orders_stream_0.json")
    assert len(tick(cursor=cursor).run_requests) == 1
    assert tick().run_requests == []


def test_an_old_file_after_a_removal_is_noticed(tick, listing):
    for number in range(3):
        listing.put(f"orders_stream_{number}.json", seconds=number)
    tick()
    del listing.objects[0]
    assert tick().run_requests == []
    listing.put("orders_stream_9.json", seconds=-86_400)
    [request] = tick().run_requests
    assert request.tags["new_files"] == "1"
    assert tick().run_requests == []


def test_a_run_that_failed_is_asked_for_again_later_and_later_then_left_to_the_schedule(
    tick, listing, asked_run, instance, monkeypatch
):
    listing.put("orders_stream_0.json")
    [request] = tick().run_requests
    keys = {request.run_key}
    for minutes in (1, 4, 16):
        ended = fail(asked_run(request), instance)
        at(monkeypatch, ended + timedelta(minutes=minutes, seconds=-2))
        waiting = tick()
        assert waiting.run_requests == []
        assert "failed in run" in waiting.skip_message
        at(monkeypatch, ended + timedelta(minutes=minutes, seconds=2))
        [request] = tick().run_requests
        assert request.run_key not in keys
        assert tick().run_requests[0].run_key == request.run_key, "one failure is tried again once"
        keys.add(request.run_key)
    ended = fail(asked_run(request), instance)
    at(monkeypatch, ended + timedelta(days=2))
    outcome = tick()
    assert outcome.run_requests == []
    assert "left to the schedule" in outcome.skip_message


def test_a_failure_that_a_later_run_made_good_is_not_tried_again(tick, listing, asked_run, instance, monkeypatch):
    listing.put("orders_stream_0.json")
    ended = fail(asked_run(tick().run_requests[0]), instance)
    done = asked_run(None)
    instance.handle_new_event(event_of(done, dg.DagsterEventType.RUN_SUCCESS))
    at(monkeypatch, ended + timedelta(hours=1))
    outcome = tick()
    assert (outcome.run_requests, outcome.skip_message.count("failed")) == ([], 0)


def test_a_rewritten_file_is_new(tick, listing):
    listing.put("orders_stream_0.json")
    tick()
    listing.objects.clear()
    listing.put("orders_stream_0.json", seconds=60, e_tag="other")
    assert len(tick().run_requests) == 1


def test_files_wait_while_a_run_is_unfinished_and_are_not_forgotten(tick, listing, instance, asked_run):
    listing.put("orders_stream_0.json")

    run = asked_run(None)
    assert tick().skip_message == f"1 new file in orders, held until run {run.run_id[:8]} ends"
    instance.report_run_canceled(run)
    assert len(tick().run_requests) == 1


def test_a_store_that_does_not_answer_fails_the_tick(tick, listing):
    listing.problem = StoreUnavailable("the object store does not answer", next_command="lakehouse up")
    with pytest.raises(StoreUnavailable, match="lakehouse up"):
        tick()


def test_the_cursor_stays_small(tick, listing):
    for number in range(10_000):
        listing.put(f"orders_stream_{number:05d}.json", seconds=number)
    outcome = tick()
    assert len(outcome.cursor) < 500
    assert json.loads(outcome.cursor)["v"] == 3


def test_a_large_folder_is_listed_as_a_whole_again_only_when_a_run_could_start(
    tick, listing, instance, asked_run, monkeypatch
):
    monkeypatch.setattr("lakehouse.dagster.arrivals.FAST_FROM_FILES", 2)
    at(monkeypatch, NOON)
    for number in range(3):
        listing.put(f"orders_stream_{number}.json", seconds=number)
    instance.report_run_canceled(asked_run(tick().run_requests[0]))
    listing.put("orders_stream_0_restored.json", seconds=-86_400)
    skipped = tick()
    assert "0 new of 3 order files" in skipped.skip_message
    assert "all of them listed at 2026-01-01 12:00:00Z" in skipped.skip_message
    run = asked_run(None)
    at(monkeypatch, NOON + timedelta(hours=2))
    assert "all of them listed at 2026-01-01 12:00:00Z" in tick().skip_message, "it would wait anyway"
    instance.report_run_canceled(run)
    [request] = tick().run_requests
    assert request.tags["new_files"] == "1"


def test_the_cursor_is_read_as_it_was_written():
    seen = Seen("2026", ("a", "b"), 3, "z", "2026-01-01T00:00:00+00:00", True, 2, "zz", "2027")
    cursor = Cursor({"orders": ("abc", seen)}, "orders")
    assert Cursor.read(cursor.write()) == cursor

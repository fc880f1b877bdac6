"""The sensor over several folders: listings and ends of runs that each test writes down."""

from datetime import UTC, datetime, timedelta
from functools import cache

import dagster as dg
import pytest

from lakehouse.dagster import LakeResource, definitions, looking, sensors
from lakehouse.errors import AccessDenied, StoreUnavailable
from lakehouse.flows.files import Files
from lakehouse.flows.latest import Latest
from lakehouse.storage import ObjectInfo, ObjectMissing
from lakehouse.storage.store import BucketMissing
from lakehouse.table import Catalogue, Table

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
TABLES = (
    Table("bronze.orders", Files(path="s3a://landing/orders/")),
    Table("bronze.rooms", Files(path="s3a://landing/rooms/")),
    Table("bronze.trips", Files(path="s3a://travel/trips/")),
    Table("silver.orders", Latest(of="bronze.orders", key="id")),
    Table("silver.rooms", Latest(of="bronze.rooms", key="id")),
)
ORDERS, ROOMS, TRIPS = ["bronze/orders", "silver/orders"], ["bronze/rooms", "silver/rooms"], ["bronze/trips"]


class Listing:
    """Buckets as a store lists them; says which it was asked for."""

    def __init__(self):
        self.objects, self.problems, self.asked, self.asked_of_lake = [], {}, [], []

    def put(self, key, seconds=0.0, e_tag="e"):
        self.objects.append(ObjectInfo(key, 10, e_tag, NOON + timedelta(seconds=seconds)))

    def read(self, bucket, key):
        raise ObjectMissing(key)

    def list(self, bucket, prefix="", start_after=None):
        if bucket in ("landing", "travel"):
            self.asked.append(prefix)
        else:
            self.asked_of_lake.append(prefix)
        if prefix in self.problems:
            raise self.problems[prefix]
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
def loaded():
    return definitions(Catalogue(TABLES))


@pytest.fixture
def tick(listing, instance, loaded):
    state = {}

    def evaluate(made=loaded):
        with dg.build_sensor_context(
            instance=instance, cursor=state.get("cursor"), resources={"lake": LakeResource()}, definitions=made
        ) as context:
            outcome = made.resolve_sensor_def("new_files").evaluate_tick(context)
        state["cursor"] = outcome.cursor or state.get("cursor")
        return outcome

    return evaluate


@cache
def job_of(*broken):
    """The job as far as its runs' records go: steps of the tables' names, some of which fail."""
    downstream = {"silver/orders": "bronze/orders", "silver/rooms": "bronze/rooms"}

    def asset_of(key, dependencies):
        @dg.asset(
            key=dg.AssetKey(key.split("/")), deps=[dg.AssetKey(dependency.split("/")) for dependency in dependencies]
        )
        def made():
            if key in broken:
                raise ValueError("broken")

        return made

    every = [*ORDERS, *ROOMS, *TRIPS]
    assets = [asset_of(key, [downstream[key]] if key in downstream else []) for key in every]
    keys = [asset.key for asset in assets]
    job = dg.define_asset_job("ingest", selection=keys, executor_def=dg.in_process_executor)
    return dg.Definitions(assets=assets, jobs=[job]).resolve_job_def("ingest")


@pytest.fixture
def run_of(instance):
    """Runs what a request asks for; says when that ended."""

    def run(request, broken=()):
        job = job_of(*broken)
        chosen = request.asset_selection if request else None
        result = job.execute_in_process(
            instance=instance, asset_selection=chosen, tags=request.tags if request else {}, raise_on_error=False
        )
        return result, datetime.fromtimestamp(instance.get_run_record_by_id(result.run_id).end_time, UTC)

    return run


@pytest.fixture
def at(monkeypatch):
    return lambda moment: monkeypatch.setattr(sensors, "_now", lambda: moment)


def asked(outcome):
    [request] = outcome.run_requests
    return [key.to_user_string() for key in request.asset_selection]


def test_new_files_of_several_folders_are_one_run_of_the_tables_that_they_concern(tick, listing):
    listing.put("orders/a.json")
    listing.put("trips/b.json")
    listing.put("trips/c.json")
    outcome = tick()
    assert asked(outcome) == ["bronze/orders", "bronze/trips", "silver/orders"]
    [request] = outcome.run_requests
    shown = {name: tag for name, tag in request.tags.items() if "dagster/" not in name}
    assert shown == {"new_files": "3", "landing_folders": "orders, trips"}
    seen = {event.asset_key.to_user_string(): event.metadata["new_files"].value for event in outcome.asset_events}
    assert seen == {"landing/orders": 1, "landing/trips": 2}
    assert tick().skip_message == "0 new of 3 files in 3 folders, newest 2026-01-01 12:00:00Z"


def test_a_run_of_all_tables_is_a_run_of_the_job_as_it_is(tick, listing):
    for folder in ("orders", "rooms", "trips"):
        listing.put(f"{folder}/a.json")
    [request] = tick().run_requests
    assert request.asset_selection is None


def test_files_wait_for_a_run_of_their_tables_and_for_no_other(tick, listing, instance):
    running = instance.create_run_for_job(
        job_of(), status=dg.DagsterRunStatus.STARTED, asset_selection={dg.AssetKey(["silver", "orders"])}
    )
    listing.put("orders/a.json")
    listing.put("rooms/b.json")
    assert asked(tick()) == ROOMS
    assert f"1 new file in orders, held until run {running.run_id[:8]} ends" in tick().skip_message
    instance.report_run_canceled(running)
    assert asked(tick()) == ORDERS


def test_of_a_run_that_failed_only_what_failed_is_tried_again(tick, listing, run_of, at):
    for folder in ("orders", "rooms", "trips"):
        listing.put(f"{folder}/a.json")
    broken, ended = run_of(tick().run_requests[0], broken=["bronze/rooms"])
    assert not broken.success
    at(ended + timedelta(seconds=58))
    assert "bronze.rooms, silver.rooms failed in run" in tick().skip_message
    at(ended + timedelta(seconds=62))
    outcome = tick()
    assert asked(outcome) == ROOMS
    assert outcome.run_requests[0].tags["after_failed_run"] == broken.run_id
    assert tick().run_requests[0].run_key == outcome.run_requests[0].run_key, "one failure is tried again once"
    run_of(outcome.run_requests[0])
    assert tick().run_requests == []


def test_good_runs_of_other_tables_do_not_hide_a_failure(tick, listing, run_of, at):
    listing.put("rooms/a.json")
    _, ended = run_of(tick().run_requests[0], broken=["bronze/rooms"])
    listing.put("trips/a.json")
    run_of(tick().run_requests[0])
    at(ended + timedelta(seconds=62))
    listing.put("trips/b.json", seconds=1)
    assert asked(tick()) == ["bronze/rooms", "bronze/trips", "silver/rooms"], "one run for new files and the second try"


def test_what_a_cancelled_run_left_is_told_until_a_later_run_has_it(tick, listing, instance, run_of):
    listing.put("rooms/a.json")
    request = tick().run_requests[0]
    begun = instance.create_run_for_job(
        job_of(), status=dg.DagsterRunStatus.STARTED, asset_selection=set(request.asset_selection)
    )
    instance.report_run_canceled(begun)
    told = tick()
    assert told.run_requests == [], "whoever cancelled it meant that"
    assert f"run {begun.run_id[:8]} was cancelled: what it left of bronze.rooms, silver.rooms" in told.skip_message
    listing.put("trips/a.json")
    run_of(tick().run_requests[0])
    assert "was cancelled" in tick().skip_message, "that run was of another table"
    run_of(request)
    assert "cancelled" not in tick().skip_message


def test_a_table_that_fails_on_and_on_is_left_to_the_schedule_and_others_go_on(tick, listing, run_of, at):
    listing.put("rooms/a.json")
    request = tick().run_requests[0]
    for minutes in (1, 4, 16):
        _, ended = run_of(request, broken=["bronze/rooms"])
        at(ended + timedelta(minutes=minutes, seconds=2))
        [request] = tick().run_requests
    _, ended = run_of(request, broken=["bronze/rooms"])
    at(ended + timedelta(days=1))
    assert "bronze.rooms, silver.rooms failed in run" in (told := tick().skip_message)
    assert "left to the schedule" in told
    listing.put("trips/a.json")
    assert asked(tick()) == TRIPS


def test_a_folder_that_gets_a_table_is_looked_at_anew(tick, listing, run_of):
    listing.put("orders/a.json")
    run_of(tick().run_requests[0])
    assert tick().run_requests == []
    more = Table("bronze.again", Files(path="s3a://landing/orders/"))
    assert "bronze/again" in asked(tick(definitions(Catalogue((*TABLES, more)))))


def test_what_was_asked_of_a_table_is_a_run_of_it_and_of_those_behind_it_for_one_request_a_tick(tick, listing):
    folder = f"{LakeResource().settings().user}/_asked/"
    listing.put(f"{folder}bronze.rooms")
    listing.put(f"{folder}bronze.nobody")
    outcome = tick()
    assert asked(outcome) == ROOMS
    assert outcome.run_requests[0].tags["asked_of"] == "bronze.rooms"
    assert tick().run_requests == []
    listing.objects.clear()
    listing.put(f"{folder}bronze.rooms", e_tag="later")
    listing.put("trips/a.json")
    assert asked(tick()) == [*ROOMS[:1], *TRIPS, *ROOMS[1:]]
    assert listing.asked_of_lake.count(folder) == 3
    listing.problems[folder] = AccessDenied("these keys may not list")
    listing.put(f"{folder}bronze.orders")
    assert tick().run_requests == []
    del listing.problems[folder]
    assert asked(tick()) == ORDERS, "what was asked for before is remembered"


@pytest.mark.parametrize("problem", [BucketMissing("there is no bucket"), AccessDenied("these keys may not list")])
def test_a_folder_that_cannot_be_listed_is_told_and_hides_no_other(tick, listing, problem):
    listing.problems["trips/"] = problem
    listing.put("orders/a.json")
    assert asked(tick()) == ORDERS
    assert f"trips cannot be listed: {problem}" in tick().skip_message
    for prefix in ("orders/", "rooms/"):
        listing.problems[prefix] = problem
    with pytest.raises(type(problem)):
        tick()


def test_a_store_that_is_gone_fails_the_tick_at_the_first_folder(tick, listing):
    listing.problems["orders/"] = StoreUnavailable("gone")
    with pytest.raises(StoreUnavailable):
        tick()
    assert listing.asked == ["orders/"]


def test_a_tick_without_time_goes_on_in_the_next_one(tick, listing, monkeypatch):
    monkeypatch.setattr(looking, "LOOK_SECONDS", -1.0)
    listing.put("trips/a.json")
    assert tick().skip_message == "0 new of 0 files in 3 folders; 2 folders left for the next tick"
    assert tick().run_requests == []
    assert asked(tick()) == TRIPS
    assert listing.asked == ["orders/", "rooms/", "trips/"]
    tick()
    assert listing.asked[3:] == ["orders/"]

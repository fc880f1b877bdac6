"""An object store in trouble."""

import pytest
import stamina
from storm_proxy import storm_proxy

from lakehouse.errors import AccessDenied, StoreUnavailable

FILES = rb"GET /landing/\S+\.json"


@pytest.fixture
def storm(world, monkeypatch):
    with storm_proxy(world.lake.endpoint.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.mark.parametrize("faults", [["busy"], ["reset"], ["cut"], ["busy", "reset", "cut"]], ids="+".join)
def test_a_storm_costs_time_and_no_row(world, storm, faults):
    assert_no_row_is_lost(world, storm, faults, files=40, share=0.3)


@pytest.mark.soak("a storm over twenty times as many files")
def test_a_long_storm_costs_time_and_no_row(world, storm):
    assert_no_row_is_lost(world, storm, ["busy", "reset", "cut"], files=800, share=0.15)


def assert_no_row_is_lost(world, storm, faults, files, share):
    for number in range(files):
        world.put(f"{number:03d}.json", b'{"a": %d}\n' % number * 5)
    storm.strike(FILES, *faults, share=share)
    rows = world.run(max_files=files)
    assert rows == sorted(((f"{n:03d}.json", row, n) for n in range(files) for row in range(5)), key=str)
    assert len(storm.met) > files * share / 2
    assert {state.ingestion_state for state in world.states().values()} == {"INGESTED"}


def test_a_storm_without_end_is_an_error_and_the_next_run_loads_the_files(world, storm):
    with stamina.set_testing(True, attempts=2):  # the same bounds without the long waits
        assert_it_is_an_error_and_the_next_run_loads_the_files(world, storm)


@pytest.mark.soak("the attempts and pauses as they are")
def test_a_storm_without_end_is_an_error_within_its_own_limits(world, storm):
    assert_it_is_an_error_and_the_next_run_loads_the_files(world, storm)


def assert_it_is_an_error_and_the_next_run_loads_the_files(world, storm):
    world.put("a.json")
    storm.strike(FILES, "reset")
    with pytest.raises(StoreUnavailable, match="did not hand out a file") as raised:
        world.run()
    assert "a.json" in raised.value.where
    storm.strike(FILES, "reset", share=0.0)
    assert world.run() == [("a.json", 0, 1)]


def test_keys_that_are_refused_in_the_middle_of_a_run_quarantine_nothing(world, storm):
    for name in ("a.json", "b.json", "c.json"):
        world.put(name)
    storm.strike(rb"GET /landing/\S+c\.json", "denied")
    with pytest.raises(AccessDenied) as raised:
        world.run()
    said = str(raised.value)
    assert "s3:GetObject" in said
    endpoint = world.lake.endpoint
    for secret in (endpoint.access_key, endpoint.secret_key):
        assert secret.get_secret_value() not in said
    assert {state.ingestion_state for state in world.states().values()} <= {None, "INGESTED"}
    storm.strike(FILES, "denied", share=0.0)
    assert world.run() == [("c.json", 0, 1)]

"""What the command line commits is shown in Dagster, once, and what its own runs commit is not shown again."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster_rooms import Room
from store.local_world import TABLE

from lakehouse.dagster.names import key_of
from lakehouse.dagster.outside import Known, look
from lakehouse.declaration import read_catalogue

KEY = key_of(TABLE)


class Watched(Room):
    """A room whose sensor is asked."""

    known, now = Known(), datetime(2026, 1, 1, tzinfo=UTC)

    def tick(self, **later):
        self.now += timedelta(minutes=1, **later)
        told, known = look(
            self.instance,
            self.world.lake,
            read_catalogue(self.world.lake.settings),
            Known.read(self.known.write()),
            self.now,
        )
        self.known = known
        for event in told:
            self.instance.report_runless_asset_event(event)
        return told


@pytest.fixture
def room(lake, tmp_path, instance):
    return Watched(lake, tmp_path, instance)


def numbers(event):
    return {name: value.value for name, value in event.metadata.items()}


def test_commits_of_the_command_line_are_told_once_and_those_of_runs_never(room):
    assert room.tick() == []
    room.world.put("1.json", [{"id": "1"}])
    room.world.load()
    [first] = room.tick(hours=2)
    assert isinstance(first, dg.AssetMaterialization)
    assert (numbers(first)["delta_version"], numbers(first)["dagster/row_count"]) == (0, 1)
    assert [column.name for column in numbers(first)["dagster/column_schema"].columns][:1] == ["id"]
    assert room.tick() == []
    room.world.put("2.json", [{"id": "2"}, {"id": "3"}])
    room.world.load()
    [second] = room.tick()
    told = numbers(second)
    assert (told["rows_added"], told["batches"], told["delta_version_before"], told["delta_version"]) == (2, 1, 0, 1)
    room.world.put("3.json", [{"id": "4"}])
    room.materialize()
    assert room.tick() == []
    last = room.instance.get_latest_materialization_event(KEY).asset_materialization
    assert last.tags["dagster/data_version"] == "2"
    room.pull("maintain_optimize", apply=True, least_fewer=1)
    [kept] = room.tick()
    assert isinstance(kept, dg.AssetObservation), "no row came: it is no new data"


def test_a_table_of_a_run_that_goes_on_is_left_to_it(room):
    room.world.put("1.json", [{"id": "1"}])
    room.world.load()
    job = room.made.resolve_implicit_global_asset_job_def()
    run = room.instance.create_run_for_job(job.get_subset(asset_selection={KEY}), status=dg.DagsterRunStatus.STARTED)
    assert room.tick() == []
    room.instance.report_run_canceled(run)
    assert len(room.tick()) == 1, "a run that ended without a word has told nothing of it"


def test_a_cursor_of_somebody_else_counts_as_none():
    for text in (None, "", "[]", "7", '{"versions": {"a": "b"}, "whole": "", "first": ""}', '{"versions": {}}'):
        assert Known.read(text) == Known()

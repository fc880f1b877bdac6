"""The nightly count of all rows, on a table that no stream wrote: no session is opened."""

import dagster as dg
import pytest
from counted import write
from declared import with_declaration

from lakehouse.dagster import LakeResource, SparkResource, definitions
from lakehouse.declaration import read_catalogue

FILE = """
tables:
  bronze.things:
    files: {path: "{landing}/things/"}
    checks:
      - unique: id
      - not_null: name
        on_failure: warn
"""
KEY = dg.AssetKey(["maintenance", "check_all_rows", "bronze", "things"])


class NoSession(SparkResource):
    @property
    def spark_session(self):
        raise AssertionError("a session was asked for")


@pytest.fixture
def run(lake, tmp_path, instance):
    settings = with_declaration(lake, tmp_path, FILE).settings
    names = ("home", "declaration", "user", "bucket", "landing_prefix")
    resource = LakeResource(**{name: str(getattr(settings, name)) for name in names})
    made = definitions(read_catalogue(settings), lake=resource)
    job = dg.Definitions(
        assets=made.assets, resources={"lake": resource, "spark": NoSession(lake=resource)}
    ).resolve_implicit_global_asset_job_def()
    assert KEY in made.resolve_job_def("maintenance").asset_layer.selected_asset_keys
    return lambda: job.get_subset(asset_selection={KEY}).execute_in_process(instance=instance, raise_on_error=False)


def metadata(done):
    [found] = done.asset_materializations_for_node(KEY.to_python_identifier())
    return {name: value.value for name, value in found.metadata.items()}


def test_findings_that_only_warn_are_shown_and_one_that_blocks_fails_the_run(lake, run):
    assert metadata(run()) == {"checks": 0, "checks_failed": 0}
    write(lake, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    first = metadata(run())
    assert (first["checks"], first["checks_failed"]) == (2, 0)
    write(lake, [{"id": 3, "name": None}])
    second = metadata(run())
    assert (second["checks"], second["checks_failed"]) == (3, 1), "the third is whether kept counts agree"
    [row] = second["failed"].records
    assert row.data["check"] == "not_null" and "null_rows 1" in row.data["finding"]
    write(lake, [{"id": 3, "name": "c"}])
    done = run()
    assert not done.success
    [failure] = [event for event in done.all_events if event.is_step_failure]
    assert "unique failed on bronze.things: duplicate_keys 1" in str(failure.step_failure_data.user_failure_data)

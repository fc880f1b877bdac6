"""Backups of checkpoints as an asset, and tables one after the other in a given order; no session is opened."""

import dagster as dg
import pytest
from declared import with_declaration

from lakehouse.dagster import LakeResource, SparkResource, definitions
from lakehouse.dagster.backups import BACKUPS
from lakehouse.declaration import read_catalogue
from lakehouse.maintenance.backup import backups

FILE = """
tables:
  bronze.things:
    files: {path: "{landing}/things/", engine: local}
  bronze.again:
    files: {path: "{landing}/things/", engine: local}
  bronze.empty:
    files: {path: "{landing}/nothing/", engine: local}
"""
TOUR = ("bronze.things", "bronze.empty", "bronze.again")


class NoSession(SparkResource):
    @property
    def spark_session(self):
        raise AssertionError("a session was asked for")


@pytest.fixture
def job(lake, tmp_path, instance):
    settings = with_declaration(lake, tmp_path, FILE).settings
    names = ("home", "declaration", "user", "bucket", "landing_prefix")
    resource = LakeResource(**{name: str(getattr(settings, name)) for name in names})
    made = definitions(read_catalogue(settings), lake=resource, tours={"tour": TOUR})
    made = dg.Definitions(
        assets=made.assets,
        asset_checks=made.asset_checks,
        jobs=made.jobs,
        resources={"lake": resource, "spark": NoSession(lake=resource)},
    )

    def run(name, **config):
        done = made.resolve_job_def(name).execute_in_process(instance=instance, run_config=config)
        return [event.step_materialization_data.materialization for event in done.get_asset_materialization_events()]

    return run


def test_tables_are_loaded_in_their_turn_and_their_checkpoints_backed_up(lake, job):
    lake.store.write(lake.settings.landing_bucket, f"{lake.settings.landing_prefix}things/1.json", b'{"a": 1}\n')
    loaded = job("tour")
    assert [".".join(materialization.asset_key.path) for materialization in loaded] == list(TOUR)
    assert loaded[0].metadata["checkpoint_objects"].value == 3
    assert loaded[0].metadata["checkpoint_bytes"].value > 0
    config = {"ops": {BACKUPS.to_python_identifier(): {"config": {"keep": 1}}}}
    for removed in (0, 2):
        [done] = job("backup_checkpoints", **config)
        told = {name: value.value for name, value in done.metadata.items() if name != "taken"}
        assert (told["backups"], told["backups_removed"], told["tables_not_begun"]) == (2, removed, 1)
    assert [len(backups(lake, table)) for table in ("bronze.things", "bronze.again")] == [1, 1]

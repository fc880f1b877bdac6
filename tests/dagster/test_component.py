"""The component in a project of a user's own: a ``defs.yaml`` and a declaration, no Python."""

import importlib
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.core.package_entry import DG_PLUGIN_ENTRY_POINT_GROUP, get_package_objects_in_module

import lakehouse.dagster
from lakehouse.dagster import LakehouseComponent

ROOT = Path(__file__).resolve().parents[2]

DECLARATION = """
tables:
  bronze.rooms:
    files: {path: s3a://landing/rooms/}
"""
DEFS = """
type: lakehouse.dagster.LakehouseComponent
attributes:
  declaration: tables.yaml
  job_name: ingest_rooms
  sensor_name: new_rooms
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project as ``create-dagster`` lays it out; gives its folder and what loads its definitions."""
    name = f"rooms_{tmp_path.name.replace('-', '_')}"
    component = tmp_path / "src" / name / "defs" / "lakehouse"
    component.mkdir(parents=True)
    for folder in (component.parent.parent, component.parent):
        (folder / "__init__.py").touch()
    (tmp_path / "dg.toml").write_text(f'directory_type = "project"\n[project]\nroot_module = "{name}"\n')
    (component / "defs.yaml").write_text(DEFS)
    monkeypatch.syspath_prepend(tmp_path / "src")
    yield component, lambda: dg.load_from_defs_folder(path_within_project=tmp_path)
    for loaded in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[loaded]


def names(definitions):
    keys = {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    return keys, {job.name for job in definitions.jobs or ()}, [sensor.name for sensor in definitions.sensors or ()]


@pytest.mark.parametrize("folder", ["beside the defs.yaml", "in the project's folder"])
def test_a_defs_yaml_makes_the_assets_of_a_declaration(project, tmp_path, folder):
    component, load = project
    (component if folder.startswith("beside") else tmp_path).joinpath("tables.yaml").write_text(DECLARATION)
    loaded = load()
    dg.Definitions.validate_loadable(loaded)
    keys, jobs, sensors = names(loaded)
    kept = ("promote_rescued_data", "check_all_rows", "join_and_remove_files")
    upkeep = {f"maintenance/{what}/bronze/rooms" for what in kept}
    assert keys == {"landing/rooms", "bronze/rooms", *upkeep, "maintenance/backup_checkpoints"}
    on_request = {job for job in jobs if job.startswith(("lever_", "load_day_again_"))}
    assert jobs - on_request == {"ingest_rooms", "maintenance", "backup_checkpoints"}
    assert sensors == ["new_rooms", "commits_from_elsewhere"]


def test_runs_read_the_declaration_that_was_loaded(project):
    component, load = project
    (component / "tables.yaml").write_text(DECLARATION)
    assert load().resources["lake"].settings().declaration == component / "tables.yaml"


def test_an_attribute_that_nobody_reads_is_refused(project):
    component, load = project
    (component / "tables.yaml").write_text(DECLARATION)
    (component / "defs.yaml").write_text(DEFS.replace("job_name", "jobname"))
    assert "jobname" in causes(load)


def test_a_declaration_that_is_not_there_is_named(project, tmp_path):
    _, load = project
    assert str(tmp_path / "tables.yaml") in causes(load)


def causes(load):
    """What went wrong, and why: Dagster says only in which file."""
    with pytest.raises(Exception) as raised:
        load()
    told, error = [], raised.value
    while error is not None:
        told.append(str(error))
        error = error.__cause__
    return "\n".join(told)


def test_the_component_is_registered_for_dg_and_found_where_it_is_registered():
    registered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert registered[DG_PLUGIN_ENTRY_POINT_GROUP] == {"lakehouse": "lakehouse.dagster"}
    module = importlib.import_module(registered[DG_PLUGIN_ENTRY_POINT_GROUP]["lakehouse"])
    assert module is lakehouse.dagster
    assert dict(get_package_objects_in_module(module)) == {"LakehouseComponent": LakehouseComponent}

"""Variables that an older release had as settings."""

from datetime import timedelta
from pathlib import Path

import yaml
from command import lakehouse_here

from lakehouse.declaration import read_catalogue, unknown_variables, warnings_of_variables
from lakehouse.declaration.variables import _MOVED
from lakehouse.settings import Settings
from lakehouse.table import Catalogue

ROOT = Path(__file__).resolve().parents[2]


def test_a_variable_whose_place_is_now_the_declaration_is_told_the_new_place(monkeypatch):
    monkeypatch.setenv("LAKEHOUSE_SILVER_WATERMARK", "5 minutes")
    [told] = warnings_of_variables(Settings.load(), Catalogue())
    assert "no setting any more" in told
    assert "windows: watermark: ${LAKEHOUSE_SILVER_WATERMARK}" in told


def test_an_old_name_that_the_declaration_asks_for_is_heard_and_told_its_place(monkeypatch):
    monkeypatch.setenv("LAKEHOUSE_SILVER_WATERMARK", "5 minutes")
    monkeypatch.setenv("LAKEHOUSE_SILVER_SLIDE", "")
    settings = Settings.load(declaration=ROOT / "lakehouse.yaml")
    catalogue = read_catalogue(settings)
    assert catalogue["silver.orders_windowed_aggregates"].flow.watermark == timedelta(minutes=5)
    [told] = warnings_of_variables(settings, catalogue)
    assert told.startswith("LAKEHOUSE_SILVER_WATERMARK is an old name, heard because ")
    assert told.endswith("lakehouse.yaml asks for it: its place is there, windows: watermark")


def test_every_command_says_so_and_does_its_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = {"LAKEHOUSE_HOME": str(tmp_path / "home"), "LAKEHOUSE_DECLARATION": str(ROOT / "lakehouse.yaml")}
    done = lakehouse_here({**said, "LAKEHOUSE_DUPLICATE_ORDERS": "drop"}, "down")
    assert (done.returncode, done.stderr.count("warning:")) == (0, 1)
    assert "LAKEHOUSE_DUPLICATE_ORDERS is an old name" in done.stderr


def test_the_projects_own_declaration_takes_each_of_them_at_the_place_that_is_told():
    declared = yaml.safe_load((ROOT / "lakehouse.yaml").read_text())

    def places(node, above=()):
        if isinstance(node, dict):
            for key, value in node.items():
                yield from places(value, (*above, key))
        elif isinstance(node, list):
            for item in node:
                yield from places(item, above)
        else:
            yield above, str(node)

    every = list(places(declared["tables"]))
    for name, place in _MOVED.items():
        found = [above for above, text in every if f"${{LAKEHOUSE_{name}:-" in text]
        assert found, name
        if place[0] != "checks":  # where on_failure stands beside the kind of its check
            assert any(above[-len(place) :] == place or place[0] in above for above in found), (name, found)


def test_variables_of_sparks_processes_are_known(monkeypatch):
    monkeypatch.setenv("LAKEHOUSE_PATHS", "dbfs:/=s3a://landing/")
    monkeypatch.setenv("LAKEHOUSE_SCHEMA_LOCATION_ROOT", "/data/schemas")
    assert unknown_variables(Settings.load(), Catalogue()) == []

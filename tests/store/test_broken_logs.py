"""A table whose log is damaged: every command names it, and none ends with a traceback."""

import pytest
from command import lakehouse_here
from store.local_world import TABLE, LocalWorld


@pytest.fixture
def here(lake, tmp_path):
    world = LocalWorld(lake, tmp_path)
    world.put("0.json", [{"a": 0}])
    world.load()
    settings = world.lake.settings
    for name in (f"{0:020}.json", f"{1:020}.json"):
        world.lake.store.write(settings.bucket, f"{settings.user}/bronze/things/_delta_log/{name}", b"no json")
    return world.environment


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("ingest",),
        ("history", TABLE),
        ("checkpoint", "show", TABLE),
        ("checkpoint", "repair", TABLE),
        ("files",),
        ("sql", f"FROM {TABLE}"),
        ("maintain", "orphans"),
        ("maintain", "optimize"),
        ("maintain", "vacuum"),
        ("maintain", "restore-version", TABLE, "0"),
        ("checkpoint", "backup", TABLE),
        ("replay", "--files", "*"),
        ("checklist",),
        ("du",),
    ],
    ids=" ".join,
)
def test_a_command_names_the_damage(here, words):
    done = lakehouse_here(here, *words)
    assert done.returncode in (0, 1)
    if words[0] in ("check", "ingest"):
        assert done.returncode == 1 and "things" in done.stderr and "cannot be read" in done.stderr

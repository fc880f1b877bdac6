"""A process of tests has one object store and at most one engine; each test has a bucket and a folder of its own."""

import os
import shutil
import tempfile
import uuid
from functools import cache
from pathlib import Path

import psutil
import pytest
import typer.testing
from hypothesis import settings as hypothesis_settings

from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.storage import stop_store

pytest_plugins = ["pytester"]

hypothesis_settings.register_profile("no clock", deadline=None)  # a busy machine is no failure
hypothesis_settings.load_profile("no clock")
# each call of a command in this process would build all parsers anew
typer.testing._get_command = cache(typer.main.get_command)

for name in [name for name in os.environ if name.startswith(("LAKEHOUSE_", "DAGSTER_"))]:
    del os.environ[name]  # a developer's own lake is never touched
# Spark keeps an ended query for an hour, and the suite never leaves its engine alone
os.environ["LAKEHOUSE_ENGINE_MEMORY"] = "4g"

MEMORY, ROOM_BYTES = Path("/dev/shm"), 12 << 30
"""Two engines of 4 GB, and 4 GB for what the tests put into their stores."""

FOLDERS = ("e2e", "dagster", "spark", "store", "unit")
"""The dearest first: two processes share the files, and small ones fill the end evenly."""


def pytest_addoption(parser):
    parser.addoption("--soak", action="store_true", help="run the long tests, marked soak, and no others")


def pytest_collection_modifyitems(config, items):
    chosen, left = [], []
    for item in items:
        mark = item.get_closest_marker("soak")
        if mark is not None and not (mark.args and isinstance(mark.args[0], str)):
            raise pytest.UsageError(f"{item.nodeid}: soak has to say what it adds over its short sibling")
        (chosen if (mark is not None) == config.getoption("--soak") else left).append(item)
    config.hook.pytest_deselected(items=left)
    for item in chosen:  # half an hour for a long test that does not say more
        if config.getoption("--soak") and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(1800))
    # files with engines of their own come before the suite's is started
    first = {item.path for item in chosen if "own_engine" in item.fixturenames}
    chosen.sort(key=lambda item: (item.path not in first, _folder(item)))
    items[:] = chosen


def _folder(item):
    return FOLDERS.index(item.path.relative_to(Path(__file__).parent).parts[0])


@pytest.fixture(scope="session")
def home(request, tmp_path_factory):
    """The LAKEHOUSE_HOME of the suite; its servers are stopped at the end.

    It is in memory where there is room: the store waits for a disk with each object. What the engine wrote is kept
    where a test failed.
    """
    if in_memory := _has_room(MEMORY):
        for left in MEMORY.glob("lakehouse-tests-*"):  # by processes that were killed
            if not psutil.pid_exists(int(left.name.split("-")[2])):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"lakehouse-tests-{os.getpid()}-", dir=MEMORY))
        os.environ["GOGC"] = "400"  # where there is room the store need not look for garbage as often
    else:
        folder = tmp_path_factory.mktemp("home")
    yield folder
    _stop_engine(folder)
    stop_store(Settings.load(home=folder, user="tester"))
    if in_memory:
        if request.session.testsfailed and (folder / "engine").exists():
            kept, sockets = tmp_path_factory.mktemp("home") / "engine", shutil.ignore_patterns("*.socket")
            shutil.copytree(folder / "engine", kept, dirs_exist_ok=True, ignore=sockets)
        shutil.rmtree(folder)


def _has_room(folder):
    return folder.is_dir() and min(shutil.disk_usage(folder).free, psutil.virtual_memory().available) > ROOM_BYTES


@pytest.fixture(scope="module")
def own_engine(home):
    """For files that start engines of another kind: the suite's is stopped, so that there is one at a time."""
    _stop_engine(home)


def _stop_engine(home):
    if (home / "engine").exists():
        from lakehouse.engine import disconnect, stop_engine

        disconnect()
        stop_engine(Settings.load(home=home, user="tester"))


@pytest.fixture
def settings(home):
    """Settings of an empty lake on the suite's servers."""
    name = uuid.uuid4().hex[:12]
    return Settings.load(home=home, user="tester", bucket=f"lake-{name}", landing_prefix=f"{name}/")


@pytest.fixture
def lake(settings):
    """An empty lake on a real object store."""
    return Lake.open(settings)


@pytest.fixture
def environment(settings):
    """The same lake for a command in another process."""
    lake = {
        "LAKEHOUSE_HOME": str(settings.home),
        "LAKEHOUSE_USER": settings.user,
        "LAKEHOUSE_BUCKET": settings.bucket,
        "LAKEHOUSE_LANDING_PREFIX": settings.landing_prefix,
    }
    return {**os.environ, **lake}

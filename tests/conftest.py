"""One object store and one Spark engine for the suite; each test has a bucket and a landing folder of its own."""

import os
import uuid

import pytest
from hypothesis import settings as hypothesis_settings

from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.storage import stop_store

hypothesis_settings.register_profile("no clock", deadline=None)  # a busy machine is no failure
hypothesis_settings.load_profile("no clock")

for name in [name for name in os.environ if name.startswith(("LAKEHOUSE_", "DAGSTER_"))]:
    del os.environ[name]  # a developer's own lake is never touched
# Spark keeps an ended query for an hour, and the suite never leaves its engine alone
os.environ["LAKEHOUSE_ENGINE_MEMORY"] = "4g"


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """The LAKEHOUSE_HOME of the suite; its servers are stopped at the end."""
    folder = tmp_path_factory.mktemp("home")
    yield folder
    settings = Settings.load(home=folder, user="tester")
    if (folder / "engine").exists():
        from lakehouse.engine import disconnect, stop_engine

        disconnect()
        stop_engine(settings)
    stop_store(settings)


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

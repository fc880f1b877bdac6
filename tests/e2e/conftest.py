import pytest
from e2e.kill_matrix import KillMatrix, killing_proxy
from engine_fixtures import land, spark  # noqa: F401

from lakehouse.engine import stop_engine
from lakehouse.settings import Settings


@pytest.fixture(scope="module")
def proxy(home, own_engine):
    """A proxy that kills; behind it one engine for all lakes of a file."""
    made = killing_proxy(home)
    yield made
    made.listener.close()
    stop_engine(Settings.load(home=home, user="killed"))


@pytest.fixture(scope="module")
def matrix(home, proxy, request):
    """A lake of the file's own behind that proxy."""
    return KillMatrix(home, request.module.__name__.rsplit("_", 1)[1], proxy)


@pytest.fixture(scope="module")
def other_home(tmp_path_factory):
    """A second home of the same user, with an engine of its own where one is asked for."""
    folder = tmp_path_factory.mktemp("other-home")
    yield folder
    stop_engine(Settings.load(home=folder, user="killed"))

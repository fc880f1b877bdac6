"""What the tests of this folder share."""

import pytest
from store.landed import World
from store.leasing import held_elsewhere  # noqa: F401


@pytest.fixture
def world(lake, monkeypatch):
    return World(lake, monkeypatch)

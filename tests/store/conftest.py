"""What the tests of this folder share."""

import pytest
from store.landed import World


@pytest.fixture
def world(lake, monkeypatch):
    return World(lake, monkeypatch)

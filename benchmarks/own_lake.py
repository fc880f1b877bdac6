"""A lake for one benchmark, on servers of its own, so that nothing of the user's is touched or measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lakehouse.engine import disconnect, stop_engine
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.storage import stop_store


@contextmanager
def own_lake(**settings: Any) -> Iterator[Lake]:
    """An empty lake with these settings; its servers are stopped and its folder removed at the end."""
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        made = Settings.load(home=Path(folder), user="bench", **settings)
        try:
            yield Lake.open(made)
        finally:
            disconnect()
            stop_engine(made)
            stop_store(made)

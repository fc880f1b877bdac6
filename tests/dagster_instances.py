"""Dagster instances of tests, with the SQLite files that users have. What is the same in all of them is made once."""

import shutil
from contextlib import contextmanager
from functools import cache, lru_cache

import dagster as dg
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool


@lru_cache(maxsize=64)
def _engine(url, connect_args):
    return create_engine(url, poolclass=NullPool, connect_args=dict(connect_args))


def _known_engine(url, *, poolclass, connect_args=()):
    assert poolclass is NullPool, "an engine that keeps a connection is no other test's"
    return _engine(url, tuple(dict(connect_args).items()))


# Dagster makes an engine for each event and compiles its statement anew; without a pool the engine itself holds nothing
for module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
    module.create_engine = _known_engine
# Dagster reads all its migrations twice for each database, and each run has a database of its own
ScriptDirectory.from_config = staticmethod(cache(ScriptDirectory.from_config))


@contextmanager
def instance_in(folder, empty):
    """A persistent instance in ``folder``, which begins as a copy of ``empty``, another that no run has used."""
    shutil.copytree(empty, folder, dirs_exist_ok=True)
    with dg.instance_for_test(temp_dir=str(folder)) as made:
        yield made

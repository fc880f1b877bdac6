"""Forking a stream: a new table begins where another table stands, and gets only what comes after."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.checkpoints.standing import place_in_words
from lakehouse.errors import ConfigurationError
from lakehouse.lake import Lake


@dataclass(frozen=True)
class Fork:
    """What a fork does, or did.

    Attributes:
        table: Whose place is taken.
        new: The table that begins there.
        place: Where that is, in words.
        with_schema: Whether the versions of its schema are taken over.
        done: Whether it was done.
    """

    table: str
    new: str
    place: str
    with_schema: bool
    done: bool = False


def fork(lake: Lake, table: str, new: str, *, with_schema: bool, really: bool) -> Fork:
    """Writes the checkpoint of ``new``, which ends where that of ``table`` does; without ``really`` only says where.

    It has an id and a stream of its own: the two share the journal, and nothing else.

    Args:
        lake: Where both are.
        table: A table that a ``cloudFiles`` stream has filled.
        new: A table of the same files, which no run has filled.
        with_schema: Whether ``new`` takes over the versions of the schema.
        really: Do it.

    Raises:
        LeaseHeld: a stream writes ``new`` now.
        ConfigurationError: ``new`` has begun, or ``table`` has not.
    """
    with checkpoints.writer_of(lake, new):
        if checkpoints.read_checkpoint(lake, new) is not None or lake.version(new) is not None:
            what = "a table" if lake.version(new) is not None else "a checkpoint"
            raise refused(
                new, f"{new} has {what} already", "declare another name for it", lake.settings.checkpoint_uri(new)
            )
        finished = checkpoints.last_finished(lake, table)
        if finished is None or "seq" not in finished.offset:
            raise refused(
                new, f"no stream of files has filled {table}", f"lakehouse ingest {table}", "lakehouse checkpoint fork"
            )
        done = Fork(table, new, place_in_words(finished.offset), with_schema, done=really)
        if really:
            if with_schema:
                _take_over_schema(lake, table, new)
            begin_at(lake, new, {**finished.offset, "stream": uuid.uuid4().hex[:16]})
    return done


def begin_at(lake: Lake, new: str, offset: dict[str, Any]) -> None:
    """Writes a checkpoint that begins behind a place in a journal."""
    # the mark first: the id, which makes the checkpoint count, is written last
    log, mark = SparkLog(lake, new), json.dumps({"batch": 0, "offset": offset}).encode()
    log.rewrite(str(uuid.uuid4()), 0, offset, offset, marks={checkpoints.FORKED: mark})


def _take_over_schema(lake: Lake, table: str, new: str) -> None:
    bucket, prefix = split_uri(lake.settings.schema_uri(table))
    to = split_uri(lake.settings.schema_uri(new))[1]
    for info in list(lake.store.list(bucket, f"{prefix.rstrip('/')}/")):
        lake.store.copy(bucket, info.key, to.rstrip("/") + info.key[len(prefix.rstrip("/")) :], if_match=info.e_tag)


def refused(new: str, what: str, next_command: str, where: str) -> ConfigurationError:
    """The error of a fork that cannot be."""
    return ConfigurationError(
        f"{new} cannot begin there: {what}", where=where, state="nothing was changed", next_command=next_command
    )

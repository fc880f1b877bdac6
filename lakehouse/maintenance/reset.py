"""Resetting a stream, so that it begins anew. The caller chooses what becomes of the rows that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lakehouse.autoloader.options.paths import split_uri, uri_key
from lakehouse.autoloader.outcomes.file_states import FileState, file_states, read_stream_log
from lakehouse.autoloader.outcomes.receipts import State
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.standing import objects_of
from lakehouse.errors import ConfigurationError
from lakehouse.lake import Lake
from lakehouse.maintenance.asked import ask_for_run
from lakehouse.maintenance.backup import back_up
from lakehouse.maintenance.emptying import require_emptiable
from lakehouse.maintenance.repair import start_over, start_over_steps
from lakehouse.plain_text import counted

Rows = Literal["empty", "replace", "keep"]


@dataclass(frozen=True)
class Reset:
    """What a reset does, or would do.

    Attributes:
        table: The table.
        rows: What becomes of the rows that are there.
        steps: What is done, a sentence each.
        gone: Files whose rows are there, and which cannot be read again.
        kept_as: Backup of the checkpoint as it was; empty without a backup.
        done: Whether it was done.
    """

    table: str
    rows: Rows
    steps: tuple[str, ...]
    gone: tuple[str, ...] = ()
    kept_as: str = ""
    done: bool = False


def reset_empty(lake: Lake, table: str, reads: Sequence[str], *, outlives: bool, really: bool) -> Reset:
    """Takes all rows out of a table, in one commit, and its checkpoint away; without ``really`` only says so.

    Args:
        lake: Where both are.
        table: The table.
        reads: What it is filled from, in words.
        outlives: Whether its rows outlive the files that they are from: then each file must still be there.
        really: Do it.

    Raises:
        LeaseHeld: a stream writes the table now.
        ConfigurationError: rows would go that cannot be read again.
        TerminalError: only Spark can empty the table.
    """
    with checkpoints.writer_of(lake, table):
        for uri in (lake.settings.table_uri(table), lake.settings.quarantine_uri(table)):
            require_emptiable(lake, uri)  # told without ``really``, too
        loaded = _loaded(lake, table) if outlives else []
        gone = [file for file in loaded if lake.store.info(split_uri(file.path)[0], uri_key(file.path)) is None]
        if gone:
            rows = sum(file.rows or 0 for file in gone)
            raise ConfigurationError(
                f"{counted(len(gone), 'file')} with {counted(rows, 'row')} of {table} are not in the bucket any more, "
                f"such as {gone[0].path}: their rows would not come again",
                where=lake.settings.table_uri(table),
                state="nothing was changed",
                next_command=f"lakehouse checkpoint reset {table} --rows replace   (their rows stay), or put the files "
                "back",
            )
        steps = [*start_over_steps(lake, table)[:-1]]
        if objects_of(lake, table):
            steps.append(f"move the checkpoint of {table} aside, into a backup")
        steps.append(f"read in the next run all of {', '.join(reads)}, as it is then")
        if not really:
            return Reset(table, "empty", tuple(steps))
        kept = back_up(lake, table, held=True).taken if objects_of(lake, table) else ""
        start_over(lake, table, "reset")
        ask_for_run(lake, table, "reset")
    return Reset(table, "empty", tuple(steps), kept_as=kept, done=True)


def _loaded(lake: Lake, table: str) -> list[FileState]:
    """The files whose rows the table has, as far as its stream knows them."""
    location = lake.settings.checkpoint_uri(table)
    log = read_stream_log(lake.store, *split_uri(location))
    if log is None:
        return []
    states = file_states(lake.store, location, log=log)
    return [file for file in states if file.ingestion_state == State.INGESTED and file.rows]

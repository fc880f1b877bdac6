"""The levers of a catalogue: each for those tables that it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lakehouse.dagster.levers import checking, checkpoints, files, rows, schema
from lakehouse.dagster.levers.lever import SPARK, STORE, Lever, LeverConfig, Pull, Pulled, choosing
from lakehouse.flows.files import Files
from lakehouse.flows.windows import Windows
from lakehouse.places import streams
from lakehouse.table import Catalogue


def levers_of(catalogue: Catalogue) -> tuple[Lever, ...]:
    """Every lever that there is a table for."""
    return tuple(_levers(catalogue))


def _levers(catalogue: Catalogue) -> Iterator[Lever]:
    of_files = [table for table in catalogue if isinstance(table.flow, Files)]
    again = [table.name for table in of_files if getattr(table.flow, "replaces", False)]
    inferred = [table.name for table in of_files if _infers(table.flow)]
    windows = [entry.name for entry in catalogue if isinstance(entry.flow, Windows) and entry.flow.session_gap is None]
    every = catalogue.names

    def lever(
        command: str,
        does: str,
        form: type[LeverConfig],
        pull: Callable[[Pull], Pulled],
        tables: Sequence[str],
        *,
        what: str = "the table",
        needs: str = STORE,
        several: bool = False,
        name: str = "",
    ) -> Iterator[Lever]:
        if tables:
            chosen = choosing(form, name or command, tables, what, several=several)
            yield Lever(command, does, needs, chosen, pull, name)

    yield from lever(
        "replay",
        "Asks for files to be loaded again: the next run takes their rows out and reads them as they are now.",
        *(rows.ReplayForm, rows.replay, again),
        what="the table whose files they are",
    )
    yield from lever(
        "replay --quarantined",
        "Asks for files in quarantine to be read again, after their sender has corrected them.",
        *(rows.QuarantinedForm, rows.replay_quarantined, again),
        what="the table whose files they are",
        name="replay_quarantined",
    )
    yield from lever(
        "replay-late",
        "Brings late rows from quarantine into the closed windows that missed them.",
        *(rows.ReplayLateForm, rows.replay_late, windows),
        what="the table of windows",
        needs=SPARK,
    )
    yield from lever(
        "forget",
        "Removes rows on purpose, and records it, so that no check takes them for lost.",
        *(rows.ForgetForm, rows.forget, [table.name for table in of_files]),
        needs=f"{SPARK}, but for already_removed and on the engine local",
    )
    yield from lever(
        "schema approve",
        "Makes columns that wait in the rescued data part of the schema.",
        *(schema.ApproveForm, schema.approve, again),
        what="the table that rescued them",
    )
    yield from lever(
        "schema contract",
        "Pins the present columns as the contract, where they are not what the contract says.",
        *(schema.ContractForm, schema.contract, inferred),
        what="the table whose columns they are",
    )
    yield from lever(
        "schema rollback",
        "Gives a stream the columns of an older version, as a new version; rows that are stored stay as they are.",
        *(schema.RollbackForm, schema.rollback, inferred),
        what="the table that the stream writes",
    )
    yield from lever(
        "schema promote",
        "Moves values from the rescued data into the columns that can take them now.",
        *(schema.PromoteForm, schema.promote, again),
        needs=SPARK,
    )
    yield from lever(
        "checkpoint backup",
        "Copies checkpoints, with the versions that belong to them; a run that goes on meanwhile is not kept waiting.",
        *(checkpoints.BackupForm, checkpoints.backup, streams(catalogue)),
        what="the tables",
        several=True,
    )
    yield from lever(
        "checkpoint restore",
        "Puts a backup of a checkpoint back so that no row is lost or doubled, or says why that cannot be.",
        *(checkpoints.RestoreForm, checkpoints.restore, streams(catalogue)),
    )
    yield from lever(
        "checkpoint repair",
        "Brings checkpoint, journal and table together again after one of them was lost, restored or mixed up.",
        *(checkpoints.RepairForm, checkpoints.repair, streams(catalogue)),
    )
    yield from lever(
        "checkpoint reset",
        "Has a stream begin anew: says what it reads again, and what becomes of the rows that are there.",
        *(checkpoints.ResetForm, checkpoints.reset, streams(catalogue)),
    )
    yield from lever(
        "maintain optimize",
        "Joins small data files where it pays; the rows stay the same, and streams go on beside it.",
        *(files.OptimizeForm, files.optimize, every),
        what="the tables",
        several=True,
    )
    yield from lever(
        "maintain vacuum",
        "Removes data files that no version of the retention, no reader and no running batch can need.",
        *(files.VacuumForm, files.vacuum, every),
        what="the tables",
        several=True,
    )
    yield from lever(
        "maintain retention",
        "Removes rows that are older than the retention of their table, and records it as forget does.",
        *(rows.RetentionForm, rows.retention, [table.name for table in catalogue if table.retention]),
        what="the tables with a retention",
        several=True,
    )
    yield from lever(
        "check --full",
        "Counts all rows for the checks again, and holds what was kept of earlier counts against that.",
        *(checking.CheckForm, checking.check, every),
        what="the tables",
        several=True,
        needs=f"{STORE}; {SPARK} for some checks",
        name="check_all_rows",
    )
    yield from lever(
        "crash",
        "Kills a run of a table at a moment, runs it again, and checks that no file is loaded twice or missing.",
        *(checking.CrashForm, checking.crash, again),
        what="the table that is loaded",
    )


def _infers(flow: object) -> bool:
    return isinstance(flow, Files) and flow.source == "cloudFiles" and flow.columns is None

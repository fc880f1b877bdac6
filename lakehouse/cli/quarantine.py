"""What was not loaded: files in quarantine, and the records of a table at ``badRecordsPath``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import Checkpoint, FilesTable, Json, Output, begun, command, open_own, open_table

if TYPE_CHECKING:
    from lakehouse.flows.windows import Windows
    from lakehouse.lake import Lake

_TEXT = 80
LATE = "late"


def quarantine(
    records: Annotated[str | None, typer.Option(help="list the newest records of this badRecordsPath instead")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many lines")] = 50,
    named: FilesTable = None,
    checkpoint: Checkpoint = None,
    as_json: bool = Json,
) -> None:
    """List the files, the records or the rows that are not in the table, with the reasons."""
    from lakehouse.errors import ConfigurationError
    from lakehouse.flows.windows import Windows
    from lakehouse.pipeline import declared

    with command(as_json) as out:
        if checkpoint and records is not None:
            raise ConfigurationError(
                "both the files of a checkpoint and the records of a badRecordsPath were asked for",
                where="lakehouse quarantine",
                state="nothing was read",
                next_command="name one of them: --checkpoint or --records",
            )
        if checkpoint:
            _files(out, open_own(out, checkpoint, named), checkpoint, checkpoint, limit)
            return
        lake, table = open_table(out, named)
        flow = declared(lake, table).flow
        if records is not None:
            _records(out, lake, records, limit)
        elif not begun(out, lake, table, named):
            out.result({"table": table, "bad_records": 0, "files": []})
        elif isinstance(flow, Windows):
            _rows(out, lake, table, flow, limit)
        else:
            _files(out, lake, table, lake.settings.checkpoint_uri(table), limit)


def _files(out: Output, lake: Lake, table: str, location: str, limit: int) -> None:
    from dataclasses import asdict

    from lakehouse.autoloader.outcomes.file_states import file_states
    from lakehouse.autoloader.outcomes.receipts import State

    known = list(file_states(lake.store, location))
    found = [file for file in known if file.ingestion_state == State.QUARANTINED]
    bad = sum(file.bad_records or 0 for file in known)
    rows = [[file.sequence, file.error, file.commit_time, file.path] for file in found[-limit:]]
    out.table(["seq", "reason", "committed", "file"], rows)
    if len(found) > limit:
        out.line(f"the last {limit:,} of {len(found):,} files; --limit shows more, --json all")
    out.line(f"{len(found):,} files in quarantine of {table}; they stay in the landing folder")
    if found and location != table:
        out.line(f"correct them at their sender, then: lakehouse replay --files PATH --table {table}")
    if bad:
        out.line(f"{bad:,} records of files that were loaded: lakehouse quarantine --records BADRECORDSPATH")
    out.result({"table": table, "bad_records": bad, "files": [asdict(file) for file in found]})


def _rows(out: Output, lake: Lake, table: str, flow: Windows, limit: int) -> None:
    """The rows that were set aside, newest first."""
    from collections import Counter

    from lakehouse.autoloader.lineage import FILE
    from lakehouse.python_values import listed_rows

    rows = lake.rows_at(lake.settings.quarantine_uri(table))
    kept = rows.to_table().sort_by([("quarantined_at", "descending")]) if rows else None
    found = listed_rows(kept.slice(0, limit)) if kept else []
    reasons = Counter(kept["reason"].to_pylist()) if kept else Counter()
    columns = [
        "reason",
        *dict.fromkeys([*flow.row_key, flow.event_time.column]),
        "window_start",
        "lateness_seconds",
        "replayed_at",
        FILE,
    ]
    out.table(columns, [[row.get(name) for name in columns] for row in found])
    out.line(", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "every row was counted")
    if any(row["reason"] == LATE and row["replayed_at"] is None for row in found):
        out.line(f"bring the late ones into their windows: lakehouse replay-late {table}")
    out.result({"table": table, "counts": dict(reasons), "rows": found})


def _records(out: Output, lake: Lake, uri: str, limit: int) -> None:
    from lakehouse.autoloader.options.paths import split_uri
    from lakehouse.autoloader.outcomes.bad_records_table import QuarantineTable

    split_uri(uri)  # says what is wrong with it
    found = QuarantineTable(uri, lambda: lake.endpoint).newest(limit)
    rows = [[str(record["record"]), record["reason"], record["raw"][:_TEXT], record["file_path"]] for record in found]
    out.table(["record", "reason", "text", "file"], rows)
    out.line(f"the newest {len(found):,} records" + ("; --limit shows more" if len(found) == limit else ""))
    if found:
        out.line("correct their files at the sender, then: lakehouse replay --files PATH")
    out.result({"records_of": uri, "records": found})

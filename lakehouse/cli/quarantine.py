"""What was not loaded: files in quarantine, and the records of a table at ``badRecordsPath``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import BRONZE, BronzeTable, Json, Output, command

if TYPE_CHECKING:
    from lakehouse.lake import Lake

_TEXT = 80
LATE = "late"
ORDERS_WINDOWED_AGGREGATES = "silver.orders_windowed_aggregates"


def quarantine(
    records: Annotated[str | None, typer.Option(help="list the newest records of this badRecordsPath instead")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many lines")] = 50,
    table: BronzeTable = BRONZE,
    as_json: bool = Json,
) -> None:
    """List the files, the records or the orders that are not in the table, with the reasons."""
    from lakehouse.lake import Lake

    with command(as_json) as out:
        lake = Lake.open(say=out.say)
        if records is None and table == ORDERS_WINDOWED_AGGREGATES:
            _rows(out, lake, limit)
        elif records is None:
            _files(out, lake, table, limit)
        else:
            _records(out, lake, records, limit)


def _files(out: Output, lake: Lake, table: str, limit: int) -> None:
    from dataclasses import asdict

    from lakehouse.autoloader.receipts import State
    from lakehouse.autoloader.state import file_states

    known = list(file_states(lake.store, lake.settings.checkpoint_uri(table)))
    found = [one for one in known if one.ingestion_state == State.QUARANTINED]
    bad = sum(one.bad_records or 0 for one in known)
    rows = [[one.sequence, one.error, one.commit_time, one.path] for one in found[-limit:]]
    out.table(["seq", "reason", "committed", "file"], rows)
    if len(found) > limit:
        out.line(f"the last {limit:,} of {len(found):,} files; --limit shows more, --json all")
    out.line(f"{len(found):,} files in quarantine of {table}; they stay in the landing folder")
    if found:
        out.line("correct them at their sender, then: lakehouse replay --files PATH")
    if bad:
        out.line(f"{bad:,} records of files that were loaded: lakehouse quarantine --records BADRECORDSPATH")
    out.result({"table": table, "bad_records": bad, "files": [asdict(one) for one in found]})


def _rows(out: Output, lake: Lake, limit: int) -> None:
    """The rows that silver set aside, newest first."""
    from collections import Counter

    opened = lake.delta_at(lake.settings.quarantine_uri(ORDERS_WINDOWED_AGGREGATES))
    kept = opened.to_pyarrow_table().sort_by([("quarantined_at", "descending")]) if opened else None
    found = kept.slice(0, limit).to_pylist() if kept else []
    reasons = Counter(kept["reason"].to_pylist()) if kept else Counter()
    columns = ["reason", "order_id", "order_date", "window_start", "lateness_seconds", "replayed_at", "_source_file"]
    out.table(columns, [[one.get(name) for name in columns] for one in found])
    out.line(", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "every order was counted")
    if any(one["reason"] == LATE and one["replayed_at"] is None for one in found):
        out.line("bring the late ones into their windows: lakehouse replay-late")
    out.result({"table": ORDERS_WINDOWED_AGGREGATES, "counts": dict(reasons), "rows": found})


def _records(out: Output, lake: Lake, uri: str, limit: int) -> None:
    from lakehouse.autoloader.location import split_uri
    from lakehouse.autoloader.quarantine import QuarantineTable

    split_uri(uri)  # says what is wrong with it
    found = QuarantineTable(uri, lake.endpoint).newest(limit)
    rows = [[str(one["record"]), one["reason"], one["raw"][:_TEXT], one["file_path"]] for one in found]
    out.table(["record", "reason", "text", "file"], rows)
    out.line(f"the newest {len(found):,} records" + ("; --limit shows more" if len(found) == limit else ""))
    if found:
        out.line("correct their files at the sender, then: lakehouse replay --files PATH")
    out.result({"records_of": uri, "records": found})

"""What is in the lake, and how it is: ``tables``, ``history``, ``detail``, ``du``. Nothing here needs Spark."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.output import Json, Output, command, in_lake, open_lake
from lakehouse.plain_text import cause_of, sized

if TYPE_CHECKING:
    from lakehouse.lake import Lake, LakeTable

_CURE = "look at its folder _delta_log: an object is missing, or is no log; put it back from a copy"
Named = Annotated[str, typer.Argument(metavar="TABLE", callback=in_lake, help="layer.name")]


def tables(as_json: bool = Json) -> None:
    """List the tables of the lake with their streams, from logs and checkpoints: needs no Spark."""
    from dataclasses import asdict

    from lakehouse.declaration import catalogue_or_none
    from lakehouse.errors import TerminalError
    from lakehouse.lake import Lake
    from lakehouse.maintenance.detail import states

    with command(as_json) as out:
        lake, now = Lake.open(say=out.say), datetime.now(UTC)
        declared = catalogue_or_none(lake.settings)
        limits = {table.name: table.freshness for table in declared if table.freshness}
        entries = []
        for state in states(lake, lake.table_names()):
            limit = limits.get(state.name)
            age = (now - state.last_write).total_seconds() if state.last_write else None
            entries.append(
                {
                    **asdict(state),
                    "declared": state.name in declared.names,
                    "age_seconds": None if age is None else round(age),
                    "freshness_seconds": limit.total_seconds() if limit else None,
                    "fresh": None if limit is None or age is None else age <= limit.total_seconds(),
                }
            )
        rows = [
            [
                *(entry[name] for name in ("name", "rows", "version", "files")),
                None if entry["size_bytes"] is None else entry["size_bytes"] / 1e6,
                _batch(entry["last_batch"], entry["planned_batch"]),
                _moment(entry["last_write"]),
                entry["fresh"],
                entry["uri"],
            ]
            for entry in entries
        ]
        out.table(["table", "rows", "version", "files", "MB", "batch", "last write", "fresh", "where"], rows)
        if not entries:
            out.line(f"no tables under {lake.settings.lake_uri} yet; lakehouse ingest makes them")
        if declared.names and (others := [entry["name"] for entry in entries if not entry["declared"]]):
            out.line(f"not declared, so nothing fills them; their data stay: {', '.join(others)}")
        out.result({"lake": lake.settings.lake_uri, "tables": entries})
        if broken := [entry for entry in entries if entry["problem"]]:
            raise TerminalError(
                "; ".join(f"{entry['name']} cannot be read: {entry['problem']}" for entry in broken),
                where=lake.settings.lake_uri,
                state="the other tables are as listed",
                next_command=_CURE,
            )


def history(
    table: Named,
    limit: Annotated[int, typer.Option(min=1, help="at most so many, the newest")] = 20,
    as_json: bool = Json,
) -> None:
    """List the versions of a table: when, by which operation and batch, and how many rows and files came and went."""
    with command(as_json) as out:
        _, opened = _open(out, table)
        found = [_version(entry) for entry in opened.history(limit)]
        names = ["version", "at", "operation", "batch", "rows_added", "rows_removed", "files_added", "files_removed"]
        out.table(
            [name.replace("_", " ") for name in names],
            [[_moment(version["at"]) if name == "at" else version[name] for name in names] for version in found],
        )
        if len(found) == limit and opened.version() + 1 > limit:
            out.line("older ones: --limit shows more")
        out.result({"table": table, "versions": found})


def _version(entry: dict[str, Any]) -> dict[str, Any]:
    from lakehouse.delta_commit import metadata_of

    metadata, metrics = metadata_of(entry), entry.get("operationMetrics") or {}

    def first(*names: str) -> int | None:
        return next((found for name in names if (found := _whole(metrics.get(name))) is not None), None)

    parameters = entry.get("operationParameters") or {}
    millis = _whole(entry.get("timestamp"))
    return {
        "version": entry["version"],
        "at": datetime.fromtimestamp(millis / 1000, UTC) if millis is not None else None,
        "operation": entry.get("operation"),
        "batch": _whole((metadata if "epochId" in metadata else parameters).get("epochId")),
        "rows_added": first("numOutputRows", "numTargetRowsInserted", "num_added_rows"),
        "rows_removed": first("numDeletedRows", "numTargetRowsDeleted", "num_deleted_rows"),
        "files_added": first(
            "numFiles", "numAddedFiles", "numTargetFilesAdded", "num_added_files", "numFilesAdded", "numRestoredFile"
        ),
        "files_removed": first(
            "numRemovedFiles", "numTargetFilesRemoved", "num_removed_files", "numFilesRemoved", "numRemovedFile"
        ),
    }


def detail(table: Named, as_json: bool = Json) -> None:
    """Show how a table lies in its files, who reads it, and whether other folders or another order would help."""
    from dataclasses import asdict

    from lakehouse.errors import TerminalError
    from lakehouse.maintenance.detail import layout, state
    from lakehouse.maintenance.places import table_share
    from lakehouse.maintenance.positions import holder_of, readers

    with command(as_json) as out:
        lake, opened = _open(out, table)
        found, how, share = state(lake, table), layout(opened), table_share(lake, table)
        assert found is not None and share is not None
        needs, unknown = dict[str, int](), ""
        try:
            needs = readers(lake).get(str(opened.metadata().id), {})
        except TerminalError as error:  # a damaged checkpoint, perhaps of a stream that reads another table
            unknown = f"not known: {error.what}"
        holder, protocol = holder_of(lake, table), opened.protocol()
        features = sorted({*(protocol.reader_features or ()), *(protocol.writer_features or ())})
        configuration = dict(opened.metadata().configuration)
        lines: dict[str, Any] = {
            "where": found.uri,
            "version": found.version,
            "rows": f"{found.rows:,} in {found.files:,} files, {sized(found.size_bytes or 0)}",
            "newest batch": _batch(found.last_batch, found.planned_batch) or "none: no stream writes it",
            "last write": _moment(found.last_write),
            "written now by": holder.described() if holder else "nobody",
            "file sizes": f"{sized(how.smallest_bytes)} to {sized(how.largest_bytes)}, half of them up to "
            f"{sized(how.median_bytes)}; {how.small_files:,} below {sized(how.target_bytes)}",
            "older versions": f"{share.old.objects:,} files, {sized(share.old.size_bytes)}",
            "never committed": f"{share.unnamed.objects:,} files, {sized(share.unnamed.size_bytes)}",
            "log": f"{share.log.objects:,} objects, {sized(share.log.size_bytes)}",
            "read by": unknown
            or ", ".join(f"{name} (has read up to version {version})" for name, version in sorted(needs.items()))
            or "no stream",
            "features": ", ".join(features)
            or f"reader {protocol.min_reader_version}, writer {protocol.min_writer_version}",
            "properties": ", ".join(f"{name}={value}" for name, value in sorted(configuration.items())) or "none",
        }
        for name, value in lines.items():
            out.line(f"{name:16} {value}")
        for text in how.advice:
            out.line(f"{'advice':16} {text}")
        parts = {part.what: {"files": part.objects, "size_bytes": part.size_bytes} for part in share.parts}
        out.result({**asdict(found), "layout": asdict(how), "objects": parts, "readers": None if unknown else needs})
        out.result({"features": features, "properties": configuration, "holder": asdict(holder) if holder else None})


def du(as_json: bool = Json) -> None:
    """Say what all that you have in the lake takes: tables, older versions, checkpoints, journals, and the rest."""
    from dataclasses import asdict

    from lakehouse.lake import Lake
    from lakehouse.maintenance.places import usage

    with command(as_json) as out:
        lake = Lake.open(say=out.say)
        out.doing(f"listing {lake.settings.lake_uri}/")
        found = usage(lake)
        columns = ["table", "files", "MB", "older files", "older MB", "unnamed", "unnamed MB", "log", "log MB"]
        if found.tables:
            out.table(
                columns,
                [
                    [table.name, *(cell for part in table.parts[:4] for cell in (part.objects, part.size_bytes / 1e6))]
                    for table in found.tables
                ],
            )
            out.line("")
        total = sum(area.size_bytes for area in found.areas)
        objects = sum(area.objects for area in found.areas)
        rows = [[area.what, area.objects, area.size_bytes / 1e6] for area in found.areas]
        out.table(["what", "objects", "MB"], [*rows, ["all", objects, total / 1e6]])
        out.result({"lake": lake.settings.lake_uri, "objects": objects, "size_bytes": total})
        out.result(
            {"areas": [asdict(area) for area in found.areas], "tables": [asdict(table) for table in found.tables]}
        )


def _open(out: Output, table: str) -> tuple[Lake, LakeTable]:
    """The lake and a table that is there, declared or not."""
    from deltalake.exceptions import DeltaError

    from lakehouse.errors import TerminalError
    from lakehouse.upkeep import existing

    lake = open_lake(out, table)
    existing(lake, [table])
    try:
        opened = lake.delta(table)
    except (DeltaError, OSError) as error:
        raise TerminalError(
            f"{table} cannot be read: {cause_of(error)}",
            where=lake.settings.table_uri(table),
            state="nothing was changed",
            next_command=_CURE,
        ) from None
    assert opened is not None
    return lake, opened


def _whole(given: Any) -> int | None:
    """An integer of Delta's log, which may have it as text; None for anything else."""
    return int(given) if str(given).isdigit() else None


def _batch(last: int | None, planned: int | None) -> str | None:
    if planned is None:
        return None
    if last == planned:
        return str(last)
    return f"{planned} begun" if last is None else f"{last}, {planned} begun"


def _moment(at: datetime | None) -> str | None:
    return f"{at:%Y-%m-%d %H:%M:%S}Z" if at else None

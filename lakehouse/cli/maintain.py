"""``lakehouse maintain``: files joined, files removed, a table taken back. Dry without ``--yes``, and without Spark."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.output import Json, Yes, command, in_lake, open_lake
from lakehouse.plain_text import counted, sized

maintain = typer.Typer(help="Keep the tables in order; each command only says what it would do without --yes.")

Tables = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TABLE]...", callback=in_lake, help="layer.name; default: all in the lake"),
]


@maintain.command("optimize")
def optimize(
    tables: Tables = None,
    target_mb: Annotated[int, typer.Option(min=1, help="how large a data file shall be")] = 128,
    least_fewer: Annotated[int, typer.Option(min=1, help="it pays when a table has so many files fewer then")] = 8,
    z_order: Annotated[
        list[str] | None, typer.Option(help="put rows together by the values of this column; repeatable; see detail")
    ] = None,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Join small data files, where it pays; the rows stay the same, and streams go on beside it."""
    from dataclasses import asdict

    from lakehouse.maintenance.optimize import Thresholds
    from lakehouse.upkeep import optimize_tables

    with command(as_json) as out:
        lake = open_lake(out, *(tables or ()))
        thresholds = Thresholds(target_mb * 1_000_000, least_fewer, tuple(z_order or ()))
        found = optimize_tables(
            *(lake, tables or (), thresholds), really=yes, on_table=lambda table: out.doing(f"{table}: joining files")
        )
        out.table(
            ["table", "files", "MB", "small", "files then", "MB then", "version", "why not"],
            [
                [
                    *(row.table, row.files_before, row.bytes_before / 1e6, row.small_files, row.files_after),
                    *(row.bytes_after / 1e6, row.version, row.why_not or None),
                ]
                for row in found
            ],
        )
        paying = [row for row in found if not row.why_not]
        fewer = sum(row.files_before - row.files_after for row in paying)
        if yes:
            out.line(
                f"{counted(len(paying), 'table')} with {counted(fewer, 'file')} fewer; vacuum removes the old ones"
            )
        else:
            does = "; --yes does it" if paying else ""
            out.line(f"would leave {counted(len(paying), 'table')} with about {counted(fewer, 'file')} fewer{does}")
        out.result({"done": yes, "tables": [asdict(row) for row in found]})


@maintain.command("vacuum")
def vacuum(
    tables: Tables = None,
    retention_hours: Annotated[
        float,
        typer.Option(min=0, help="how long what is gone from a table stays; below 168 every reader has to be done"),
    ] = 168,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Remove data files that no version of the retention, no reader and no running batch can need."""
    from dataclasses import asdict

    from lakehouse.upkeep import vacuum_tables

    with command(as_json) as out:
        lake = open_lake(out, *(tables or ()))
        found = vacuum_tables(
            *(lake, tables or ()),
            retention_hours=retention_hours,
            really=yes,
            on_table=lambda table: out.doing(f"{table}: looking for files that nobody needs"),
        )
        out.table(
            ["table", "files", "MB", "of old versions", "MB old", "never committed", "MB never", "readable from"],
            [
                [
                    *(row.table, row.files_before, row.bytes_before / 1e6, row.old_files, row.old_bytes / 1e6),
                    *(row.unnamed_files, row.unnamed_bytes / 1e6, row.oldest_version),
                ]
                for row in found
            ],
        )
        for row in found:
            for reason in row.kept_for:
                out.line(f"{row.table}: more is kept for {reason}")
            if row.refused:
                out.line(f"{row.table}: {row.refused}", style="yellow")
        files = sum(row.files_before - row.files_after for row in found)
        size = sum(row.bytes_before - row.bytes_after for row in found)
        amount = f"{counted(files, 'file')}, {sized(size)}"
        out.line(f"removed {amount}" if yes else f"would remove {amount}" + ("; --yes does it" if files else ""))
        values = [{**asdict(row), "files_after": row.files_after, "bytes_after": row.bytes_after} for row in found]
        out.result({"done": yes, "files": files, "size_bytes": size, "tables": values})


@maintain.command("retention")
def retention(
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="layer.name; default: all with a retention")
    ] = None,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Remove rows that are older than their table's retention in the declaration, and record it as forget does.

    The rows stay in the table's older versions until a vacuum. The exit code is 1 when --yes left a table as it was.
    """
    from dataclasses import asdict

    from lakehouse.upkeep import remove_old_rows

    with command(as_json) as out:
        lake = open_lake(out, *(tables or ()))
        found = remove_old_rows(
            *(lake, tables or ()), really=yes, on_table=lambda table: out.doing(f"{table}: counting old rows")
        )
        out.table(
            ["table", "column", "before", "rows", "old", "without a time", "version"],
            [
                [item.table, item.column, item.before, item.rows_before, item.rows, item.timeless_rows, item.version]
                for item in found
            ],
        )
        refused = [item for item in found if item.refused]
        for item in refused:
            out.line(f"{item.table}: {item.refused}", style="yellow")
        amount = f"{counted(sum(item.rows for item in found), 'row')} of {counted(len(found), 'table')}"
        out.line(f"removed {amount}" if yes else f"would remove {amount}; --yes does it")
        out.result({"done": yes, "refused": len(refused), "tables": [asdict(item) for item in found]})
    if yes and refused:
        raise typer.Exit(1)


@maintain.command("restore-version")
def restore_version(
    table: Annotated[str, typer.Argument(callback=in_lake, help="layer.name of a table that files fill")],
    version: Annotated[int, typer.Argument(help="the version that it shall have again; lakehouse history lists them")],
    then: Annotated[
        str, typer.Option(help="tables computed from it: follow (computed again), keep (as they are)")
    ] = "follow",
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Take a table back to an older version, and its stream: files that came after it are loaded again."""
    from dataclasses import asdict

    from lakehouse.upkeep import restore

    with command(as_json) as out:
        done = restore(open_lake(out, table), table, version, then=then, really=yes)
        verb = "took" if done.done else "would take"
        out.line(
            f"{verb} {table} from version {done.newest} ({done.rows_before:,} rows) back to version {version} "
            f"({done.rows_after:,} rows)"
        )
        out.line(
            f"the next run loads {counted(done.again, 'file')} again, which gave {counted(done.again_rows, 'row')}"
        )
        for path in done.undone:
            name = path.rsplit("/", 1)[-1]
            out.line(
                f"{path} was loaded again since, and has its rows of before then; to load it once more: "
                f"lakehouse replay --table {table} --files {name} --yes",
                style="yellow",
            )
        if done.readers:
            out.line(f"{', '.join(done.readers)}: {'computed again' if then == 'follow' else 'as they are'}")
        out.line("now run: lakehouse ingest" if done.done else "nothing was changed; --yes does it")
        out.result({**asdict(done), "then": then})


@maintain.command("orphans")
def orphans(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="as listed: which to remove")] = None,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """List what was kept for tables that are neither declared nor there; --yes removes what is named."""
    from dataclasses import asdict

    from lakehouse.errors import ConfigurationError
    from lakehouse.lake import Lake
    from lakehouse.upkeep import find_orphans, remove_orphans

    with command(as_json) as out:
        if yes and not names:
            raise ConfigurationError(
                "orphans are removed by name only",
                where="lakehouse maintain orphans --yes",
                state="nothing was removed",
                next_command="lakehouse maintain orphans   (lists them; then name some, with --yes)",
            )
        lake = Lake.open(say=out.say)
        found = remove_orphans(lake, names or ()) if yes else find_orphans(lake)
        if names and not yes:
            found = [entry for entry in found if entry.name in names]
        out.table(
            ["name", "objects", "MB", "last written", "why"],
            [
                [
                    *(entry.name, entry.objects, entry.size_bytes / 1e6, f"{entry.last_written:%Y-%m-%d %H:%M:%S}Z"),
                    f"{entry.why}; {entry.in_doubt}" if entry.in_doubt else entry.why,
                ]
                for entry in found
            ],
        )
        amount = f"{counted(len(found), 'folder')}, {sized(sum(entry.size_bytes for entry in found))}"
        out.line(
            f"removed {amount}" if yes else f"{amount} of nothing that is declared or there; NAME --yes removes one"
        )
        out.result({"done": yes, "orphans": [asdict(entry) for entry in found]})

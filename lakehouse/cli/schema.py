"""Commands about a stream's schema: its versions, and what is rescued because the schema lacks it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import Checkpoint, FilesTable, Json, Output, Yes, command, in_lake, open_own, open_table

if TYPE_CHECKING:
    from lakehouse.autoloader.schema.versions import SchemaLocation, SchemaVersion


_STYLES = {"added": "green", "removed": "red", "retyped": "yellow"}

schema = typer.Typer(help="The versions of a stream's schema.", no_args_is_help=True)


@schema.command("show")
def show(
    version: Annotated[int | None, typer.Argument(help="its number; the latest when left out")] = None,
    named: FilesTable = None,
    checkpoint: Checkpoint = None,
    as_json: bool = Json,
) -> None:
    """Print the columns of one version."""
    with command(as_json) as out:
        table, versions = _opened(out, named, checkpoint)
        chosen = _version(versions, version)
        columns = {
            field.name: field.dataType.simpleString() for field in [*chosen.data.fields, *chosen.partitions.fields]
        }
        out.table(["column", "type"], list(columns.items()), title=f"{table}, version {chosen.version}")
        out.result({"table": table, "version": chosen.version, "columns": columns})


@schema.command("history")
def history(named: FilesTable = None, checkpoint: Checkpoint = None, as_json: bool = Json) -> None:
    """List the versions, and where each new column was met."""
    with command(as_json) as out:
        table, opened = _opened(out, named, checkpoint)
        versions = opened.history()
        rows = []
        for version in versions:
            what = version.reason or (f"{len(version.data.fields)} columns, inferred" if version.version == 0 else "")
            first = [(what, "")] if what else []
            news = [(name, f"{path}, record {record:,}") for name, (path, record) in version.introduced.items()]
            rows += [[version.version, version.written, name, where] for name, where in first + news]
        out.table(["version", "written", "new", "met in"], rows)
        names = ("version", "written", "reason", "introduced")
        listed = [{name: getattr(version, name) for name in names} for version in versions]
        out.result({"table": table, "versions": listed})


@schema.command("diff")
def diff(
    old: Annotated[int, typer.Argument(help="number of a version")],
    new: Annotated[int | None, typer.Argument(help="number of another; the latest when left out")] = None,
    named: FilesTable = None,
    checkpoint: Checkpoint = None,
    as_json: bool = Json,
) -> None:
    """Print what one version has that another lacks."""
    with command(as_json) as out:
        table, versions = _opened(out, named, checkpoint)
        before, after = _version(versions, old), _version(versions, new)
        out.result({"table": table, "from": before.version, "to": after.version, **_differences(out, before, after)})


@schema.command("approve")
def approve(
    columns: Annotated[
        list[str] | None, typer.Argument(help='names, or "name TYPE"; all that wait when left out')
    ] = None,
    yes: Yes = False,
    named: FilesTable = None,
    as_json: bool = Json,
) -> None:
    """Make columns that wait in the rescued data part of the schema; alone, lists what waits."""
    from lakehouse.pipeline import rescued_data

    with command(as_json) as out:
        lake, table = open_table(out, named)
        rescued = rescued_data(lake, table)
        waiting = rescued.waiting()
        rows = [[field.name, field.type, field.rows, f"{field.file}, record {field.record:,}"] for field in waiting]
        out.table(["column", "type", "rows", "met in"], rows, title=f"waiting in _rescued_data of {table}")
        chosen = columns or [field.name for field in waiting]
        done = yes and bool(chosen)
        version = rescued.approve(chosen, waiting, really=done)
        if done:
            out.line(f"version {version.version} of the schema has {', '.join(chosen)}: the next ingest fills them")
            out.line(f"for the rows that are there: lakehouse schema promote --table {table}")
        elif chosen:
            out.line(f"would add {', '.join(chosen)} to version {version.version}; --yes does it")
        else:
            out.line("no column waits")
        out.result(
            {
                "table": table,
                "done": done,
                "version": version.version,
                "waiting": [asdict(field) for field in waiting],
            }
        )


@schema.command("rollback")
def rollback(
    version: Annotated[int, typer.Argument(help="the version whose columns the stream shall have again")],
    yes: Yes = False,
    named: FilesTable = None,
    checkpoint: Checkpoint = None,
    as_json: bool = Json,
) -> None:
    """Give the stream the columns of an older version, as a new version; rows that are stored stay as they are."""
    with command(as_json) as out:
        table, versions = _opened(out, named, checkpoint)
        now, then = _version(versions, None), _version(versions, version)
        changes = _differences(out, now, then)
        if changes["removed"]:
            out.line("rows that are stored keep those columns; in new files their values are rescued")
            out.line("in mode addNewColumns the next file that has one brings it back: use mode rescue to keep it out")
        if changes["retyped"]:
            out.line("the table keeps its wider types; new values that do not fit the narrower ones are rescued")
        different = any(changes.values())
        made = versions.roll_back(version) if yes and different else None
        if made is not None:
            out.line(f"version {made.version} has the columns of version {version}; the next ingest uses it")
        elif different:
            out.line(f"would write version {now.version + 1} with the columns of version {version}; --yes does it")
        result = {"table": table, "done": made is not None, "version": (made or now).version, **changes}
        out.result(result)


@schema.command("promote")
def promote(yes: Yes = False, named: FilesTable = None, as_json: bool = Json) -> None:
    """Move values from the rescued data into the columns that can take them now."""
    from lakehouse.engine import connect
    from lakehouse.pipeline import rescued_data

    with command(as_json) as out:
        lake, table = open_table(out, named)
        done = rescued_data(lake, table).promote(connect(lake, say=out.say), really=yes)
        out.table(["column", "rows"], list(done.rows.items()), title=f"values in _rescued_data of {table}")
        if done.done:
            out.line(f"promoted in version {done.delta_version} of {table}; {done.rows_after:,} rows, as before")
        else:
            out.line("would promote them; --yes does it" if done.rows else "nothing to promote")
        out.result({"table": table, **asdict(done)})


def _differences(out: Output, before: SchemaVersion, after: SchemaVersion) -> dict[str, list[str]]:
    """Shows and returns what became of the columns between two versions."""
    from lakehouse.contract import SIGNS, schema_changes

    changes: dict[str, list[str]] = {change: [] for change in SIGNS}
    for row in schema_changes([before, after]):
        changes[row["change"]].append(row["column"])
        out.line(f"{SIGNS[row['change']]} {row['column']} {row['type']}", style=_STYLES[row["change"]])
    if not any(changes.values()):
        out.line(f"versions {before.version} and {after.version} have the same columns")
    return changes


@schema.command("contract")
def contract(
    write: Annotated[bool, typer.Option("--write", help="pin the present columns as the contract")] = False,
    convert: Annotated[
        bool, typer.Option("--convert", help="turn the JSON contract of an older release into the standard's YAML")
    ] = False,
    named: FilesTable = None,
    as_json: bool = Json,
) -> None:
    """Hold the schema against its pinned contract: exit code 1 when it breaks it."""
    from lakehouse import contract as contracts
    from lakehouse.errors import CheckFailed, ConfigurationError
    from lakehouse.pipeline import declared, schemas

    with command(as_json) as out:
        lake, table = open_table(out, named)
        if convert:
            done = contracts.convert(lake.settings, table)
            out.line(f"wrote {done.path}: {len(done.columns)} columns; the JSON is gone", style="green")
        latest, path = _version(schemas(lake, table), None), lake.settings.contract_path(table)
        description = declared(lake, table).description
        pinned = (
            contracts.pin(lake.settings, table, latest, description)
            if write
            else contracts.read_contract(lake.settings, table)
        )
        if pinned is None:
            raise ConfigurationError(
                f"no contract is pinned for {table}",
                where=str(path),
                state="nothing was compared",
                next_command=contracts.accept(table),
            )
        found = contracts.differences(pinned.columns, contracts.types(latest))
        broken = pinned.broken_by(latest)
        facts = {"table": table, "contract": path, "version": latest.version, "passed": not broken}
        out.result({**facts, "differences": [{**asdict(change), "breaks": change in broken} for change in found]})
        if found:
            rows = [[change.column, change.pinned, change.present, change in broken] for change in found]
            out.table(["column", "pinned", "present", "breaks it"], rows)
        if broken:
            raise CheckFailed(
                f"version {latest.version} of the schema of {table} breaks its contract: {len(broken)} columns",
                where=str(path),
                state="nothing was changed",
                next_command=f"lakehouse schema history names the files; to accept it: {contracts.accept(table)}",
            )
        verdict = "pinned" if write else "PASS"
        out.line(
            f"{verdict}  {table}, version {latest.version}: {len(pinned.columns)} columns in {path}", style="green"
        )


@schema.command("export")
def export(
    named: Annotated[
        str, typer.Argument(metavar="TABLE", callback=in_lake, help="layer.name of any table that is there")
    ],
    as_json: bool = Json,
) -> None:
    """Print a table's present columns as a contract of the Open Data Contract Standard."""
    from lakehouse.contract.columns import own_columns
    from lakehouse.contract.writing import as_odcs, text_of
    from lakehouse.errors import ConfigurationError
    from lakehouse.pipeline import declared

    with command(as_json) as out:
        lake, table = open_table(out, named)
        delta = lake.delta(table)
        if delta is None:
            raise ConfigurationError(
                f"there is no table {table} yet",
                where=lake.settings.table_uri(table),
                state="nothing was read",
                next_command=f"fill it: lakehouse ingest {table}",
            )
        from pyspark.sql.types import StructType

        columns = own_columns(StructType.fromJson(json.loads(delta.schema().to_json())))
        document = as_odcs(table, columns, description=declared(lake, table).description)
        for line in text_of(document).splitlines():
            out.line(line)
        out.result(document)


def _opened(out: Output, named: str | None, location: str | None = None) -> tuple[str, SchemaLocation]:
    from lakehouse.pipeline import schemas

    if location:
        from lakehouse.autoloader.options.paths import split_uri
        from lakehouse.autoloader.schema.versions import SchemaLocation

        return location, SchemaLocation(open_own(out, location, named).store, *split_uri(location))
    lake, table = open_table(out, named)
    return table, schemas(lake, table)


def _version(versions: SchemaLocation, number: int | None) -> SchemaVersion:
    from lakehouse.errors import ConfigurationError

    there = sorted(versions.numbers())
    if not there or (number is not None and number not in there):
        raise ConfigurationError(
            f"the schema has no version {number}" if there else "there is no schema yet",
            where="lakehouse schema",
            state="nothing was changed",
            next_command=f"name one of {there[0]} to {there[-1]}" if there else "load files first: lakehouse ingest",
        )
    return versions.read(there[-1] if number is None else number)

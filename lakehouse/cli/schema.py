"""Commands about a stream's schema: ``schema show``, ``schema history``, ``schema diff``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import Json, command

if TYPE_CHECKING:
    from lakehouse.autoloader.schemas import SchemaLocation, SchemaVersion

_BRONZE = "bronze.orders_autoloader"
_Table = Annotated[str, typer.Option("--table", help="the table that the stream writes")]

schema = typer.Typer(help="The versions of a stream's schema.", no_args_is_help=True)


@schema.command("show")
def show(
    version: Annotated[int | None, typer.Argument(help="its number; the latest when left out")] = None,
    table: _Table = _BRONZE,
    as_json: bool = Json,
) -> None:
    """Print the columns of one version."""
    with command(as_json) as out:
        one = _version(_opened(table, out.say), version)
        columns = {field.name: field.dataType.simpleString() for field in [*one.data.fields, *one.partitions.fields]}
        out.table(["column", "type"], list(columns.items()), title=f"{table}, version {one.version}")
        out.result({"table": table, "version": one.version, "columns": columns})


@schema.command("history")
def history(table: _Table = _BRONZE, as_json: bool = Json) -> None:
    """List the versions, and where each new column was met."""
    with command(as_json) as out:
        versions = _opened(table, out.say).history()
        rows = []
        for one in versions:
            first = [(f"{len(one.data.fields)} columns, inferred", "")] if one.version == 0 else []
            news = [(name, f"{path}, record {record:,}") for name, (path, record) in one.introduced.items()]
            rows += [[one.version, one.written, name, where] for name, where in first + news]
        out.table(["version", "written", "new", "met in"], rows)
        listed = [{"version": one.version, "written": one.written, "introduced": one.introduced} for one in versions]
        out.result({"table": table, "versions": listed})


@schema.command("diff")
def diff(
    old: Annotated[int, typer.Argument(help="number of a version")],
    new: Annotated[int | None, typer.Argument(help="number of another; the latest when left out")] = None,
    table: _Table = _BRONZE,
    as_json: bool = Json,
) -> None:
    """Print what one version has that another lacks."""
    from lakehouse.autoloader.evolve import new_columns

    with command(as_json) as out:
        versions = _opened(table, out.say)
        before, after = _version(versions, old), _version(versions, new)
        added, gone = list(new_columns(before.data, after.data)), list(new_columns(after.data, before.data))
        for sign, names, style in (("+", added, "green"), ("-", gone, "red")):
            for name in names:
                out.line(f"{sign} {name}", style=style)
        if not added + gone:
            out.line(f"versions {before.version} and {after.version} have the same columns")
        out.result({"table": table, "from": before.version, "to": after.version, "added": added, "removed": gone})


def _opened(table: str, say: Callable[[str], None]) -> SchemaLocation:
    from lakehouse.lake import Lake
    from lakehouse.pipeline import schemas

    return schemas(Lake.open(say=say), table)


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

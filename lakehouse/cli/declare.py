"""The commands about the declaration: ``validate``, ``init``, ``add``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.cli.output import Json, Output, Yes, command, in_lake
from lakehouse.plain_text import counted, sized

if TYPE_CHECKING:
    from lakehouse.settings import Settings

_CELL = 40


def validate(
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="print the JSON Schema of the file, for editors")
    ] = False,
    with_lake: Annotated[
        bool, typer.Option("--lake", help="also look for tables of the lake that are not declared any more")
    ] = False,
    as_json: bool = Json,
) -> None:
    """Check lakehouse.yaml: print its tables in the order of the data, or all that is wrong with it."""
    from lakehouse import declaration
    from lakehouse.settings import Settings

    if json_schema:
        print(json.dumps(declaration.json_schema(), indent=2))
        return
    with command(as_json, warn=False) as out:
        settings = Settings.load()
        try:
            catalogue = declaration.read_catalogue(settings)
            declaration.check_names(catalogue, settings.declaration.parent)
        except declaration.DeclarationInvalid as error:
            out.result({"problems": [{"line": problem.line, "what": problem.what} for problem in error.problems]})
            raise
        rows, entries = [], []
        for table in catalogue:
            source = ", ".join(table.flow.reads) or getattr(table.flow, "path", "")
            checks = [check.called for check in table.checks if check.on_failure != "off"]
            rows.append([table.name, table.flow.kind, source, ", ".join(checks)])
            facts = {"name": table.name, "line": table.line, "flow": table.flow.kind, "source": source}
            entries.append({**facts, "on_demand": table.on_demand, "checks": checks})
        out.table(["table", "flow", "source", "checks"], rows)
        warnings = declaration.warnings_of_variables(settings, catalogue)
        warnings += declaration.notes_of_options(settings, catalogue)
        warnings += _undeclared(out, settings, catalogue.names) if with_lake else []
        for warning in warnings:
            out.line(f"warning: {warning}", style="yellow")
        out.line(f"{catalogue.where} is valid: {counted(len(rows), 'table')}", style="green")
        out.result({"declaration": catalogue.where, "valid": True, "tables": entries, "warnings": warnings})


def _undeclared(out: Output, settings: Settings, declared: tuple[str, ...]) -> list[str]:
    from lakehouse.lake import Lake

    names = [name for name in Lake.open(settings, say=out.say).table_names() if name not in declared]
    return [f"{name} is in the lake and not declared: nothing fills it; its data stay" for name in names]


def init(
    folder: Annotated[Path | None, typer.Argument(help="where; default: where the declaration is looked for")] = None,
    as_json: bool = Json,
) -> None:
    """Write a first lakehouse.yaml, with examples in comments; never over one that is there."""
    from lakehouse.declaration.problems import shown
    from lakehouse.declaration.templates import write_first
    from lakehouse.settings import Settings

    with command(as_json) as out:
        path = Settings.load().declaration if folder is None else folder / "lakehouse.yaml"
        write_first(path)
        out.line(f"wrote {shown(path)}; add a table: lakehouse add bronze.NAME s3a://BUCKET/FOLDER/")
        out.result({"declaration": str(path)})


def add(
    table: Annotated[str, typer.Argument(callback=in_lake, help="layer.name of the table, such as bronze.customers")],
    path: Annotated[str, typer.Argument(help="s3a://bucket/folder/ or /folder/ of its files; may have wildcards")],
    format_: Annotated[
        str | None, typer.Option("--format", help=f"{', '.join(FORMATS.names())}; default: guessed")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="column that names a row: also makes silver.NAME; repeatable")
    ] = None,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Look at files, and write the declaration of a table of them to lakehouse.yaml."""
    from lakehouse.declaration.adding import add_tables_to_file, as_yaml, refuse_declared, tables_for
    from lakehouse.declaration.landed import look_at_files
    from lakehouse.declaration.problems import shown
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings
    from lakehouse.table_names import require_name

    with command(as_json) as out:
        settings = Settings.load()
        require_name(table)
        refuse_declared(settings, {table: None, **({f"silver.{table.partition('.')[2]}": None} if key else {})})
        lake = Lake.open(settings, say=out.say)
        found = look_at_files(lake, table, path, format_)
        _require_columns(key or [], found.columns, path)
        where, tables = shown(settings.declaration), tables_for(table, found.flow, key or [])
        more = " or more" if found.more else ""
        count = f"{counted(found.files, found.flow.format + ' file')}{more}"
        out.line(f"{count}, {sized(found.size_bytes)}, under {path}")
        for note in found.notes:
            out.line(f"note: {note}", style="yellow")
        out.table(["column", "type"], list(found.columns.items()))
        _say_rows(out, found.rows, found.sample)
        out.line("")
        for line in as_yaml(tables).splitlines():
            out.line(line)
        out.line("")
        if yes:
            add_tables_to_file(settings, tables)
            out.line(f"added {' and '.join(tables)} to {where}; fill them: lakehouse ingest", "green")
        else:
            out.line(f"would add {' and '.join(tables)} to {where}; --yes does it")
        facts: dict[str, Any] = {"done": yes, "files": found.files, "more": found.more, "bytes": found.size_bytes}
        facts |= {"format": found.flow.format, "columns": found.columns, "rows": found.rows, "sample": found.sample}
        out.result({**facts, "notes": found.notes, "tables": tables, "declaration": as_yaml(tables)})


def _say_rows(out: Output, rows: tuple[dict[str, Any], ...], sample: str) -> None:
    if not rows:
        return
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    cells = [[_cell(row[name]) for name in names] for row in rows]
    out.table(names, cells, title=f"first rows of {sample}")


def _cell(value: Any) -> Any:
    text = "-" if value is None else str(value)
    return text if len(text) <= _CELL else f"{text[: _CELL - 3]}..."


def _require_columns(key: list[str], columns: dict[str, str], path: str) -> None:
    from lakehouse.declaration.problems import meant
    from lakehouse.errors import ConfigurationError

    for name in key:
        if name not in columns:
            raise ConfigurationError(
                f"the files have no column {name}{meant(name, columns)}",
                where=path,
                state="nothing was written",
                next_command="name a column that they have: lakehouse add TABLE PATH --key COLUMN",
            )

"""The command ``copy-into``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.cli.output import Json, Output, command, in_lake


def copy_into(
    table: Annotated[str, typer.Argument(callback=in_lake, help="layer.name; made when it is missing")],
    path: Annotated[str, typer.Argument(help="s3a://bucket/folder/ or /folder/ of the files")],
    format_: Annotated[str, typer.Option("--format", help=", ".join(FORMATS.names()))],
    pattern: Annotated[str | None, typer.Option(help="only files of this glob, from the folder on")] = None,
    files: Annotated[str | None, typer.Option(help="only these: names with commas between them")] = None,
    force: Annotated[bool, typer.Option("--force", help="load files again that are in the table")] = False,
    validate: Annotated[
        str | None, typer.Option(help="parse ALL files, or files up to N rows, and write nothing", metavar="ALL|N")
    ] = None,
    merge_schema: Annotated[bool, typer.Option("--merge-schema", help="add new columns to the table")] = False,
    options: Annotated[
        list[str] | None, typer.Option("--option", help="of the reader, such as header=true; repeatable")
    ] = None,
    as_json: bool = Json,
) -> None:
    """Load files into a table, each once, in one commit: what a batch does where a stream is too much.

    LAKEHOUSE_ENGINE=local loads them in this process, without Spark.
    """
    from lakehouse.copy_into import copy as copies
    from lakehouse.engine import connect
    from lakehouse.errors import CheckFailed, ConfigurationError
    from lakehouse.lake import Lake

    with command(as_json) as out:
        pairs = [text.partition("=") for text in options or ()]
        wrong = [name for name, sign, _ in pairs if not sign]
        if wrong or (validate and validate.upper() != "ALL" and not (validate.isdigit() and int(validate))):
            raise ConfigurationError(
                f"--option {wrong[0]} has no value" if wrong else f"--validate {validate} is neither ALL nor a number",
                where="lakehouse copy-into",
                state="nothing was read or written",
                next_command="write --option name=value" if wrong else "write --validate ALL, or --validate 10",
            )
        copy = copies.Copy(
            table=table,
            path=path,
            format=format_,
            pattern=pattern,
            files=[name.strip() for name in files.split(",")] if files else (),
            force=force,
            merge_schema=merge_schema,
            options={name: value for name, _, value in pairs},
        )
        copy.check()
        lake = Lake.open(say=out.say)
        if validate is None:
            here = lake.settings.engine == "local"
            done = copies.copy_into(None if here else connect(lake, out.say), lake, copy)
            _say_report(out, done)
            _require_some(len(done.files) + done.already_loaded, copy)
            return
        found = copies.validate_copy(lake, copy, None if validate.upper() == "ALL" else int(validate))
        _say_validation(out, found)
        _require_some(found.files, copy)
        if found.errors:
            raise CheckFailed(
                f"{len(found.errors):,} problems: the files cannot be copied into {table}",
                where=path,
                state="nothing was written",
                next_command="correct the files, or leave them out with --pattern or --files",
            )


def _require_some(files: int, copy: Any) -> None:
    """Makes sure that the copy has a file: a folder without files is most often a wrong name.

    Raises:
        ConfigurationError: the copy has no file, not even a file that the table has already.
    """
    from lakehouse.errors import ConfigurationError

    if files:
        return
    asked = [f"--pattern {copy.pattern}"] if copy.pattern is not None else []
    asked += [f"--files {','.join(copy.files)}"] if copy.files else []
    raise ConfigurationError(
        " ".join([f"there is no file to copy under {copy.path}", *(["of", *asked] if asked else [])]),
        where=copy.path,
        state="nothing was written",
        next_command="correct the folder, or what chooses the files in it (--pattern, --files)",
    )


def _say_report(out: Output, done: Any) -> None:
    out.result(done.as_dict())
    for file in done.skipped:
        out.line(f"{file.path}: {file.problem}", style="yellow")
    for name in done.missing:
        out.line(f"{name}: there is no such file", style="yellow")
    loaded, known = len(done.files) - len(done.skipped), f"{done.already_loaded:,} files were there already"
    if done.delta_version is None:
        out.line(f"nothing to copy into {done.table}: {known}")
        return
    what = f"{loaded:,} files with {done.rows:,} rows"
    out.line(f"{done.table} version {done.delta_version}: {what}, {done.duration_seconds:.1f} s; {known}")


def _say_validation(out: Output, found: Any) -> None:
    out.result(found.as_dict())
    rows = [[name, type_, "new" if name in found.new_columns else ""] for name, type_ in found.columns.items()]
    out.table(["column", "type", ""], rows)
    if found.preview:
        out.table(list(found.columns), [list(row.values()) for row in found.preview[:10]])
    for path, problem in found.errors:
        out.line(f"{path}: {problem}", style="yellow")
    out.line(f"{found.files:,} files with {found.rows:,} rows were parsed; nothing was written")

"""``lakehouse import-checkpoint``: going on here with a table that a stream elsewhere has filled."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from lakehouse.cli.checkpoint import StreamArgument
from lakehouse.cli.output import Json, Yes, command
from lakehouse.plain_text import counted


def import_checkpoint(
    table: StreamArgument,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FROM",
            help="a checkpoint of Spark's file source, or cloud_files_state of Auto Loader saved as .csv or .json",
        ),
    ],
    rewrite: Annotated[
        list[str] | None, typer.Option(help="OLD=NEW: what paths there begin with, and what they begin with here")
    ] = None,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Have a table of files begin behind what a stream elsewhere has loaded: none of those files comes again."""
    from dataclasses import asdict

    from lakehouse.cli.output import open_table
    from lakehouse.errors import ConfigurationError
    from lakehouse.places import import_place

    with command(as_json) as out:
        pairs = [text.partition("=") for text in rewrite or ()]
        if wrong := ["".join(pair) for pair in pairs if not all(pair)]:
            raise ConfigurationError(
                f"{wrong[0]} is not OLD=NEW",
                where="lakehouse import-checkpoint --rewrite",
                state="nothing was changed",
                next_command="write it as --rewrite dbfs:/mnt/raw/=s3a://landing/raw/",
            )
        lake, _ = open_table(out, table)
        done = import_place(lake, table, source, {old: new for old, _, new in pairs}, really=yes)
        does = "are not loaded again" if yes else "would not be loaded again"
        out.line(f"{counted(done.loaded, 'file')} loaded by {done.what}: {done.there:,} {does}")
        if done.gone:
            out.line(
                f"{counted(done.gone, 'file')} of them not in the folder any more, such as {done.gone_sample[0]}",
                style="yellow",
            )
        if done.not_loaded:
            out.line(f"{counted(done.not_loaded, 'file')} were known there and not loaded: they are new here")
        out.line(f"{counted(done.new, 'file')} in the folder were not loaded: the next run loads them")
        if not done.rows:
            out.line(
                f"no table is at {lake.settings.table_uri(table)}: bring it there, or it begins with new files alone",
                style="yellow",
            )
        if not yes:
            again = "".join(f" --rewrite {shlex.quote(text)}" for text in rewrite or ())
            next_command = f"lakehouse import-checkpoint {table} {shlex.quote(source)}{again} --yes"
            out.line(f"nothing was changed; to do it: {next_command}")
        out.result(asdict(done))

"""One thin output interface, two renderings: lines and tables for people, one JSON object for programs."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Grid

from lakehouse.cli.live import LiveLine
from lakehouse.errors import ConfigurationError, LakehouseError
from lakehouse.plain_text import printable

if TYPE_CHECKING:
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings
    from lakehouse.table import Table

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def in_lake(given: Any) -> Any:
    """Names of tables as the lake has them: ``main.bronze.orders`` is ``bronze.orders``.

    Whoever looks for the table says what is wrong with a name that stays.
    """
    if isinstance(given, list | tuple):
        return [in_lake(name) for name in given]
    if not isinstance(given, str) or given.count(".") != 2 or "/" in given:
        return given
    from lakehouse.settings import Settings

    try:
        return Settings.load().table_name(given)
    except ConfigurationError:
        return given


Json = typer.Option(False, "--json", help="print one JSON object instead of text")
Yes = Annotated[bool, typer.Option("--yes", help="do it; without it the command only says what it would do")]
FilesArgument = Annotated[
    str | None,
    typer.Argument(metavar="[TABLE]", callback=in_lake, help="layer.name; default: the first that files fill"),
]
FilesTable = Annotated[
    str | None,
    typer.Option(
        "--table", callback=in_lake, help="the table that the stream writes; default: the first that files fill"
    ),
]

Checkpoint = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="URI",
        help="of a stream of your own, in place of a table: its checkpointLocation, or its cloudFiles.schemaLocation",
    ),
]

_PLAIN_ERRORS = (LakehouseError, ConfigurationError)
"""Errors whose class has no page of its own; for other classes ``lakehouse explain`` is named."""

# Tables are copied into files and tickets: a pipe has no width, so it gets a wide one instead of cut columns.
# What they print came with files and tables: nothing in it is markup.
_console = Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else 160)
_errors = Console(markup=False, emoji=False, highlight=False, stderr=True, soft_wrap=True)


class Output:
    """Where a command writes. Progress goes to standard error, results to standard output."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._result: dict[str, Any] = {}
        self._live: LiveLine | None = None

    @contextmanager
    def alive(self) -> Iterator[None]:
        """While the command runs, says what is under way when nothing else is printed."""
        try:
            with LiveLine(sys.stderr) as self._live:
                yield
        finally:
            self._live = None

    def doing(self, text: str) -> None:
        """What is under way from now on; empty for what may be silent."""
        if self._live:
            self._live.doing(text)

    def _room(self) -> None:
        if self._live:
            self._live.clear()

    def say(self, text: str) -> None:
        """A line of progress."""
        self._room()
        _errors.print(f" {printable(text)}", style="dim")

    def warn(self, text: str) -> None:
        """A line about what may be wrong, on standard error."""
        self._room()
        _errors.print(f"warning: {printable(text)}", style="yellow")

    def line(self, text: str, style: str = "") -> None:
        """A line of the result, for people only."""
        if not self._as_json:
            self._room()
            _console.print(printable(text), style=style, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
        """A table of the result, for people only: numbers to the right, with separators."""
        if self._as_json:
            return
        self._room()
        if title:  # a title of the grid would be broken to the width of its columns
            _console.print(printable(title), style="italic", soft_wrap=True)
        table = Grid(box=None, pad_edge=False, header_style="bold")
        numeric = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(columns))]
        for name, right in zip(columns, numeric, strict=True):
            table.add_column(printable(name), justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(_cell, row))
        _console.print(table)

    @property
    def width(self) -> int:
        """Characters of a line."""
        return _console.width

    def result(self, values: Mapping[str, Any]) -> None:
        """What ``--json`` prints."""
        self._result.update(values)

    def finish(self) -> None:
        """Prints the JSON object, when asked for."""
        if self._as_json:
            print(json.dumps(self._result, indent=2, default=str))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, float) else printable(str(value))


def require_declared(settings: Settings, named: str) -> Table:
    """The table of that name.

    Raises:
        ConfigurationError: it is no name of a table, or nobody declared it.
    """
    from lakehouse.declaration import read_catalogue
    from lakehouse.table_names import require_name

    require_name(named)
    return read_catalogue(settings)[named]


def open_table(out: Output, named: str | None) -> tuple[Lake, str]:
    """The lake, and the table that a command is about: the table that was named, or the first table of files.

    Raises:
        ConfigurationError: no such table is declared; nothing was started then.
    """
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings

    settings = Settings.load()
    table = _first_of_files(settings) if named is None else require_declared(settings, named).name
    return Lake.open(settings, say=out.say), table


def open_lake(out: Output, *named: str) -> Lake:
    """The lake, for a command about tables that are there, declared or not.

    Raises:
        ConfigurationError: one of these is no name of a table; nothing was started then.
    """
    from lakehouse.lake import Lake
    from lakehouse.table_names import require_name

    for name in named:
        require_name(name)
    return Lake.open(say=out.say)


def open_own(out: Output, checkpoint: str, named: str | None) -> Lake:
    """The lake, for a stream that no declaration knows.

    Raises:
        ConfigurationError: a table was named as well, or the URI is none.
    """
    from lakehouse.autoloader.options.paths import split_uri
    from lakehouse.lake import Lake

    if named is not None:
        raise ConfigurationError(
            f"both the table {named} and a checkpoint were named",
            where=f"--checkpoint {checkpoint}",
            state="nothing was read",
            next_command="name one of them",
        )
    split_uri(checkpoint)
    return Lake.open(say=out.say)


def begun(out: Output, lake: Lake, table: str, named: str | None) -> bool:
    """Whether any run of a table has begun; where none has, that is said.

    Raises:
        ConfigurationError: none has, and the table was named.
    """
    from lakehouse.autoloader.options.paths import split_uri

    place = lake.settings.checkpoint_uri(table)
    bucket, prefix = split_uri(place)
    if next(iter(lake.store.list(bucket, f"{prefix}/")), None) is not None:
        return True
    what, cure = f"{table} is declared, and no run has filled it yet", f"lakehouse ingest {table}"
    if named is not None:
        raise ConfigurationError(what, where=place, state="there is nothing to show", next_command=cure)
    out.line(f"{what}: {cure}")
    return False


def _first_of_files(settings: Settings) -> str:
    from lakehouse.declaration import read_catalogue
    from lakehouse.flows.files import Files

    catalogue = read_catalogue(settings)
    found = [table.name for table in catalogue if isinstance(table.flow, Files)]
    if not found:
        raise ConfigurationError(
            "no table that files fill is declared",
            where=catalogue.where,
            state="nothing was read or written",
            next_command="lakehouse add bronze.NAME s3a://bucket/folder/",
        )
    able = [name for name in found if getattr(catalogue[name].flow, "replaces", False)]
    return (able or found)[0]


@contextmanager
def command(as_json: bool, *, warn: bool = True) -> Iterator[Output]:
    """Runs a command's body: an error becomes text or JSON and exit code 1, never a traceback.

    Args:
        as_json: How the result is rendered.
        warn: Whether to tell of ``LAKEHOUSE_...`` variables that nobody reads.
    """
    output = Output(as_json)
    if warn:
        _warn_of_variables(output)
    try:
        with output.alive():
            output.doing(f"lakehouse {_running()}")
            yield output
        output.finish()
    except LakehouseError as error:
        # the end of a log has lines; keys and commands have none
        where, state, next_command = map(printable, (error.where, error.state, error.next_command))
        shown = LakehouseError(printable(error.what, lines=True), where=where, state=state, next_command=next_command)
        kind = type(error).__name__
        more = f"\n  more   lakehouse explain {kind}" if type(error) not in _PLAIN_ERRORS else ""
        _fail(output, as_json, error.as_dict(), f"{shown}{more}")
    except KeyboardInterrupt:
        _fail(output, as_json, {"error": "Interrupted"}, "interrupted; what was committed stays committed")


@contextmanager
def full_disk_reported() -> Iterator[None]:
    """Says in a line that a disk has no room: for what is printed into a file, and for ``LAKEHOUSE_HOME``."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is not tried again at the end
        print(
            f"error: what is printed, or kept in LAKEHOUSE_HOME, cannot be written: {error.strerror}", file=sys.stderr
        )
        sys.exit(1)


def _running() -> str:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    return " ".join(words[:2])


def _warn_of_variables(output: Output) -> None:
    """Tells of typing errors and old names of variables; what is wrong with the declaration the command tells."""
    if not any(name.startswith("LAKEHOUSE_") for name in os.environ):
        return
    from lakehouse.declaration import read_catalogue, unknown_variables, warnings_of_variables
    from lakehouse.settings import Settings
    from lakehouse.table import Catalogue

    with suppress(LakehouseError):
        settings = Settings.load()
        if unknown_variables(settings, Catalogue()):
            catalogue = read_catalogue(settings) if settings.declaration.exists() else Catalogue()
            for warning in warnings_of_variables(settings, catalogue):
                output.warn(warning)


def _fail(output: Output, as_json: bool, facts: dict[str, str], text: str) -> None:
    if as_json:
        output.result(facts)
        output.finish()
    else:
        _errors.print(f"error: {text}", style="red")
    raise typer.Exit(1)


Say = Callable[[str], None]

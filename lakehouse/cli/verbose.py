"""``-v`` and ``-vv``: what the library logs, on standard error."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

_NAMES = ("-v", "--verbose")
_HELP = "log to standard error what is done; -vv: all of it. Also after the command's name"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_to_stderr(verbosity: int) -> int:
    """Shows the messages of the logger ``lakehouse``: from 1 on INFO, from 2 on DEBUG; 0 changes nothing."""
    if verbosity:
        import logging

        log = logging.getLogger("lakehouse")
        log.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
        for before in [candidate for candidate in log.handlers if getattr(candidate, "verbose", False)]:
            log.removeHandler(before)
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(_FORMAT))
        handler.verbose = True  # type: ignore[attr-defined]
        log.addHandler(handler)
    return verbosity


Verbose = Annotated[int, typer.Option(*_NAMES, count=True, callback=log_to_stderr, help=_HELP, show_default=False)]


class Group(TyperGroup):
    """The commands: ``-v`` may stand anywhere in the line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes the options in front of the command's name."""
        end = args.index("--") if "--" in args else len(args)
        flags = [arg for arg in args[:end] if arg in (*_NAMES, "-vv")]
        rest = [arg for arg in args[:end] if arg not in flags]
        return super().parse_args(ctx, [*flags, *rest, *args[end:]])

"""Errors that tell a person what to do: what happened, where, what state it left, what to run next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

SOME_TABLE = "TABLE"
"""Stands in a command for a table whose name is not known where the error is made; see ``naming``."""


class LakehouseError(Exception):
    """The base of every error this library raises on purpose.

    Whether a retry can help is a type, not a guess: catch ``TransientError`` to retry, never its message.

    Attributes:
        what: What happened, one sentence.
        where: The file, object, table or address it happened at.
        state: What was left behind, so that nobody has to fear a retry.
        next_command: What to run or change next.
    """

    def __init__(self, what: str, *, where: str = "", state: str = "", next_command: str = "") -> None:
        self.what, self.where, self.state, self.next_command = what, where, state, next_command
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        lines += [f"  where  {self.where}"] if self.where else []
        lines += [f"  state  {self.state}"] if self.state else []
        lines += [f"  next   {self.next_command}"] if self.next_command else []
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str]:
        """The same facts for ``--json`` and for Dagster's metadata."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "state": self.state,
            "next": self.next_command,
        }


class TransientError(LakehouseError):
    """The same call may succeed later: a server restarting, a lease still held, a network fault."""


class TerminalError(LakehouseError):
    """The same call fails again until somebody changes something."""


class ConfigurationError(TerminalError):
    """A setting is missing, malformed or contradicts another."""


class StoreUnavailable(TransientError):
    """The object store cannot be reached, or did not start."""


class AccessDenied(TerminalError):
    """The object store refuses these credentials."""


class EngineUnavailable(TransientError):
    """The Spark engine cannot be reached, died or did not start."""


class StreamFailed(TerminalError):
    """A streaming query ended with an error; what it committed before stays committed."""


class CopyFailed(TerminalError):
    """A copy of files into a table ended with an error."""


class UnknownFieldException(TransientError):
    """Files have columns that the stream's schema lacks; after a new start it may have them."""


class LeaseHeld(TransientError):
    """Another process writes to this table now."""


class CheckFailed(TerminalError):
    """A blocking check found rows that must not be there."""


@contextmanager
def naming(table: str) -> Iterator[None]:
    """Puts the table's name into the commands of errors that could not know it."""
    try:
        yield
    except LakehouseError as error:
        error.next_command = re.sub(rf"(lakehouse [a-z ]+){SOME_TABLE}\b", rf"\g<1>{table}", error.next_command)
        raise

"""Warnings for options of a ``cloudFiles`` stream that are without effect, given where the stream is started.

The source runs in Spark's driver, whose standard error a client of Spark Connect does not see. The client sends the
plan when a stream starts, so the warning is given there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

from google.protobuf.message import Message
from pyspark.sql.connect.proto import ExecutePlanRequest, Read

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.errors import ConfigurationError

M = TypeVar("M", bound=Message)


class OptionWarning(UserWarning):
    """An option of a stream is accepted, and is without effect."""


class TellOfOptions:
    """A session's hook (see ``SparkSession.Hook`` of Spark Connect): looks at the plan of every stream that starts."""

    def on_execute_plan(self, request: ExecutePlanRequest) -> ExecutePlanRequest:
        """The request, unchanged. Warns of each option without effect."""
        command = request.plan.command
        if command.HasField("write_stream_operation_start"):
            for note in notes_of_plan(command.write_stream_operation_start.input):
                warnings.warn(note, OptionWarning, stacklevel=2)
        return request


def notes_of_plan(plan: Message) -> list[str]:
    """The notes on the options of all ``cloudFiles`` sources that a plan reads, each note once."""
    found: dict[str, None] = {}
    for source in sources(plan):
        given = dict(source.options) | ({"path": source.paths[0]} if source.paths else {})
        try:
            found |= dict.fromkeys(CloudFilesOptions.parse(given).notes)
        except ConfigurationError:
            continue  # the source itself says so
    return list(found)


def watch_options(spark: Any) -> None:
    """Has a session's streams looked at; only Spark Connect shows them, and a classic session's driver is here."""
    add_hook(spark, TellOfOptions())


def add_hook(spark: Any, hook: Any) -> None:
    """Adds a hook to a session of Spark Connect, in place of one of its class; a classic session has no hooks."""
    hooks = getattr(getattr(spark, "_client", None), "_session_hooks", None)
    if hooks is not None:
        hooks[:] = [*(known for known in hooks if type(known) is not type(hook)), hook]


def sources(plan: Message) -> list[Read.DataSource]:
    """All ``cloudFiles`` sources of a plan."""
    return [source for source in messages(plan, Read.DataSource) if source.format.lower() == "cloudfiles"]


def messages(message: Message, kind: type[M] | tuple[type[M], ...]) -> Iterator[M]:
    """All parts of a plan that are of a kind, from the top down; what is in such a part comes after it."""
    if isinstance(message, kind):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for part in [value] if isinstance(value, Message) else value:
                yield from messages(part, kind)

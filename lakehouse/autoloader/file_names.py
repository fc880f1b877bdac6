"""``input_file_name()`` over a ``cloudFiles`` stream: Spark would answer "" for every row, so the stream is refused.

Spark learns the file from its own readers in the JVM. A Python data source cannot tell it, and does not see the query.
The client sees the query: it sends the plan when a stream starts.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.message import Message
from pyspark.sql.connect.proto import ExecutePlanRequest, Relation, WithRelations

from lakehouse.autoloader.option_notes import add_hook
from lakehouse.errors import ConfigurationError

_NAMES = ("input_file_name", "input_file_block_start", "input_file_block_length")
_CALL = re.compile(rf"\b({'|'.join(_NAMES)})\s*\(", re.IGNORECASE)


class RefuseFileNames:
    """A session's hook (see ``SparkSession.Hook`` of Spark Connect): looks at the plan of every stream that starts.

    A plan that is hidden behind a view is not seen.
    """

    def on_execute_plan(self, request: ExecutePlanRequest) -> ExecutePlanRequest:
        """The request, unchanged.

        Raises:
            ConfigurationError: see the module.
        """
        refuse_file_names(request)
        return request


def refuse_file_names(request: ExecutePlanRequest) -> None:
    """Raises where a stream that starts asks a ``cloudFiles`` source for the name of the file being read."""
    command = request.plan.command
    if not command.HasField("write_stream_operation_start"):
        return
    if _seen(command.write_stream_operation_start.input)[1]:
        raise ConfigurationError(
            'input_file_name() is "" in every row of a cloudFiles stream: Spark knows it of its own sources only',
            where="the query's columns",
            state="the stream was not started",
            next_command="use _metadata.file_path (and _metadata.file_block_start, _metadata.file_block_length); with "
            ".schema(...) add `_metadata STRUCT<file_path: STRING>` to the schema",
        )


def watch_file_names(spark: Any) -> None:
    """Has a session's streams looked at; only Spark Connect shows them, a classic session is left as it is."""
    add_hook(spark, RefuseFileNames())


def _seen(message: Message, of_query: bool = False) -> tuple[bool, bool]:
    """Whether a part reads ``cloudFiles``, and whether it calls ``input_file_name()`` or its kin over such a reading.

    Args:
        message: Any part of a plan.
        of_query: Whether it is a SQL query whose relations are beside it.
    """
    reads = calls = False
    for field, value in message.ListFields():
        if field.message_type is None:
            text = value if isinstance(value, str) else ""
            reads |= field.full_name == "spark.connect.Read.DataSource.format" and text.lower() == "cloudfiles"
            if field.full_name == "spark.connect.Expression.UnresolvedFunction.function_name":
                calls |= text.lower() in _NAMES
            elif field.full_name in ("spark.connect.Expression.ExpressionString.expression", "spark.connect.SQL.query"):
                calls |= bool(_CALL.search(text))
        elif not field.message_type.GetOptions().map_entry:
            for part in [value] if isinstance(value, Message) else value:
                inner = _seen(part, isinstance(message, WithRelations) and field.name == "root")
                reads, calls = reads or inner[0], calls or inner[1]
    # over another source the call is right: what a relation calls goes further up only where it reads cloudFiles itself
    return reads, calls and (reads or of_query or not isinstance(message, Relation))

"""Columns that Databricks adds to a schema of ``.schema(...)``, added where a client of Spark Connect starts a stream.

Spark hands a Python data source the schema as it was given, and expects just that. The client sends the plan, in which
the schema stands as text: the column that ``rescuedDataColumn`` names is added there.
"""

from __future__ import annotations

import json
from typing import Any

from pyspark.sql.connect.proto import ExecutePlanRequest
from pyspark.sql.types import StructType

from lakehouse.autoloader.option_notes import sources
from lakehouse.autoloader.schema.hints import columns_of
from lakehouse.autoloader.schema.rescued import with_rescued
from lakehouse.errors import ConfigurationError


class CompleteSchemas:
    """A session's hook (see ``SparkSession.Hook`` of Spark Connect): looks at the plan of every stream that starts."""

    def on_execute_plan(self, request: ExecutePlanRequest) -> ExecutePlanRequest:
        """The request with complete schemas."""
        command = request.plan.command
        if command.HasField("write_stream_operation_start"):
            for source in sources(command.write_stream_operation_start.input):
                if source.schema and (given := _parsed(source.schema)) is not None:
                    whole = with_rescued(given, dict(source.options))
                    if whole.names != given.names:
                        source.schema = whole.json()
        return request


def _parsed(text: str) -> StructType | None:
    """None where only Spark's own parser can read it: the source then says at its start what the schema lacks."""
    try:
        return StructType.fromJson(json.loads(text)) if text.lstrip().startswith("{") else columns_of(text)
    except (ConfigurationError, ValueError, KeyError):
        return None


def complete_schemas(spark: Any) -> None:
    """Has the schemas of a session's streams completed; only Spark Connect shows them."""
    hooks = getattr(getattr(spark, "_client", None), "_session_hooks", None)
    if hooks is not None and not any(isinstance(one, CompleteSchemas) for one in hooks):
        hooks.append(CompleteSchemas())

"""Columns that Databricks adds to a schema of ``.schema(...)``, added where a client of Spark Connect starts a stream.

Spark hands a Python data source the schema as it was given, and expects just that. The client sends the plan, in which
the schema stands as text: the column that ``rescuedDataColumn`` names is added there, and ``_metadata`` where the query
asks for it. As on Databricks the target has that only where the query selects it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pyspark.sql.connect.proto import Drop, ExecutePlanRequest, Expression, Project, Read, Relation
from pyspark.sql.types import StructType

from lakehouse.autoloader.lineage import METADATA
from lakehouse.autoloader.option_notes import add_hook, messages, sources
from lakehouse.autoloader.schema.hints import columns_of
from lakehouse.autoloader.schema.rescued import with_rescued
from lakehouse.errors import ConfigurationError

_ASKED = re.compile(rf"(?<![\w.]){METADATA}\b")
_KEEP_COLUMNS = ("filter", "with_columns", "with_watermark")


class CompleteSchemas:
    """A session's hook (see ``SparkSession.Hook`` of Spark Connect): looks at the plan of every stream that starts."""

    def on_execute_plan(self, request: ExecutePlanRequest) -> ExecutePlanRequest:
        """The request with complete schemas."""
        command = request.plan.command
        if command.HasField("write_stream_operation_start"):
            plan = command.write_stream_operation_start.input
            for source in sources(plan):
                _add_rescued(source)
            # over several relations a name may be a column of another relation
            if [read.data_source.format.lower() for read in messages(plan, Read)] == ["cloudfiles"]:
                _offer_metadata(plan)
                _name_metadata_once(plan)
        return request


def _add_rescued(source: Read.DataSource) -> None:
    if (given := _parsed(source.schema)) is not None:
        whole = with_rescued(given, dict(source.options))
        if whole.names != given.names:
            source.schema = whole.json()


def _offer_metadata(plan: Relation) -> None:
    """Adds ``_metadata`` to the one source's given schema where the query asks for it, and takes it out at the end."""
    [source] = sources(plan)
    given = _parsed(source.schema)
    if given is None or METADATA in given.names or not _asks(plan):
        return
    from lakehouse.autoloader.reading.columns import METADATA_TYPE

    source.schema = given.add(METADATA, METADATA_TYPE).json()
    if not any(_is_metadata(expr) for project in messages(plan, Project) for expr in project.expressions):
        plan.CopyFrom(Relation(drop=Drop(input=plan, column_names=[METADATA])))


def _name_metadata_once(plan: Relation) -> None:
    """Keeps only the star of ``select("*", "_metadata")``: the source has ``_metadata`` as a column."""
    for project in messages(plan, Project):
        below = project.input
        while (kind := below.WhichOneof("rel_type")) in _KEEP_COLUMNS:
            below = getattr(below, kind).input
        if kind == "read" and any(_is_star(expr) for expr in project.expressions):
            kept = [expr for expr in project.expressions if not _is_metadata(expr)]
            if len(kept) < len(project.expressions):
                _replace(project, kept)


def _replace(project: Project, kept: Sequence[Expression]) -> None:
    copies = [Expression.FromString(expr.SerializeToString()) for expr in kept]
    del project.expressions[:]
    project.expressions.extend(copies)


def _asks(plan: Relation) -> bool:
    names = (attribute.unparsed_identifier for attribute in messages(plan, Expression.UnresolvedAttribute))
    texts = (expr.expression for expr in messages(plan, Expression.ExpressionString))
    return any(_ASKED.search(text.replace("`", "")) for text in (*names, *texts))


def _text(expr: Expression) -> str:
    """The text of an expression that is a name or a text; "" for any other expression."""
    return (expr.unresolved_attribute.unparsed_identifier or expr.expression_string.expression).replace("`", "").strip()


def _is_metadata(expr: Expression) -> bool:
    return _text(expr) == METADATA


def _is_star(expr: Expression) -> bool:
    return _text(expr) == "*" or (expr.HasField("unresolved_star") and not expr.unresolved_star.unparsed_target)


def _parsed(text: str) -> StructType | None:
    """None without a schema, or where only Spark's parser can read it. The source then says what is missing."""
    if not text:
        return None
    try:
        return StructType.fromJson(json.loads(text)) if text.lstrip().startswith("{") else columns_of(text)
    except (ConfigurationError, ValueError, KeyError):
        return None


def complete_schemas(spark: Any) -> None:
    """Has the schemas of a session's streams completed; only Spark Connect shows them."""
    add_hook(spark, CompleteSchemas())

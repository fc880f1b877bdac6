"""Names of tables as Databricks writes them: ``main.bronze.orders`` of a request is the lake's ``bronze.orders``."""

from __future__ import annotations

import re
from typing import Any

import grpc
from google.protobuf.message import Message
from pyspark.sql.connect.proto import SQL, ExecutePlanRequest, Read, WriteOperation, WriteOperationV2, catalog_pb2
from pyspark.sql.connect.proto import WriteStreamOperationStart as StreamStart

from lakehouse.autoloader.option_notes import add_hook, messages
from lakehouse.errors import ConfigurationError
from lakehouse.settings import Settings

_CATALOG: list[Any] = [kind for kind in vars(catalog_pb2).values() if isinstance(kind, type)]
"""What ``spark.catalog`` asks for, such as ``TableExists``."""
_NAMES: dict[Any, str] = {
    StreamStart: "table_name",
    WriteOperation.SaveTable: "table_name",
    WriteOperationV2: "table_name",
    Read.NamedTable: "unparsed_identifier",
    **{kind: "table_name" for kind in _CATALOG if "table_name" in kind.DESCRIPTOR.fields_by_name},
}
"""The parts of a request that name a table, and where."""
_LOOKED_FOR: tuple[Any, ...] = (*_NAMES, SQL)

_NAME = r"(?:`(?:[^`]|``)+`|[A-Za-z_]\w*)"
_IN_SQL = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|--[^\n]*|/\*.*?\*/"""  # texts and comments stay as they are
    rf"""|(?<![\w.`])(?P<three>{_NAME}\.{_NAME}\.{_NAME})(?![\w`])"""
    rf"""|\b(?:USE|SET)\s+CATALOG\s+(?P<catalog>{_NAME})(?![\w`.])"""
    r"""|(?P<words>\b(?:SHOW\s+(?:TABLES|VIEWS)\s+(?:IN|FROM)|(?:CREATE|DESCRIBE|DESC|USE)\s+(?:SCHEMA|DATABASE)"""
    rf"""(?:\s+IF\s+(?:NOT\s+)?EXISTS)?|USE)\s+)(?P<two>{_NAME}\.{_NAME})(?![\w`.])""",
    re.DOTALL | re.IGNORECASE,
)
_SPARKS_OWN = "SET CATALOG spark_catalog"


class LakeNames(grpc.UnaryUnaryClientInterceptor):
    """Looks at what a session of Spark Connect asks: a hook for what it executes, an interceptor for what it analyses.

    Spark's hooks (``SparkSession.Hook``) see no request for columns, such as that of ``DataFrame.columns``.

    Attributes:
        settings: They know the catalogs.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def on_execute_plan(self, request: ExecutePlanRequest) -> ExecutePlanRequest:
        """The request with names of the lake; a name that none of its catalogs has stays, for Spark to know it."""
        self._name_tables(request.plan)
        return request

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """A request with one answer: what asks for columns names tables, too."""
        if details.method.endswith("/AnalyzePlan"):
            self._name_tables(request)
        return continuation(details, request)

    def __deepcopy__(self, memo: object) -> LakeNames:
        """A clone of a session is of the same lake."""
        return self

    def _name_tables(self, request: Message) -> None:
        for part in messages(request, _LOOKED_FOR):
            if isinstance(part, SQL):
                part.query = self.in_lake(part.query)
                continue
            field = _NAMES[type(part)]
            name = getattr(part, field).replace("`", "")
            try:
                meant = self.settings.table_name(name)
            except ConfigurationError:
                continue
            if meant != name:
                setattr(part, field, meant)

    def in_lake(self, query: str) -> str:
        """SQL in which names of three parts are those of the lake; of a catalog that nobody knows they stay.

        A schema of such a catalog is a layer, and the catalog itself is Spark's own: ``USE CATALOG main``.
        """

        def named(found: re.Match[str]) -> str:
            given = found["three"] or found["two"] or found["catalog"] or ""
            parts = [part.strip("`") for part in re.findall(_NAME, given)]
            if any("`" in part or "." in part for part in parts) or not parts:
                return found[0]
            try:
                if found["three"]:
                    return self.settings.table_name(".".join(parts))
                layer = self.settings.table_name(".".join([*parts, "bronze", "t"][:3])).partition(".")[0]
            except ConfigurationError:
                return found[0]
            if found["catalog"]:
                return _SPARKS_OWN
            return f"{found['words']}{layer}"

        return _IN_SQL.sub(named, query)


def watch_names(spark: Any, settings: Settings) -> None:
    """Has a session's names looked at; only Spark Connect shows them. ``writeStream.table`` is ``toTable``."""
    from pyspark.sql.connect.streaming.readwriter import DataStreamWriter

    hooks = getattr(getattr(spark, "_client", None), "_session_hooks", None) or []
    known = next((hook for hook in hooks if isinstance(hook, LakeNames)), None)
    if known is not None:  # it is the session's interceptor, too
        known.settings = settings
    else:
        add_hook(spark, LakeNames(settings))
    if not hasattr(DataStreamWriter, "table"):
        DataStreamWriter.table = DataStreamWriter.toTable  # type: ignore[attr-defined]

"""Names of tables as Databricks writes them: ``main.bronze.orders`` of a plan is the lake's ``bronze.orders``."""

from __future__ import annotations

import re
from typing import Any

from pyspark.sql.connect.proto import SQL, ExecutePlanRequest, Read, WriteOperation, WriteOperationV2
from pyspark.sql.connect.proto import WriteStreamOperationStart as StreamStart

from lakehouse.autoloader.option_notes import add_hook, messages
from lakehouse.errors import ConfigurationError
from lakehouse.settings import Settings

_NAMES: tuple[tuple[Any, str], ...] = (
    (StreamStart, "table_name"),
    (WriteOperation.SaveTable, "table_name"),
    (WriteOperationV2, "table_name"),
    (Read.NamedTable, "unparsed_identifier"),
)
"""The parts of a plan that name a table, and where."""

_NAME = r"(?:`(?:[^`]|``)+`|[A-Za-z_]\w*)"
_IN_SQL = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|--[^\n]*|/\*.*?\*/"""  # texts and comments stay as they are
    rf"""|(?<![\w.`])(?P<three>{_NAME}\.{_NAME}\.{_NAME})(?![\w`])""",
    re.DOTALL,
)


class LakeNames:
    """A session's hook (see ``SparkSession.Hook`` of Spark Connect): looks at every plan that is executed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def on_execute_plan(self, request: ExecutePlanRequest) -> ExecutePlanRequest:
        """The request with names of the lake; a name that none of its catalogs has stays, for Spark to know it."""
        for kind, field in _NAMES:
            for part in messages(request.plan, kind):
                name = getattr(part, field).replace("`", "")
                try:
                    meant = self._settings.table_name(name)
                except ConfigurationError:
                    continue
                if meant != name:
                    setattr(part, field, meant)
        for text in messages(request.plan, SQL):
            text.query = self.in_lake(text.query)
        return request

    def in_lake(self, query: str) -> str:
        """SQL in which names of three parts are those of the lake; of a catalog that nobody knows they stay."""

        def named(found: re.Match[str]) -> str:
            parts = re.findall(_NAME, found["three"] or "")
            if any("``" in part or "." in part for part in parts) or not parts:
                return found[0]
            try:
                return self._settings.table_name(".".join(part.strip("`") for part in parts))
            except ConfigurationError:
                return found[0]

        return _IN_SQL.sub(named, query)


def watch_names(spark: Any, settings: Settings) -> None:
    """Has a session's names looked at; only Spark Connect shows them. ``writeStream.table`` is ``toTable``."""
    from pyspark.sql.connect.streaming.readwriter import DataStreamWriter

    add_hook(spark, LakeNames(settings))
    if not hasattr(DataStreamWriter, "table"):
        DataStreamWriter.table = DataStreamWriter.toTable  # type: ignore[attr-defined]

"""Names of tables as Databricks writes them: ``main.bronze.orders`` of a plan is the lake's ``bronze.orders``."""

from __future__ import annotations

from typing import Any

from pyspark.sql.connect.proto import ExecutePlanRequest, Read, WriteOperation, WriteOperationV2
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
        return request


def watch_names(spark: Any, settings: Settings) -> None:
    """Has a session's names looked at; only Spark Connect shows them."""
    add_hook(spark, LakeNames(settings))

"""The Spark engine: jars, the warm Spark Connect server, and ``get_spark()``."""

from lakehouse.engine.orphans import end_writes, query_name
from lakehouse.engine.server import (
    EngineStatus,
    engine_pid,
    engine_status,
    ensure_engine,
    explain,
    note_query,
    spark_log,
    stop_engine,
)
from lakehouse.engine.session import connect, disconnect, engine_in_use, get_spark, register_tables
from lakehouse.engine.warm_up import warm_up

__all__ = [
    "EngineStatus",
    "connect",
    "disconnect",
    "end_writes",
    "engine_in_use",
    "engine_pid",
    "engine_status",
    "ensure_engine",
    "explain",
    "get_spark",
    "note_query",
    "query_name",
    "register_tables",
    "spark_log",
    "stop_engine",
    "warm_up",
]

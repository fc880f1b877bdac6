"""The Spark engine: jars, the warm Spark Connect server, and ``get_spark()``."""

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
from lakehouse.engine.session import connect, disconnect, get_spark, register_tables
from lakehouse.engine.warm_up import warm_up

__all__ = [
    "EngineStatus",
    "connect",
    "disconnect",
    "engine_pid",
    "engine_status",
    "ensure_engine",
    "explain",
    "get_spark",
    "note_query",
    "register_tables",
    "spark_log",
    "stop_engine",
    "warm_up",
]

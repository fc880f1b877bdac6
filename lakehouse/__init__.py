"""Auto Loader for open-source Spark, on MinIO and Delta Lake.

A row's way: bucket (``storage``) -> discovery and reading (``autoloader``) -> tables (``flows``) -> ``checks``;
docs/architecture.md has the map. Names are loaded on first use: importing this package starts nothing and imports no
Spark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.engine import get_spark
    from lakehouse.file_reading import read_files
    from lakehouse.settings import Settings
    from lakehouse.sql_query import sql

__all__ = ["Settings", "get_spark", "read_files", "sql"]


def __getattr__(name: str) -> Any:
    if name == "get_spark":
        from lakehouse.engine import get_spark

        return get_spark
    if name == "Settings":
        from lakehouse.settings import Settings

        return Settings
    if name == "read_files":
        from lakehouse.file_reading import read_files

        return read_files
    if name == "sql":
        from lakehouse.sql_query import sql

        return sql
    raise AttributeError(f"module 'lakehouse' has no attribute {name!r}")

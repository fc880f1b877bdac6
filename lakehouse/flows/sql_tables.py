"""Tables of elsewhere in a query of Spark, such as ``main.sales.orders``, made those of the lake."""

from __future__ import annotations

from lakehouse.errors import ConfigurationError
from lakehouse.flows.sql_text import Kind, dotted, tokens, with_tables_named
from lakehouse.settings import LAYERS, Settings

_SPARKS = ("global_temp", "")
"""Schemas whose names are left to Spark: of its views, and of names with one part."""


def in_lake(query: str, settings: Settings) -> str:
    """The query with ``layer.name`` for each table that has another name elsewhere.

    What cannot be parsed here stays: Spark says what is wrong with it.

    Args:
        query: Spark SQL.
        settings: They know the catalogs.

    Raises:
        ValueError: a name of two or three parts is no table of the lake, no path and no view.
    """
    names = {}
    for schema, name in _tables(query):
        try:
            names[f"{schema}.{name}"] = meant = settings.table_name(f"{schema}.{name}")
        except ConfigurationError as error:
            raise ValueError(f"{error.what}, where {error.where}: {error.next_command}") from None
        if meant.split(".")[0] not in LAYERS:
            raise ValueError(
                f"{schema}.{name} names no table of the lake, where LAKEHOUSE_CATALOGS={settings.catalogs}: "
                f"name it as bronze.{name}; or add CATALOG.{schema}=bronze to LAKEHOUSE_CATALOGS"
            )
    return with_tables_named(query, {written: meant for written, meant in names.items() if written != meant})


def _tables(query: str) -> list[tuple[str, str]]:
    """Schema, with its catalog if it has one, and name of each table whose name begins with no layer."""
    if not _may_have_others(query):
        return []
    from sqlglot import exp, parse  # a fifth of a second, which only queries with longer names wait for
    from sqlglot.errors import SqlglotError

    try:
        parsed = [statement for statement in parse(query, dialect="spark") if statement is not None]
    except SqlglotError:
        return []
    tables = [table for statement in parsed for table in statement.find_all(exp.Table)]
    named = [(".".join(part.name for part in node.parts[:-1]), node.name) for node in tables]
    return [pair for pair in dict.fromkeys(named) if pair[0].lower() not in (*_SPARKS, *LAYERS) and "/" not in pair[1]]


def _may_have_others(query: str) -> bool:
    words = [part for part in tokens(query) if part.kind not in (Kind.SPACE, Kind.COMMENT)]
    for place, before in enumerate(words):
        name = dotted(words[place + 1 : place + 6])
        longer = len(name) > 2 or (len(name) == 2 and before.text.upper() in ("FROM", "JOIN"))
        if longer and before.text != "." and name[0] not in LAYERS:
            return True
    return False

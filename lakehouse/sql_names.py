"""Names in a query as Databricks writes them, such as ``main.bronze.orders``, made the lake's own."""

from __future__ import annotations

from lakehouse.errors import ConfigurationError
from lakehouse.settings import Settings
from lakehouse.sql_calls import FilesOf, StatesOf, Token, dotted, files, states, tokens


def in_lake(query: str, settings: Settings, state_of: StatesOf, files_of: FilesOf) -> str:
    """The query with the lake's own names; what is within strings, comments or longer names stays.

    A name of three parts whose catalog nobody knows stays, too: it may be a field of a column. DuckDB says where it is
    none.

    Args:
        query: SQL.
        settings: They know the catalogs.
        state_of: Makes a relation of the states of files known, and says its name. It is asked with a table, or with
            the address of a checkpoint.
        files_of: The same of the rows of files; it is asked with a path and options.

    Raises:
        ConfigurationError: a function has other arguments than it takes, or names a table of no catalog of the lake.
    """
    parts = tokens(query)
    changes: list[tuple[int, int, str]] = []
    place = 0
    while place < len(parts):
        left = parts[place:]
        length, text = states(left, settings, state_of) or files(left, files_of) or _named(left, settings) or (0, "")
        if length and not (place and parts[place - 1].text == "."):
            changes.append((parts[place].begin, parts[place + length - 1].end, text))
        place += max(length, 1)
    for begin, end, text in reversed(changes):
        query = query[:begin] + text + query[end:]
    return query


def _named(parts: list[Token], settings: Settings) -> tuple[int, str] | None:
    names = dotted(parts[:6])
    if len(names) < 3 or parts[0].kind != "identifier":
        return None
    try:
        name = settings.table_name(".".join(token.name for token in names[:3]))
    except ConfigurationError:
        return None
    return 3, name.split(".")[0]

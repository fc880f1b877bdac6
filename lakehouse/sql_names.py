"""Names in a query as Databricks writes them, ``main.bronze.orders`` for one, made those of the lake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lakehouse.errors import ConfigurationError
from lakehouse.extras import needing
from lakehouse.settings import Settings

STATES = "cloud_files_state"


@dataclass(frozen=True)
class _Token:
    begin: int
    end: int
    kind: str
    text: str

    @property
    def name(self) -> str:
        """A name without its quotes."""
        for quote in ('"', "`"):
            if self.text.startswith(quote):
                return self.text[1:-1].replace(2 * quote, quote)
        return self.text


def in_lake(query: str, settings: Settings, state_of: Callable[[str], str]) -> str:
    """The query with the lake's own names; what is within strings, comments or longer names stays.

    A name of three parts whose catalog nobody knows stays, too: it may be a field of a column. DuckDB says where it is
    none.

    Args:
        query: SQL.
        settings: They know the catalogs.
        state_of: Makes a relation of the states of files known, and says its name. It is asked with a table, or with
            the address of a checkpoint.

    Raises:
        ConfigurationError: a table that ``cloud_files_state`` names is in no catalog of the lake.
    """
    parts = _tokens(query)
    changes: list[tuple[int, int, str]] = []
    place = 0
    while place < len(parts):
        length, text = _states(parts[place:], settings, state_of) or _named(parts[place:], settings) or (0, "")
        if length and not (place and parts[place - 1].text == "."):
            changes.append((parts[place].begin, parts[place + length - 1].end, text))
        place += max(length, 1)
    for begin, end, text in reversed(changes):
        query = query[:begin] + text + query[end:]
    return query


def _tokens(query: str) -> list[_Token]:
    with needing("sql", "lakehouse sql"):
        import duckdb

    data = query.encode()  # places are those of bytes
    found = duckdb.tokenize(query)
    ends = [*(begin for begin, _ in found[1:]), len(data)]
    parts = []
    for (begin, kind), end in zip(found, ends, strict=False):
        text = data[begin:end].decode(errors="replace").rstrip()
        at = len(data[:begin].decode(errors="replace"))
        if kind.name != "comment":
            parts.append(_Token(at, at + len(text), kind.name, text))
    return parts


def _dotted(parts: list[_Token]) -> list[_Token]:
    """The names with points between them that stand at the beginning."""
    names = []
    for place, one in enumerate(parts):
        if place % 2 == 0 and one.kind in ("identifier", "keyword"):
            names.append(one)
        elif not (place % 2 and one.text == "."):
            break
    return names


def _named(parts: list[_Token], settings: Settings) -> tuple[int, str] | None:
    names = _dotted(parts[:6])
    if len(names) < 3 or parts[0].kind != "identifier":
        return None
    try:
        name = settings.table_name(".".join(one.name for one in names[:3]))
    except ConfigurationError:
        return None
    return 3, name.split(".")[0]


def _states(parts: list[_Token], settings: Settings, state_of: Callable[[str], str]) -> tuple[int, str] | None:
    if parts[0].name.lower() != STATES or [one.text for one in parts[1:2]] != ["("]:
        return None
    said = [one.text.upper() for one in parts[2:4]]
    if said == ["TABLE", "("]:
        names = _dotted(parts[4:9])
        length = 2 * len(names) - 1
        if names and [one.text for one in parts[4 + length : 6 + length]] == [")", ")"]:
            return 6 + length, state_of(settings.table_name(".".join(one.name for one in names)))
    if len(parts) > 3 and parts[2].kind == "string_const" and parts[3].text == ")":
        return 4, state_of(parts[2].text[1:-1].replace("''", "'"))
    raise ConfigurationError(
        f"{STATES} takes a table or the address of a checkpoint",
        where="lakehouse sql",
        state="nothing was changed",
        next_command=f"{STATES}(TABLE(bronze.orders)), or {STATES}('s3a://bucket/checkpoint')",
    )

"""Table functions of Databricks in a query, such as ``read_files``: how they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lakehouse.errors import ConfigurationError
from lakehouse.extras import needing
from lakehouse.settings import Settings

STATES, FILES = "cloud_files_state", "read_files"
StatesOf = Callable[[str], str]
FilesOf = Callable[[str, Mapping[str, str]], str]


@dataclass(frozen=True)
class Token:
    """A part of a query that is no comment; places are those of characters."""

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


def tokens(query: str) -> list[Token]:
    """The parts of a query, as DuckDB tells them."""
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
            parts.append(Token(at, at + len(text), kind.name, text))
    return parts


def dotted(parts: list[Token]) -> list[Token]:
    """The names with points between them that stand at the beginning."""
    names = []
    for place, token in enumerate(parts):
        if place % 2 == 0 and token.kind in ("identifier", "keyword"):
            names.append(token)
        elif not (place % 2 and token.text == "."):
            break
    return names


def states(parts: list[Token], settings: Settings, state_of: StatesOf) -> tuple[int, str] | None:
    """How many parts a call of ``cloud_files_state`` at the beginning has, and the relation in its place.

    Raises:
        ConfigurationError: it has other arguments than it takes.
    """
    if parts[0].name.lower() != STATES or [token.text for token in parts[1:2]] != ["("]:
        return None
    opening = [token.text.upper() for token in parts[2:4]]
    if opening == ["TABLE", "("]:
        names = dotted(parts[4:9])
        length = 2 * len(names) - 1
        if names and [token.text for token in parts[4 + length : 6 + length]] == [")", ")"]:
            return 6 + length, state_of(settings.table_name(".".join(token.name for token in names)))
    if len(parts) > 3 and parts[2].kind == "string_const" and parts[3].text == ")":
        return 4, state_of(_text(parts[2]))
    raise _refused(
        f"{STATES} takes a table or the address of a checkpoint",
        f"{STATES}(TABLE(bronze.orders)), or {STATES}('s3a://bucket/checkpoint')",
    )


def files(parts: list[Token], files_of: FilesOf) -> tuple[int, str] | None:
    """The same of ``read_files('path', name => value, ...)``, whose values are texts, numbers, ``true`` or ``false``.

    Raises:
        ConfigurationError: it has other arguments than it takes.
    """
    if parts[0].name.lower() != FILES or [token.text for token in parts[1:2]] != ["("]:
        return None
    given: dict[str, str] = {}
    place = 1
    while place == 1 or [token.text for token in parts[place : place + 1]] == [","]:
        named = [token.text for token in parts[place + 2 : place + 3]] in (["=>"], [":="])
        name = parts[place + 1].name if named else "path" if place == 1 else ""
        place += 3 if named else 1
        sign = "-" if [token.text for token in parts[place : place + 1]] == ["-"] else ""
        place += len(sign)
        value = _value(parts[place]) if place < len(parts) else None
        if not name or value is None or name.lower() in map(str.lower, given):
            place = len(parts)
            break
        given[name] = sign + value
        place += 1
    path = given.pop("path", None)
    if path is None or [token.text for token in parts[place : place + 1]] != [")"]:
        raise _refused(
            f"{FILES} takes a path, and options by their names, each once and with a plain value",
            f"{FILES}('s3a://bucket/folder/', format => 'csv', header => true)",
        )
    return place + 1, files_of(path, given)


def _value(part: Token) -> str | None:
    if part.kind == "string_const" and part.text.startswith("'"):
        return _text(part)
    word = part.text.lower()
    return word if word in ("true", "false") or part.kind == "numeric_const" else None


def _text(part: Token) -> str:
    return part.text[1:-1].replace("''", "'")


def _refused(what: str, example: str) -> ConfigurationError:
    return ConfigurationError(what, where="lakehouse sql", state="nothing was changed", next_command=example)

"""The text of a query, as far as it has to be read: which part of it is a name, and which a string or a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from lakehouse.settings import LAYERS


class Kind(Enum):
    """Of a part of a query."""

    NAME = "name"
    STRING = "string"
    COMMENT = "comment"
    SPACE = "space"
    OTHER = "other"


@dataclass(frozen=True)
class Token:
    """A part of a query.

    Attributes:
        kind: What it is.
        text: As it stands there.
    """

    kind: Kind
    text: str

    @property
    def name(self) -> str:
        """A name as Spark understands it: without quotes, in small letters."""
        bare = self.text[1:-1].replace("``", "`") if self.text.startswith("`") else self.text
        return bare.lower()


_TOKEN = re.compile(
    r"""
    (?P<COMMENT>--[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<STRING>[rR]'[^']*'|[rR]"[^"]*"|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<NAME>`(?:[^`]|``)*`|[^\W\d]\w*)
    |(?P<SPACE>\s+)
    |(?P<OTHER>\d\w*|.)
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(query: str) -> Iterator[Token]:
    """All parts; joined again they are the query."""
    for found in _TOKEN.finditer(query):
        assert found.lastgroup is not None  # each branch has a name, and the last takes any character
        yield Token(Kind[found.lastgroup], found[0])


def with_tables_named(query: str, names: Mapping[str, str]) -> str:
    """The query with other names for its tables; what is within strings, comments or longer names stays.

    ``silver.orders`` is found however it is written (`` `Silver` . orders``), and in front of a column, too:
    ``silver.orders.id``.

    Args:
        query: SQL.
        names: A name of two or three parts, such as ``layer.name``, to its new name.
    """
    known = {tuple(old.lower().split(".")): new for old, new in names.items()}
    parts = list(tokens(query))
    places = [number for number, part in enumerate(parts) if part.kind not in (Kind.SPACE, Kind.COMMENT)]
    for place in range(len(places) - 2):
        if place and parts[places[place - 1]].text == ".":
            continue  # the end of a longer name
        name = dotted([parts[number] for number in places[place : place + 5]])
        found = next((name[:length] for length in (3, 2) if name[:length] in known), None)
        if found is None:
            continue
        parts[places[place]] = Token(Kind.NAME, known[found])
        for number in range(places[place] + 1, places[place + 2 * len(found) - 2] + 1):
            parts[number] = Token(Kind.SPACE, "")
    return "".join(part.text for part in parts)


def dotted(parts: Sequence[Token]) -> tuple[str, ...]:
    """The names with points between them that stand at the beginning."""
    length = 0
    while length < len(parts) and (parts[length].text == "." if length % 2 else parts[length].kind == Kind.NAME):
        length += 1
    return tuple(part.name for part in parts[:length:2])


def tables_read(query: str) -> set[str]:
    """Tables of the lake that stand behind FROM or JOIN, ``layer.name`` in small letters."""
    words = [part for part in tokens(query) if part.kind not in (Kind.SPACE, Kind.COMMENT)]
    found = set()
    for verb, layer, dot, name in zip(words, words[1:], words[2:], words[3:], strict=False):
        if verb.text.upper() in ("FROM", "JOIN") and layer.name in LAYERS and dot.text == ".":
            found.add(f"{layer.name}.{name.name}")
    return found


def defines(query: str, name: str) -> bool:
    """Whether a ``WITH`` of the query gives something that name: ``name AS (``, ``name (columns) AS (``."""
    words = [part for part in tokens(query) if part.kind not in (Kind.SPACE, Kind.COMMENT)]
    for place, part in enumerate(words):
        if part.kind != Kind.NAME or part.name != name.lower() or (place and words[place - 1].text == "."):
            continue
        after = words[place + 1 :]
        if after and after[0].text == "(":
            closed = next((number for number, word in enumerate(after) if word.text == ")"), len(after))
            after = after[closed + 1 :]
        if len(after) > 1 and after[0].text.upper() == "AS" and after[1].text == "(":
            return True
    return False

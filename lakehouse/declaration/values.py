"""From nodes to plain values: variables filled, aliases and merge keys followed, the line of each value kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lakehouse.declaration.nodes import MERGE, Listed, Mapped, Node, Scalar
from lakehouse.declaration.problems import Problems
from lakehouse.declaration.variables import Variables

_MOST_VALUES = 200_000
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

Place = tuple[str | int, ...]
"""Keys and positions from a table's body down to a value."""
Lines = dict[Place, int]

_NOTHING = object()


class Values:
    """Makes values of nodes, up to a limit: a few aliases of aliases can stand for billions.

    Args:
        problems: Gets what is wrong with variables.
        variables: What fills ``${NAME}``; None leaves texts as they are.
    """

    def __init__(self, problems: Problems, variables: Variables | None = None) -> None:
        self._problems, self._variables = problems, variables
        self._made = 0

    def of(self, node: Node, lines: Lines, at: Place = ()) -> Any:
        """The value of a node; ``lines`` gets its line and those of all that is in it.

        A key whose value has a variable and becomes empty is left out, as if nobody had written it.
        """
        made = self._of(node, lines, at)
        return None if made is _NOTHING else made

    def pairs(self, node: Mapped) -> Iterator[tuple[str, int, Node]]:
        """The keys of a mapping with their lines and values: its own, then those of its merge keys."""
        self._count(node.line)
        own = node.pairs
        yield from ((key, line, value) for key, (line, value) in own.items())
        seen = set(own)
        merged = [item for part in node.merged for item in (part.items if isinstance(part, Listed) else [part])]
        for item in merged:
            if not isinstance(item, Mapped):
                raise self._problems.stop(item.line, f"{MERGE} takes in a mapping, such as {MERGE}: *name")
            for key, line, value in self.pairs(item):
                if key not in seen:
                    seen.add(key)
                    yield key, line, value

    def _of(self, node: Node, lines: Lines, at: Place) -> Any:
        self._count(node.line)
        lines.setdefault(at, node.line)
        match node:
            case Scalar():
                lines[at] = node.line
                return self._scalar(node)
            case Listed():
                made = [self._of(item, lines, (*at, number)) for number, item in enumerate(node.items)]
                return [element for element in made if element is not _NOTHING]
        found = {}
        for key, line, value in self.pairs(node):
            lines[(*at, key)] = line
            if self._variables is not None and "${" in key:
                self._problems.add(line, f"{key} is a key: variables are for values")
            found[key] = self._of(value, lines, (*at, key))
        return {key: value for key, value in found.items() if value is not _NOTHING}

    def _scalar(self, node: Scalar) -> Any:
        if "${" in node.text and self._variables is not None:
            filled = self._variables.fill(node.text, node.line)
            return filled if filled else _NOTHING
        return _typed(node.text) if node.plain else node.text

    def _count(self, line: int) -> None:
        self._made += 1
        if self._made > _MOST_VALUES:
            raise self._problems.stop(
                line, f"the declaration has more than {_MOST_VALUES:,} values, counted where an alias repeats them"
            )


def _typed(text: str) -> Any:
    """What a text without quotes is: ``on``, ``off``, ``yes``, ``no``, dates and times stay texts."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text

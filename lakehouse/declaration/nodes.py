"""From the text of a YAML file to its nodes, each with its line. Nothing is constructed: a file can do no harm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from lakehouse.declaration.problems import Problems

_DEPTH = 40
MERGE = "<<"
_STANDARD = "tag:yaml.org,2002:"
_TAGS = ("!", "str", "int", "float", "bool", "null", "map", "seq")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Scalar:
    """A text; ``plain`` when it stands without quotes."""

    line: int
    text: str
    plain: bool


@dataclass(slots=True)
class Listed:
    """A sequence."""

    line: int
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapped:
    """A mapping; ``merged`` is what its merge key takes in, mappings or lists of them."""

    line: int
    pairs: dict[str, tuple[int, Node]] = field(default_factory=dict)
    merged: list[Node] = field(default_factory=list)


Node = Scalar | Listed | Mapped


def read_nodes(text: str, problems: Problems) -> Node | None:
    """The root of the file; None for a file without content.

    A key that is there twice and the like are noted as problems.

    Raises:
        DeclarationInvalid: it is no YAML.
    """
    try:
        return _Builder(problems).build(yaml.parse(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise problems.stop(*_line_and_sentence(error, text)) from None


class _Builder:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._anchors: dict[str, Node] = {}
        self._open: list[tuple[Node, Scalar | None]] = []
        self._roots: list[Node] = []

    def build(self, events: Iterator[Any]) -> Node | None:
        for event in events:
            line = event.start_mark.line + 1
            match event:
                case yaml.AliasEvent():
                    self._place(self._aliased(event.anchor, line), line)
                case yaml.ScalarEvent():
                    self._refuse_tag(event, line)
                    plain = event.style in (None, "") and event.tag != f"{_STANDARD}str"
                    self._begin(Scalar(line, event.value, plain), event.anchor, line)
                case yaml.SequenceStartEvent():
                    self._refuse_tag(event, line)
                    self._begin(Listed(line), event.anchor, line)
                case yaml.MappingStartEvent():
                    self._refuse_tag(event, line)
                    self._begin(Mapped(line), event.anchor, line)
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    self._open.pop()
        if len(self._roots) > 1:
            raise self._problems.stop(self._roots[1].line, "a second document begins: a declaration is a single one")
        return self._roots[0] if self._roots else None

    def _begin(self, node: Node, anchor: str | None, line: int) -> None:
        if anchor:
            self._anchors[anchor] = node
        self._place(node, line)
        if not isinstance(node, Scalar):
            if len(self._open) >= _DEPTH:
                raise self._problems.stop(line, f"more than {_DEPTH} levels within each other")
            self._open.append((node, None))

    def _place(self, node: Node, line: int) -> None:
        if not self._open:
            self._roots.append(node)
            return
        parent, key = self._open[-1]
        if isinstance(parent, Listed):
            parent.items.append(node)
        elif isinstance(parent, Mapped) and key is None:
            if not isinstance(node, Scalar):
                raise self._problems.stop(line, "a key has to be a text, and this one is a list or a mapping")
            self._open[-1] = (parent, Scalar(line, node.text, node.plain))
        elif isinstance(parent, Mapped) and key is not None:
            self._open[-1] = (parent, None)
            self._pair(parent, key, node)

    def _pair(self, parent: Mapped, key: Scalar, node: Node) -> None:
        if key.text == MERGE and key.plain:
            if parent.merged:
                self._problems.add(key.line, f"{MERGE} is there twice: write {MERGE}: [*one, *other]")
            parent.merged.append(node)
        elif key.text in parent.pairs:
            first = parent.pairs[key.text][0]
            self._problems.add(key.line, f"{key.text} is there twice: it is in line {first}, too")
        else:
            parent.pairs[key.text] = (key.line, node)

    def _aliased(self, anchor: str | None, line: int) -> Node:
        node = self._anchors.get(anchor or "")
        if node is None:
            raise self._problems.stop(line, f"*{anchor} is nowhere: no &{anchor} stands above it")
        if any(node is parent for parent, _ in self._open):
            raise self._problems.stop(line, f"*{anchor} contains itself")
        return node

    def _refuse_tag(self, event: Any, line: int) -> None:
        if event.tag and event.tag.removeprefix(_STANDARD) not in _TAGS:
            self._problems.add(line, f"{event.tag} is a tag, and a declaration has none")


def _line_and_sentence(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """Line and sentence for text that is no YAML."""
    lines = text.rstrip("\n").split("\n")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:  # a character that YAML has not
        at = getattr(error, "position", 0)
        code = getattr(error, "character", "")
        written = f"#x{code:x} " if isinstance(code, int) else ""
        head = text.encode()[:at] if _Loader is not yaml.SafeLoader else text[:at].encode()
        return head.count(b"\n") + 1, f"this is no YAML: the character {written}may not stand in it"
    last = min(mark.line + 1, len(lines))  # the mark of what is missing is behind the end
    context = getattr(error, "context_mark", None)
    first = min(context.line + 1 if context else last, last)
    for number in range(last, first - 1, -1):
        row = lines[number - 1]
        if "\t" in row[: len(row) - len(row.lstrip())]:
            return number, "a tab is in the indentation: YAML takes spaces alone"
    if mark.line >= len(lines) and first < last:
        last = first  # what is not closed runs to the end: it is mended where it begins
    reasons = [part for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part]
    began = f" (which begins in line {first})" if first < last else ""
    return last, f"this is no YAML: {', '.join(reasons)}{began}"

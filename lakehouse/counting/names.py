"""Names of columns as Spark reads them: a dot names a field of a struct, backticks quote, case does not matter."""

from __future__ import annotations

from collections.abc import Iterable


def parts_of(name: str) -> tuple[str, ...] | None:
    """The parts of a name; None for a text that is no name."""
    parts, part, at = [], "", 0
    while at < len(name):
        if name[at] == "`" and not part:
            at += 1
            while True:
                end = name.find("`", at)
                if end < 0:
                    return None
                part += name[at:end]
                at = end + 1
                if name[at : at + 1] != "`":
                    break
                part += "`"
                at += 1
            if at < len(name) and name[at] != ".":
                return None
        elif name[at] == "`":
            return None
        elif name[at] != ".":
            part += name[at]
            at += 1
            continue
        if at < len(name):  # at a dot
            if not part or at == len(name) - 1:
                return None
            parts.append(part)
            part = ""
            at += 1
    return (*parts, part) if part else None


def found_in(columns: Iterable[str], part: str) -> str | None:
    """The column that a part of a name stands for; None where there is none."""
    there = list(columns)
    return part if part in there else next((column for column in there if column.lower() == part.lower()), None)


def has_column(columns: Iterable[str], name: str) -> bool:
    """Whether a name stands for one of ``columns``, or leads into one of them."""
    parts = parts_of(name)
    return parts is not None and found_in(columns, parts[0]) is not None

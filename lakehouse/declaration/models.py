"""Fields of the models that a declaration is made of, and what pydantic finds wrong, in the words of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lakehouse.declaration.problems import Problems, meant, nearest
from lakehouse.declaration.values import Lines, Place

_ATTRIBUTE = re.compile(r" {8}(\w+): (.*)")


def key_names(model: type[BaseModel]) -> list[str]:
    """The keys of a model, as they are written in the file."""
    return [field.alias or name for name, field in model.model_fields.items()]


def note_problems(
    error: ValidationError, model: type[BaseModel], place: str, lines: Lines, at: Place, problems: Problems
) -> None:
    """Notes what is wrong with a value of ``model``, each problem with its line.

    Args:
        error: What pydantic says.
        model: What the value was to be.
        place: What the value is, for the sentence: ``latest of silver.orders``.
        lines: Of the table's body.
        at: Where in that body the value is.
        problems: Gets them.
    """
    for item in error.errors(include_url=False):
        loc = tuple(item["loc"])
        problems.add(line_of(lines, (*at, *loc)), _sentence(item, loc, model, place))


def line_of(lines: Lines, place: Place) -> int:
    """The line of a value, or of the nearest that it is in."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 0)


def _sentence(item: ErrorDetails, loc: Place, model: type[BaseModel], place: str) -> str:
    name = ".".join(str(part) for part in loc)
    given = item["input"]
    match item["type"]:
        case "extra_forbidden":
            parent = model_at(model, loc[:-1]) or model
            within = f"{'.'.join(map(str, loc[:-1]))} in " if loc[:-1] else ""
            return f"unknown key {loc[-1]} in {within}{place}{meant(str(loc[-1]), key_names(parent))}"
        case "missing":
            return f"{place} lacks {name}"
        case "literal_error":
            return f"{_subject(name, place)} is {given!r}{_choices(str(given), model, loc, item)}"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if item["type"] == "value_error":
        return f"{_subject(name, place)}: {message}"
    return f"{_subject(name, place)} is {_short(given)}: {message[:1].lower()}{message[1:]}"


def _choices(given: str, model: type[BaseModel], loc: Place, item: ErrorDetails) -> str:
    known = [str(value) for value in _literals(model, loc)]
    if not known:
        return f": {item['msg'].lower()}"
    near = nearest(given, known)
    asked = f" (did you mean {near}?)" if near else ""
    return f": write one of {', '.join(known)}{asked}"


def _subject(name: str, place: str) -> str:
    return f"{name} in {place}" if name else place


def _short(given: Any) -> str:
    if isinstance(given, Mapping):
        return "a mapping"
    if isinstance(given, list):
        return "a list"
    text = "empty" if given is None else repr(given)
    return text if len(text) <= 80 else f"{text[:77]}..."


def model_at(model: type[BaseModel], loc: Place) -> type[BaseModel] | None:
    """The model of the value at ``loc`` in a value of ``model``; None where it is none."""
    found: type[BaseModel] | None = model
    for part in loc:
        field = _field(found, part) if found is not None else None
        if field is None:
            return None
        found = next((cls for cls in _types(field) if isinstance(cls, type) and issubclass(cls, BaseModel)), None)
    return found


def _literals(model: type[BaseModel], loc: Place) -> list[Any]:
    parent = model_at(model, loc[:-1])
    field = _field(parent, loc[-1]) if parent is not None and loc else None
    return [value for type_ in _types(field) if _is_literal(type_) for value in get_args(type_)] if field else []


def _is_literal(type_: Any) -> bool:
    return getattr(type_, "__origin__", None) is Literal


def _field(model: type[BaseModel], part: str | int) -> Any:
    for name, field in model.model_fields.items():
        if part in (name, field.alias):
            return field.annotation
    return None


def _types(annotation: Any) -> Iterator[Any]:
    """An annotation and all that it is made of."""
    yield annotation
    if not _is_literal(annotation):
        for part in get_args(annotation):
            yield from _types(part)


def key_docs(model: type[BaseModel]) -> dict[str, str]:
    """What each key of a model means, from the ``Attributes`` in the docstrings of the model and of its bases."""
    docs: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        lines = (cls.__doc__ or "").splitlines() if issubclass(cls, BaseModel) and cls is not BaseModel else []
        key = ""
        started = False
        for line in lines:
            found = _ATTRIBUTE.match(line)
            started = started or line.strip() == "Attributes:"
            if started and found:
                key = found[1]
                docs[key] = found[2]
            elif key and line.strip():
                docs[key] += " " + line.strip()
    names = {name: field.alias or name for name, field in model.model_fields.items()}
    return {names[key]: text.replace("``", "") for key, text in docs.items() if key in names}

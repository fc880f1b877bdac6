"""Texts of declarations for tests, and what is told to be wrong with them."""

from __future__ import annotations

import pytest

from lakehouse.declaration import DeclarationInvalid

FILES = "{files: {path: s3a://landing/orders/}}"
WINDOWS = "windows:\n  of: bronze.src\n  event_time: t\n"


def problems_of(read, text: str | bytes, **variables: str) -> list[tuple[int, str]]:
    with pytest.raises(DeclarationInvalid) as caught:
        read(text, **variables)
    assert caught.value.state and caught.value.next_command
    first = caught.value.problems[0]
    assert caught.value.where.endswith(f"lakehouse.yaml:{first.line}" if first.line else "lakehouse.yaml")
    return [(problem.line, problem.what) for problem in caught.value.problems]


def only_problem(read, text: str | bytes, **variables: str) -> tuple[int, str]:
    [problem] = problems_of(read, text, **variables)
    return problem


def table(body: str, name: str = "silver.a", more: str = "") -> str:
    """A table over ``bronze.src``; its body begins in line 4."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"tables:\n  bronze.src: {FILES}\n  {name}:\n{lines}\n{more}"

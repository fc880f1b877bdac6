"""Small kinds of checks, and a file of their own for each test to read."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from lakehouse.declaration import read_catalogue
from lakehouse.settings import Settings
from lakehouse.table import CHECKS, At, Catalogue, Check, Finding, Names


class OneRowEach(Check):
    kind: ClassVar[str] = "one_row_each"
    main: ClassVar[str] = "columns"
    columns: Names
    max_share: float = 0.0

    def examine(self, at: At) -> Finding | None:
        return None


class OfFiles(Check):
    kind: ClassVar[str] = "of_files_alone"
    flows: ClassVar[tuple[str, ...]] = ("files", "windows")

    def examine(self, at: At) -> Finding | None:
        return None


class Plausible(Check):
    kind: ClassVar[str] = "plausible_rows"
    max_share: float = 0.0

    def examine(self, at: At) -> Finding | None:
        return None


_KINDS = {check.kind: CHECKS.pop(check.kind) for check in (OneRowEach, OfFiles, Plausible)}


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in _KINDS.items():
        monkeypatch.setitem(CHECKS, name, kind)


@pytest.fixture
def read(tmp_path: Path):
    """Reads a text as the declaration; variables are given as keywords."""

    def do(text: str | bytes, **variables: str) -> Catalogue:
        path = tmp_path / "lakehouse.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_catalogue(Settings.load(declaration=path, variables=variables))

    return do

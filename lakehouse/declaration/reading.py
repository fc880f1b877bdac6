"""From the text of ``lakehouse.yaml`` to a ``Catalogue``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import lakehouse.checks
import lakehouse.flows  # noqa: F401 (makes the kinds known)
from lakehouse.declaration.nodes import read_nodes
from lakehouse.declaration.options import check_options
from lakehouse.declaration.problems import Problems, shown
from lakehouse.declaration.relations import check_cycles, check_sources, in_order
from lakehouse.declaration.tables import Drafts, add_tables
from lakehouse.declaration.values import Values
from lakehouse.declaration.variables import Variables, value_of
from lakehouse.settings import Settings
from lakehouse.table import Catalogue

_MOST_BYTES = 5 << 20


class _Read(NamedTuple):
    content: bytes
    names: tuple[str, str]
    asked: dict[str, str | None]
    catalogue: Catalogue


_last: dict[Path, list[_Read]] = {}
_KEPT = 4


def read_catalogue(settings: Settings) -> Catalogue:
    """The tables that ``settings.declaration`` declares, those that are read before their readers.

    The same catalogue comes back as long as the file and the values of its variables are the same.

    Raises:
        DeclarationInvalid: the file is missing, or something in it is wrong: all problems, each with its line.
    """
    path = settings.declaration
    content = _content(path)
    kept = _last.setdefault(path, [])
    for read in tuple(kept):
        same = read.content == content and read.names == (settings.lake_uri, settings.catalogs)
        if same and all(value_of(name, settings) == value for name, value in read.asked.items()):
            return read.catalogue
    made = _read(content, settings)
    kept.insert(0, made)
    del kept[_KEPT:]
    return made.catalogue


def catalogue_or_none(settings: Settings) -> Catalogue:
    """The declared tables; none where there is no declaration: the lake can be looked at without it.

    Raises:
        DeclarationInvalid: something in the declaration is wrong.
    """
    return read_catalogue(settings) if settings.declaration.exists() else Catalogue()


def catalogue_of(content: bytes, settings: Settings) -> Catalogue:
    """The tables that ``settings.declaration`` would declare with another content.

    Raises:
        DeclarationInvalid: see ``read_catalogue``.
    """
    return _read(content, settings).catalogue


def _read(content: bytes, settings: Settings) -> _Read:
    problems = Problems(shown(settings.declaration))
    variables = Variables(settings, problems)
    values = Values(problems, variables)
    drafts = Drafts(values, problems, settings)
    add_tables(read_nodes(_text(content, problems), problems), drafts, values, problems)
    check_sources(drafts, problems)
    check_cycles(drafts, problems)
    check_options(drafts, settings, problems)
    problems.raise_if_any()
    names = frozenset(variables.asked)
    catalogue = Catalogue(tuple(in_order(drafts.tables)), problems.where, names, drafts.alerts)
    return _Read(content, (settings.lake_uri, settings.catalogs), variables.asked, catalogue)


def _content(path: Path) -> bytes:
    problems = Problems(shown(path))
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        reason = "there is no declaration: no file says which tables there are"
        raise problems.stop(0, reason, "lakehouse init   (writes a first one), or set LAKEHOUSE_DECLARATION") from None
    except OSError as error:
        reason = f"the declaration cannot be read: {error.strerror or error}"
        raise problems.stop(0, reason, "name a file that can be read in LAKEHOUSE_DECLARATION") from None
    if len(content) > _MOST_BYTES:
        raise problems.stop(0, f"the declaration is larger than {_MOST_BYTES >> 20} MB", "is it another file?")
    return content


def _text(content: bytes, problems: Problems) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise problems.stop(line, "the file is not UTF-8", "save it as UTF-8") from None

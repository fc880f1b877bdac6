"""From the text of ``lakehouse.yaml`` to a ``Catalogue``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import yaml

import lakehouse.checks
import lakehouse.flows  # noqa: F401 (makes the kinds known)
from lakehouse.settings import Settings
from lakehouse.table import CHECKS, FLOWS, Catalogue, Check, Table

_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


def read_catalogue(settings: Settings) -> Catalogue:
    """The tables that ``settings.declaration`` declares."""
    given = yaml.safe_load(settings.declaration.read_text())
    tables = [_table(name, body, settings) for name, body in (given.get("tables") or {}).items()]
    return Catalogue(tuple(_in_order(tables)), str(settings.declaration))


def _table(name: str, body: dict[str, Any], settings: Settings) -> Table:
    body = _filled(body, settings)
    [kind] = FLOWS.keys() & body.keys()
    flow = FLOWS[kind].model_validate(body.pop(kind) or {})
    checks = {one.called: one for one in map(_check, body.pop("checks", None) or [])}
    kinds = {one.kind for one in checks.values()}
    every = [*checks.values(), *(one for one in flow.default_checks() if one.kind not in kinds)]
    return Table(name, flow, tuple(every), **body)


def _check(given: Any) -> Check:
    if isinstance(given, str):
        given = {given: {}}
    [kind] = CHECKS.keys() & given.keys()
    own = {name: value for name, value in given.items() if name != kind}
    what = given[kind] if given[kind] is not None else {}
    if not isinstance(what, dict):
        what = {CHECKS[kind].main: what}
    return CHECKS[kind].model_validate({**what, **own})


def _filled(given: Any, settings: Settings) -> Any:
    if isinstance(given, dict):
        return {name: _filled(value, settings) for name, value in given.items()}
    if isinstance(given, list):
        return [_filled(value, settings) for value in given]
    if not isinstance(given, str):
        return given
    filled = _VARIABLE.sub(lambda found: _value(found[1], found[2] or "", settings), given)
    return None if given and not filled else filled


def _value(name: str, default: str, settings: Settings) -> str:
    own = getattr(settings, name.removeprefix("LAKEHOUSE_").lower(), None) if name.startswith("LAKEHOUSE_") else None
    if name in settings.variables:
        return settings.variables[name]
    return str(own) if isinstance(own, str | int | float) else os.environ.get(name, default)


def _in_order(tables: Iterable[Table]) -> list[Table]:
    left, done = list(tables), []
    while left:
        names = {one.name for one in left}
        ready = next(one for one in left if not names & set(one.flow.reads))
        done.append(ready)
        left.remove(ready)
    return done

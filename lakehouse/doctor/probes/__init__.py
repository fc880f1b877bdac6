"""The probes, a module each, found by themselves: each has ``SIGNS``, ``ABOUT``, ``OF``, ``ORDER`` and ``examine``.

``examine`` takes a ``Patient`` where ``OF`` is ``"table"``, a ``Ward`` where it is ``"lake"``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from lakehouse.doctor.finding import Seen, Sign


@dataclass(frozen=True)
class Probe:
    """One way to look.

    Attributes:
        name: Its module.
        about: What it looks at, a few words.
        of: ``table`` or ``lake``.
        signs: All that it can find.
        examine: Looks.
    """

    name: str
    about: str
    of: str
    signs: tuple[Sign, ...]
    examine: Callable[[Any], Iterable[Seen]]


def _found() -> tuple[Probe, ...]:
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    modules.sort(key=lambda module: module.ORDER)
    return tuple(
        Probe(probe.__name__.rpartition(".")[2], probe.ABOUT, probe.OF, probe.SIGNS, probe.examine) for probe in modules
    )


PROBES = _found()
"""All probes, those of lost rows first."""

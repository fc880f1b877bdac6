"""Lengths of time as people and Spark write them: ``10 minutes``, ``5s``, ``1 hour 30 minutes``."""

from __future__ import annotations

import re
from datetime import timedelta

_SECONDS = {"milliseconds": 0.001, "seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}
_SHORT = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PART = re.compile(r"(\d+)\s*([a-z]+)\s*")


def parse_duration(text: str) -> timedelta:
    """The length of time that ``text`` names.

    Raises:
        ValueError: it names none.
    """
    parts = _PART.findall(text.strip().lower())
    units = [_SHORT.get(unit, unit if unit.endswith("s") else unit + "s") for _, unit in parts]
    if not parts or _PART.sub("", text.strip().lower()) or not set(units) <= _SECONDS.keys():
        raise ValueError(f"{text!r} is no length of time such as '10 minutes', '30s' or '1 hour'")
    return timedelta(seconds=sum(int(count) * _SECONDS[unit] for (count, _), unit in zip(parts, units, strict=True)))


def spark_interval(length: timedelta) -> str:
    """The length as Spark reads it, in the largest unit that gives a whole number."""
    milliseconds = length // timedelta(milliseconds=1)
    for name, seconds in reversed(_SECONDS.items()):
        count, rest = divmod(milliseconds, int(seconds * 1000))
        if not rest and (count or name == "milliseconds"):
            return f"{count} {name.removesuffix('s') if count == 1 else name}"
    raise AssertionError("milliseconds always divide")

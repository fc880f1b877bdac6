"""Timestamps and dates in the text of CSV and JSON, as Spark reads them: without a pattern, or by a common one."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

from lakehouse.errors import ConfigurationError

_DATE = r"([+-]?\d{4,7})(?:-(\d{1,2})(?:-(\d{1,2})"
_TIMESTAMP = re.compile(
    _DATE + r"(?:[ T](\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:\.(\d*))?(\D.*)?)?)?)?)?)?", re.ASCII | re.DOTALL
)
_DAY = re.compile(_DATE + r"(?:[ T].*)?)?)?", re.ASCII | re.DOTALL)
_OFFSET = re.compile(r"(?:UTC|GMT|UT)?([+-])(\d|\d\d(?:(:?)\d\d(?:\3\d\d)?)?)", re.ASCII)
_SHORT_HOUR = re.compile(r"([+-])(\d):", re.ASCII)
_SHORT_MINUTE = re.compile(r"([+-])(\d\d):(\d)$", re.ASCII)
BLANKS = "".join(map(chr, range(33)))
"""The characters that Java's ``trim`` removes."""
_BLANK = BLANKS + "\x7f"
_EPOCH, _FIRST_DAY = datetime(1970, 1, 1), date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_PATTERN = re.compile(r"('(?:[^']|'')*')|([A-Za-z])\2*|([^A-Za-z'{}#])")
_FIELDS = {
    "yyyy": r"(?P<year>\d{4})",
    "XXX": r"(?P<zone>Z|[+-]\d{2}:\d{2})",
    "XX": r"(?P<zone>Z|[+-]\d{4})",
    "X": r"(?P<zone>Z|[+-]\d{2}(?:\d{2})?)",
    **dict.fromkeys(("Z", "ZZ", "ZZZ"), r"(?P<zone>[+-]\d{4})"),
    **dict.fromkeys(
        ("VV", "z", "zz", "zzz"),
        r"(?P<place>[A-Z][A-Z_]*(?:/[A-Z0-9_+-]+)+|Z|(?:UTC|GMT|UT)(?:[+-]\d\d:\d\d)?|[+-]\d\d:\d\d)",
    ),
}
for _name, _letter in {"month": "M", "day": "d", "hour": "H", "minute": "m", "second": "s"}.items():
    _FIELDS |= {_letter: rf"(?P<{_name}>\d{{1,2}})", 2 * _letter: rf"(?P<{_name}>\d{{2}})"}
_FIELDS |= {"S" * digits: rf"(?P<fraction>\d{{1,{digits}}})" for digits in range(1, 10)}

_LONG = "January|February|March|April|May|June|July|August|September|October|November|December"
_MONTHS = [name[:3] for name in _LONG.split("|")]
_FIELDS |= {
    "yy": r"(?P<short_year>\d{2})",
    "y": r"(?P<year>\d{1,6})",
    "MMM": f"(?P<month_name>{'|'.join(_MONTHS)})",
    "MMMM": f"(?P<month_name>{_LONG})",
    "h": r"(?P<clock_hour>\d{1,2})",
    "hh": r"(?P<clock_hour>\d{2})",
    "a": r"(?P<half>AM|PM)",
    "xxx": r"(?P<zone>[+-]\d{2}:\d{2})",
    "xx": r"(?P<zone>[+-]\d{4})",
    "x": r"(?P<zone>[+-]\d{2}(?:\d{2})?)",
}
_FIELDS |= {"L" * width: _FIELDS["M" * width] for width in range(1, 5)}

_PARTS = {"year": "1970", "month": "1", "day": "1", "hour": "0", "minute": "0", "second": "0"}

_SHORT_NAMES = {"CET": None, "EET": None, "MET": None, "WET": None, "EST": -5, "MST": -7, "HST": -10}

Parse = Callable[[str], int | None]


@lru_cache(1024)
def zone(name: str) -> ZoneInfo | timezone:
    """A time zone by the name that Spark has for it; raises ``ValueError`` or ``KeyError`` where it has none."""
    name = _SHORT_MINUTE.sub(r"\g<1>\2:0\3", _SHORT_HOUR.sub(r"\g<1>0\2:", name))
    if found := _OFFSET.fullmatch(name):
        digits = found[2].replace(":", "")
        digits = digits.zfill(2).ljust(6, "0")
        hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:])
        offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        if max(minutes, seconds) > 59 or offset > timedelta(hours=18):
            raise ValueError(name)
        return timezone(-offset if found[1] == "-" else offset)
    if name in ("Z", "UTC", "GMT", "UT"):
        return UTC
    if "/" not in name and name not in _SHORT_NAMES:
        raise ValueError(name)
    hours_east = _SHORT_NAMES.get(name)
    return ZoneInfo(name) if hours_east is None else timezone(timedelta(hours=hours_east))


def _own_zone(name: str) -> ZoneInfo | timezone:
    try:
        return zone(name)
    except (ValueError, KeyError, OSError):
        pass
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise ConfigurationError(
            f"the time zone {name!r} is not known",
            where="the option timeZone",
            next_command="name one such as UTC, Europe/Berlin or +02:00",
        ) from None


def _microseconds(moment: datetime, of: ZoneInfo | timezone | None) -> int:
    if of is not None and of is not UTC:
        moment = moment.replace(tzinfo=of)
        offset = moment.utcoffset() or timedelta(0)
        # A local time that daylight saving skips: Java moves it forward by the gap, as the offset before it does.
        moment = moment.replace(tzinfo=None) - offset
    return (moment - _EPOCH) // _MICROSECOND


def timestamp_parser(pattern: str | None, default_zone: str, *, ntz: bool = False) -> Parse:
    """Text to microseconds since 1970 in UTC, or ``None`` where Spark reads no timestamp from it.

    Raises:
        ConfigurationError: the pattern or the zone is not known.
    """
    local = None if ntz else _own_zone(default_zone)
    if pattern is not None:
        compiled = _compile(pattern)
        return lambda text: _by_pattern(compiled, text, local, ntz)

    def parse(text: str) -> int | None:
        found = _TIMESTAMP.fullmatch(text.strip(_BLANK))
        if not found:
            return None
        year, month, day, hour, minute, second, fraction, named = found.groups()
        if ntz and named:
            return None
        try:
            moment = datetime(
                *(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0)),
                int(((fraction or "") + "000000")[:6]),
            )
            return _microseconds(moment, zone(named.strip(BLANKS)) if named else local)
        except (ValueError, KeyError, OverflowError, OSError):
            return None

    return parse


def date_parser(pattern: str | None) -> Parse:
    """Text to days since 1970, or ``None`` where Spark reads no date from it.

    Raises:
        ConfigurationError: the pattern is not known.
    """
    if pattern is not None:
        compiled = _compile(pattern)

        def by_pattern(text: str) -> int | None:
            microseconds = _by_pattern(compiled, text, None, True)
            return None if microseconds is None else microseconds // 86_400_000_000

        return by_pattern

    def parse(text: str) -> int | None:
        found = _DAY.fullmatch(text.strip(_BLANK))
        if not found:
            return None
        try:
            return date(int(found[1]), int(found[2] or 1), int(found[3] or 1)).toordinal() - _FIRST_DAY
        except (ValueError, OverflowError):
            return None

    return parse


@lru_cache
def _compile(pattern: str) -> re.Pattern[str]:
    position, parts = 0, []
    while position < len(pattern):
        found = _PATTERN.match(pattern, position)
        if found is None or (found[2] and found[0] not in _FIELDS):
            raise ConfigurationError(
                f"The pattern {pattern!r} for timestamps or dates is not supported",
                next_command="read the column as a string and convert it with to_timestamp() or to_date()",
            )
        if quoted := found[1]:
            parts.append(re.escape(quoted[1:-1].replace("''", "'") or "'"))
        else:
            parts.append(_FIELDS.get(found[0]) or {"[": "(?:", "]": ")?"}.get(found[0]) or re.escape(found[0]))
        position = found.end()
    try:
        return re.compile("".join(parts), re.ASCII | re.IGNORECASE)
    except re.error:
        raise ConfigurationError(
            f"The pattern {pattern!r} names a part twice, or has a bracket that does not fit",
            next_command="read the column as a string and convert it with to_timestamp() or to_date()",
        ) from None


def _by_name(groups: dict[str, str]) -> dict[str, str]:
    """Parts that are not written as plain numbers: short years, names of months, halves of a day."""
    found = {}
    if short := groups.get("short_year"):
        found["year"] = f"20{short}"
    if name := groups.get("month_name"):
        found["month"] = str(_MONTHS.index(name[:3].title()) + 1)
    if clock := groups.get("clock_hour"):
        if not 1 <= int(clock) <= 12:
            raise ValueError(clock)
        found["hour"] = str(int(clock) % 12 + 12 * (groups.get("half", "AM").upper() == "PM"))
    return found


def _by_pattern(compiled: re.Pattern[str], text: str, local: ZoneInfo | timezone | None, ntz: bool) -> int | None:
    found = compiled.fullmatch(text)
    if not found:
        return None
    groups = {name: value for name, value in found.groupdict().items() if value is not None}
    try:
        part = _PARTS | groups | _by_name(groups)
        year, month, day, hour, minute, second = (int(part[name]) for name in _PARTS)
        moment = datetime(year, month, day, hour, minute, second, int((part.get("fraction", "") + "000000")[:6]))
        named = part.get("zone", "").upper() or part.get("place", "")
        return _microseconds(moment, zone(named if "/" in named else named.upper()) if named and not ntz else local)
    except (ValueError, OverflowError, KeyError, OSError):
        return None

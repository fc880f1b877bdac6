"""Timestamps and dates in strings, as Spark reads them without a format and with the common patterns."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from lakehouse.errors import ConfigurationError

_DATE = r"([+-]?\d{4,7})(?:-(\d{1,2})(?:-(\d{1,2})"
_TIMESTAMP = re.compile(
    _DATE + r"(?:[ T](\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:\.(\d*))?\s*"
    r"(Z|UTC|GMT|UT|(?:UTC|GMT|UT)?[+-]\d{1,2}(?::?\d{2}(?::?\d{2})?)?|[A-Z]{3}|[A-Za-z]+(?:/[A-Za-z0-9_+-]+)+)?"
    r")?)?)?)?)?",
    re.ASCII,
)
_DAY = re.compile(_DATE + r"(?:[ T].*)?)?)?", re.ASCII | re.DOTALL)
_BLANK = "".join(map(chr, range(33))) + "\x7f"
_EPOCH, _FIRST_DAY = datetime(1970, 1, 1), date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_PATTERN = re.compile(r"'([^']*)'|(y+|M+|d+|H+|m+|s+|S+|X+|Z+)|([^A-Za-z'\[\]{}#])")
_FIELDS = {
    "yyyy": r"(?P<year>\d{4})",
    "MM": r"(?P<month>\d{2})",
    "M": r"(?P<month>\d{1,2})",
    "dd": r"(?P<day>\d{2})",
    "d": r"(?P<day>\d{1,2})",
    "HH": r"(?P<hour>\d{2})",
    "H": r"(?P<hour>\d{1,2})",
    "mm": r"(?P<minute>\d{2})",
    "m": r"(?P<minute>\d{1,2})",
    "ss": r"(?P<second>\d{2})",
    "s": r"(?P<second>\d{1,2})",
    "XXX": r"(?P<zone>Z|[+-]\d{2}:\d{2})",
    "XX": r"(?P<zone>Z|[+-]\d{4})",
    "X": r"(?P<zone>Z|[+-]\d{2}(?:\d{2})?)",
    "Z": r"(?P<zone>[+-]\d{4})",
}

_PARTS = {"year": "1970", "month": "1", "day": "1", "hour": "0", "minute": "0", "second": "0"}

_SHORT_NAMES = {"CET": None, "EET": None, "MET": None, "WET": None, "EST": -5, "MST": -7, "HST": -10}

Parse = Callable[[str], int | None]


def zone(name: str) -> ZoneInfo | timezone:
    """A time zone by the name that Spark has for it."""
    if found := re.fullmatch(r"(?:UTC|GMT|UT)?([+-])(\d{1,2})(?::?(\d{2})(?::?(\d{2}))?)?", name):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0), seconds=int(found[4] or 0))
        if offset > timedelta(hours=18):
            raise ValueError(name)
        return timezone(-offset if found[1] == "-" else offset)
    if name in ("Z", "UTC", "GMT", "UT"):
        return UTC
    if "/" not in name and name not in _SHORT_NAMES:
        raise ValueError(name)
    hours = _SHORT_NAMES.get(name)
    return ZoneInfo(name) if hours is None else timezone(timedelta(hours=hours))


def _microseconds(moment: datetime, of: ZoneInfo | timezone | None) -> int:
    if of is not None and of is not UTC:
        moment = moment.replace(tzinfo=of)
        offset = moment.utcoffset() or timedelta(0)
        # A local time that daylight saving skips: Java moves it forward by the gap, as the offset before it does.
        moment = moment.replace(tzinfo=None) - offset
    return (moment - _EPOCH) // _MICROSECOND


def timestamp_parser(pattern: str | None, default_zone: str, *, ntz: bool = False) -> Parse:
    """Text to microseconds since 1970 in UTC, or ``None`` where Spark reads no timestamp from it."""
    local = None if ntz else zone(default_zone)
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
            return _microseconds(moment, zone(named) if named else local)
        except (ValueError, KeyError, OverflowError, OSError):
            return None

    return parse


def date_parser(pattern: str | None) -> Parse:
    """Text to days since 1970, or ``None`` where Spark reads no date from it."""
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


def _compile(pattern: str) -> re.Pattern[str]:
    position, parts = 0, []
    while position < len(pattern):
        found = _PATTERN.match(pattern, position)
        letters = found[2] if found else None
        if found is None or (letters and letters[0] != "S" and letters not in _FIELDS):
            raise ConfigurationError(
                f"The pattern {pattern!r} for timestamps or dates is not supported",
                next_command="read the column as a string and convert it with to_timestamp() or to_date()",
            )
        if letters:
            parts.append(_FIELDS.get(letters) or rf"(?P<fraction>\d{{{len(letters)}}})")
        else:
            parts.append(re.escape(found[1] if found[1] is not None else found[3]) if found[0] != "''" else "'")
        position = found.end()
    try:
        return re.compile("".join(parts), re.ASCII)
    except re.error:
        raise ConfigurationError(f"The pattern {pattern!r} names a part twice") from None


def _by_pattern(compiled: re.Pattern[str], text: str, local: ZoneInfo | timezone | None, ntz: bool) -> int | None:
    found = compiled.fullmatch(text)
    if not found:
        return None
    part = _PARTS | found.groupdict()
    try:
        year, month, day, hour, minute, second = (int(part[name]) for name in _PARTS)
        moment = datetime(year, month, day, hour, minute, second, int((part.get("fraction", "") + "000000")[:6]))
        return _microseconds(moment, zone(part["zone"]) if "zone" in part and not ntz else local)
    except (ValueError, OverflowError):
        return None

"""Values of options: text in, what it means out, ``ValueError`` with what to write where it means nothing.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

DAY_SECONDS = 86_400.0

_SECONDS = {
    **dict.fromkeys(("week",), 7 * DAY_SECONDS),
    **dict.fromkeys(("day", "d"), DAY_SECONDS),
    **dict.fromkeys(("hour", "h"), 3600.0),
    **dict.fromkeys(("minute", "min", "m"), 60.0),
    **dict.fromkeys(("second", "sec", "s"), 1.0),
    **dict.fromkeys(("millisecond", "ms"), 1e-3),
    **dict.fromkeys(("microsecond", "us"), 1e-6),
}
_MONTHS = {"month": 31 * DAY_SECONDS, "year": 366 * DAY_SECONDS}
"""The longest that there are, as Spark counts a month where it needs a length."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def flag(text: str) -> bool:
    """``true`` or ``false``, in any case."""
    if text.strip().lower() not in ("true", "false"):
        raise ValueError("write true or false")
    return text.strip().lower() == "true"


def web_address(text: str) -> str:
    """An address, of https where it does not say; without a name or a password."""
    found = text.strip() if "://" in text else f"https://{text.strip()}"
    if not re.fullmatch(r"https?://[^\s/@?#]+/?", found):
        raise ValueError("write an address such as https://sts.eu-central-1.amazonaws.com")
    return found.rstrip("/")


def overwrites(text: str) -> bool | Literal["replace"]:
    """A flag, or ``replace``."""
    if text.strip().lower() == "replace":
        return "replace"
    if text.strip().lower() not in ("true", "false"):
        raise ValueError("write true, false or replace")
    return flag(text)


def count(text: str) -> int:
    """A whole number above 0."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,9}", text.strip()) or int(text) >= 1 << 31:
        raise ValueError("write a whole number from 1 to 2147483647")
    return int(text)


def seconds(text: str) -> float:
    """An interval: ``7 days``, ``interval 1 week 2 days``, ``12h``."""
    words = re.sub(r"(?<=[0-9])(?=[a-z])", " ", text.lower()).split()
    words = words[1:] if words[:1] == ["interval"] else words
    total = 0.0
    for number, unit in zip(words[::2], words[1::2], strict=False):
        length = (
            _MONTHS.get(unit.removesuffix("s"))
            or _SECONDS.get(unit)
            or _SECONDS.get(unit.removesuffix("s") if len(unit) > 3 else "")
        )
        if length is None or not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", number):
            break
        total += float(number) * length
    else:
        if words and len(words) % 2 == 0 and total <= 36_500 * DAY_SECONDS:
            return total
    raise ValueError("write an interval of at most 100 years such as '7 days', '12 hours' or '1 week 2 days'")


def positive_seconds(text: str) -> float:
    """An interval that is not 0."""
    if not (found := seconds(text)):
        raise ValueError("it must be longer than 0 seconds")
    return found


def moment(text: str) -> datetime:
    """A time, in UTC where it does not say otherwise: as ISO 8601 has it, or as Spark casts it."""
    try:
        try:
            found = datetime.fromisoformat(text.strip())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except ValueError:
            from lakehouse.autoloader.formats.times import timestamp_parser  # needs the time zones

            microseconds = timestamp_parser(None, "UTC")(text)
            if microseconds is not None:
                return _EPOCH + timedelta(microseconds=microseconds)
            raise
    except (ValueError, OverflowError):
        raise ValueError(
            "write a time such as 2020-06-01T13:00:00 (UTC), 2020-06-01T13:00:00+02:00 or 2020-06-01 13:00:00 UTC+2"
        ) from None


def columns(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    names = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
    if "" in names or len({name.lower() for name in names}) < len(names):
        raise ValueError("write different names with commas between them, or nothing to have no partition columns")
    return names


def one_of(*spellings: str) -> Callable[[str], str]:
    """One of these words, in any case."""

    def read(text: str) -> str:
        for spelling in spellings:
            if spelling.lower() == text.strip().lower():
                return spelling
        raise ValueError("write one of " + ", ".join(spellings))

    return read


def some_text(given: str) -> str:
    """Any text that is not empty."""
    if not given.strip():
        raise ValueError("it is empty, so give it a value or leave it out")
    return given


def text_or_none(given: str) -> str | None:
    """Any text; None where it is empty."""
    return given if given.strip() else None

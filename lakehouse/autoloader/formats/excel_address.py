"""``dataAddress``: which cells of a workbook are read, as Excel writes it.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_ROWS, MOST_COLUMNS = 1_048_576, 16_384
"""The limits of a sheet."""

_RANGE = re.compile(r"\$?([A-Z]{1,3})?\$?([0-9]{1,7})?:\$?([A-Z]{1,3})?\$?([0-9]{1,7})?", re.IGNORECASE)
_QUOTED = re.compile(r"'((?:[^']|'')+)'(?:!(.+))?", re.DOTALL)


@dataclass(frozen=True)
class Address:
    """Cells of a sheet; rows and columns count from 0, and None is no limit.

    Attributes:
        sheet: Its name; None for the first sheet.
        top: First row.
        left: First column.
        bottom: Last row.
        right: Last column.
    """

    sheet: str | None = None
    top: int | None = None
    left: int | None = None
    bottom: int | None = None
    right: int | None = None


def parse_address(text: str) -> Address:
    """Parses an address: empty, a sheet, a range such as ``A2:D5``, ``A:D`` or ``2:5``, or ``Sheet1!A2:D5``.

    Raises:
        ValueError: it is no address; the text says what to write.
    """
    text = text.strip()
    if not text:
        return Address()
    if quoted := _QUOTED.fullmatch(text):
        return _ranged(quoted[1].replace("''", "'"), quoted[2])
    if _RANGE.fullmatch(text):
        return _ranged(None, text)
    sheet, mark, cells = text.rpartition("!")
    return _ranged(sheet, cells) if mark else Address(text)


def _ranged(sheet: str | None, cells: str | None) -> Address:
    if cells is None:
        return Address(sheet)
    found = _RANGE.fullmatch(cells.strip())
    wrong = ValueError("write a range as in Sheet1!A2:D5, or 'My Sheet'!A2:D5, A2:D5 or Sheet1")
    if found is None or sheet == "":
        raise wrong
    left, top, right, bottom = found.groups()
    if (left is None) != (right is None) or (top is None) != (bottom is None) or left is None is top:
        raise wrong
    columns = [column_number(text) for text in (left, right) if text]
    rows = [int(text) - 1 for text in (top, bottom) if text]
    for ends, most in ((columns, MOST_COLUMNS), (rows, MOST_ROWS)):
        if ends and not 0 <= ends[0] <= ends[1] < most:
            raise ValueError(f"a range goes from its first cell to its last, within {MOST_ROWS:,} rows and XFD")
    (first, last), (begin, end) = (rows or (None, None)), (columns or (None, None))
    return Address(sheet, first, begin, last, end)


def column_number(letters: str) -> int:
    """A column's number from 0."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number - 1

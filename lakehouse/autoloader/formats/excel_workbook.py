"""Workbooks of Excel, opened with ``python-calamine``: the cells of one sheet, and the names of all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import copyfileobj
from tempfile import NamedTemporaryFile
from typing import IO, Any

from lakehouse.autoloader.formats.excel_address import Address, parse_address
from lakehouse.autoloader.formats.excel_scan import Package
from lakehouse.autoloader.formats.rows import BadFile
from lakehouse.extras import needing
from lakehouse.plain_text import size_bytes

MOST_BYTES = "512m"
"""The memory that a workbook may take, unless ``maxWorkbookBytes`` says otherwise."""

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = b"PK\x03\x04"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_OF_TEXTS = re.compile(rb"\s*(<\?xml|<html|<!doctype|<table)", re.IGNORECASE)

Cell = Any
"""What a cell holds: bool, float, str, date, datetime, time or timedelta; "" for nothing."""


_NONE: Mapping[int, str] = {}


@dataclass(frozen=True, slots=True)
class Row:
    """Cells of one row of the range that is read.

    Attributes:
        number: The row's number in the range, from 0.
        cells: A cell for each column of the range.
        errors: Errors in place of values, by column.
    """

    number: int
    cells: list[Cell]
    errors: Mapping[int, str]

    @property
    def blank(self) -> bool:
        """Whether all cells are empty."""
        return not self.errors and self.cells.count("") == len(self.cells)


class Workbook:
    """A workbook of the kinds ``.xlsx``, ``.xlsm`` and ``.xls``.

    Args:
        file: The whole workbook.
        reader: Options of the reader, their names in lower case.

    Raises:
        BadFile: it is no workbook, is encrypted, cut off, damaged, or takes more memory than it may.
    """

    def __init__(self, file: IO[bytes], reader: Mapping[str, str]) -> None:
        with needing("excel", "cloudFiles.format=excel"):
            from python_calamine import SheetTypeEnum
        begin = file.read(len(_OLE))
        file.seek(0)
        limit = size_bytes(reader.get("maxworkbookbytes", MOST_BYTES))
        self._package: Package | None = None
        if begin.startswith(_ZIP):
            self._package = Package(file, limit)
        elif _OF_TEXTS.match(begin):
            raise BadFile("NOT_EXCEL", "it is text under the name of a workbook: read it as xml, csv or text")
        elif not begin.startswith(_OLE):
            raise BadFile("NOT_EXCEL", f"it begins with {begin!r}" if begin else "it is empty")
        file.seek(0)
        with _explained():
            self._book = _opened(file, ".xlsx" if self._package else ".xls")
            known = self._book.sheets_metadata
        self.sheets = {number: sheet.name for number, sheet in enumerate(known) if sheet.typ == SheetTypeEnum.WorkSheet}
        """Names of the sheets with cells, by their places in the workbook."""
        self._address = parse_address(reader.get("dataaddress", ""))

    def has_sheet(self) -> bool:
        """Whether the sheet that is asked for is there."""
        return self._number() is not None

    def rows(self) -> Iterator[Row]:
        """All rows of the range, blank ones too; without a range from the first cell to the last.

        Raises:
            BadFile: the sheet is not there, or see ``Workbook``.
        """
        number = self._number()
        if number is None:
            names = ", ".join(map(repr, self.sheets.values())) or "none"
            raise BadFile("NO_SUCH_SHEET", f"there is no sheet {self._address.sheet!r}; there are: {names}"[:400])
        errors = self._package.scan(number).errors if self._package else {}
        with _explained():
            sheet = self._book.get_sheet_by_index(number)
            start, end = sheet.start, sheet.end
            rows = _safely(sheet)
        if start is None or end is None:
            start = end = min(errors, default=None)
            rows = iter(())
            if start is None or end is None:
                return
        yield from _within(rows, start, end, errors, self._address)

    def _number(self) -> int | None:
        wanted = self._address.sheet
        if wanted is None:
            return next(iter(self.sheets), None)
        exact = [number for number, name in self.sheets.items() if name == wanted]
        like = [number for number, name in self.sheets.items() if name.lower() == wanted.lower()]
        return next(iter(exact or like), None)


def _within(
    rows: Iterator[list[Cell]],
    start: tuple[int, int],
    end: tuple[int, int],
    errors: Mapping[tuple[int, int], str],
    address: Address,
) -> Iterator[Row]:
    """The rows of a range. The parser's rows begin with the sheet's first row, and with the first column in use."""
    places = [*errors, start, end]
    top = address.top if address.top is not None else min(row for row, _ in places)
    left = address.left if address.left is not None else min(column for _, column in places)
    right = address.right if address.right is not None else max(column for _, column in places)
    last = max(row for row, _ in places)
    last = last if address.bottom is None else min(address.bottom, last)
    before = max(start[1] - left, 0) * [""]
    first = max(left - start[1], 0)
    of_row: dict[int, dict[int, str]] = {}
    for (row, column), text in errors.items():
        if left <= column <= right:
            of_row.setdefault(row, {})[column - left] = text
    width = right - left + 1
    for number in range(last + 1):
        cells = next(rows, [])
        if number >= top:
            if before or first or len(cells) != width:
                cells = [*before, *cells[first:]][:width]
                cells += [""] * (width - len(cells))
            yield Row(number - top, cells, of_row.get(number, _NONE))


def _opened(file: IO[bytes], ending: str) -> Any:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    try:
        return CalamineWorkbook.from_filelike(file)
    except CalamineError:  # a guessed kind gives no reason; the ending of a name gives one
        file.seek(0)
        if ending == ".xls" and _ENCRYPTED in file.read():  # an .xlsx file with a password looks like this
            raise PasswordError from None
        file.seek(0)
        with NamedTemporaryFile(suffix=ending) as named:
            copyfileobj(file, named)
            named.flush()
            return CalamineWorkbook.from_path(named.name)


def _safely(sheet: Any) -> Iterator[list[Cell]]:
    with _explained():
        yield from sheet.iter_rows()


@contextmanager
def _explained() -> Iterator[None]:
    """Makes what the parser raises the reason why a file is left out."""
    from python_calamine import CalamineError, PasswordError

    try:
        yield
    except PasswordError as error:
        raise BadFile("ENCRYPTED", "a password opens it: save it without one") from error
    except (CalamineError, OSError, ValueError, OverflowError) as error:
        raise BadFile("DAMAGED_EXCEL", str(error) or type(error).__name__) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust, in which the parser is written; no Exception
            raise
        raise BadFile("DAMAGED_EXCEL", f"its parser ended: {error}"[:300]) from None

"""A packed workbook is looked at before it is parsed: a small file can stand for any number of cells.

The parser fills the whole rectangle between a sheet's first and last cell, copies each text that cells share, and
gives nothing for a cell with an error. So a sheet is scanned here first, for its size and for its errors.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import IO
from zipfile import BadZipFile, LargeZipFile, ZipFile, ZipInfo

import numpy as np

from lakehouse.autoloader.formats.excel_address import MOST_COLUMNS, MOST_ROWS, column_number
from lakehouse.autoloader.formats.rows import BadFile

CELL_BYTES = 32
"""The memory that a cell takes, with or without a value."""

_CHUNK_BYTES = 4 << 20
_CELL = re.compile(rb"<(?:\w+:)?c(?=[\s/>])[^>]*>")
_BEGINS = tuple(begin + end for begin in (b"<c", b":c") for end in (b" ", b">", b"/", b"\t", b"\r", b"\n"))
"""All beginnings of a cell. Other elements may begin in the same way."""
_USUAL = re.compile(rb'<c r="([A-Z]{1,4})([0-9]{1,8})"')
_UNUSUAL = re.compile(rb"""<(?:\w+:)?c\s[^>]*?\br\s*=\s*["']([A-Z]+)([0-9]+)["']""")
_ROW = re.compile(rb"""<(?:\w+:)?row(?=[\s/>])(?:[^>]*?\br\s*=\s*["']([0-9]+)["'])?""")
_SHARED = re.compile(rb"""<(?:\w+:)?c\s[^>]*?\bt\s*=\s*["']s["'][^>]*>\s*<(?:\w+:)?v>\s*([0-9]+)""")
_ERROR = re.compile(
    rb"""<(?:\w+:)?c\s(?=[^>]*?\bt\s*=\s*["']e["'])[^>]*?\br\s*=\s*["']([A-Z]+)([0-9]+)["'][^>]*>(.*?)</(?:\w+:)?c>""",
    re.DOTALL,
)
_VALUE = re.compile(rb"<(?:\w+:)?v>([^<]*)<")
_TEXT = re.compile(rb"<(?:\w+:)?si(?=[\s/>])")
_SHEET = re.compile(rb"""<(?:\w+:)?sheet\s(?:[^>"']|"[^"]*"|'[^']*')*?\b\w+:id\s*=\s*["']([^"']*)["']""")
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_RELATION = re.compile(rb"<(?:\w+:)?Relationship\s[^>]*>")
_OF_RELATION = re.compile(rb"""\b(Id|Target)\s*=\s*["']([^"']*)["']""")
_ALWAYS = re.compile(r"\[content_types\]\.xml|_rels/.*|xl/(_rels/.*|(workbook|styles|sharedstrings|metadata)\.xml)")
"""The parts that are read whichever sheet is asked for, in lower case."""


@dataclass(frozen=True)
class Scanned:
    """What a sheet holds.

    Attributes:
        size_bytes: What its parser needs at most.
        errors: The cells with an error, by row and column from 0.
    """

    size_bytes: int
    errors: dict[tuple[int, int], str] = field(default_factory=dict)


class Package:
    """An ``.xlsx`` or ``.xlsm`` file.

    Raises:
        BadFile: it is no such file, is cut off or damaged, or larger unpacked than ``limit`` bytes.
    """

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._limit = limit
        try:
            self._zip = ZipFile(file)
        except NotImplementedError as error:
            raise BadFile("DAMAGED_EXCEL", str(error)) from error
        except (BadZipFile, LargeZipFile, OSError, ValueError) as error:
            raise BadFile("TRUNCATED", f"the list of its parts, at its end, is missing: {error}") from error
        self._parts = {part.filename.lower(): part for part in self._zip.infolist()}
        if len(self._parts) < len(self._zip.infolist()):
            raise BadFile("DAMAGED_EXCEL", "two of its parts have one name")
        if "xl/workbook.xml" not in self._parts:
            raise BadFile("NOT_EXCEL", "it is a zip file without a workbook of the kinds xlsx and xlsm")
        always = [part for name, part in self._parts.items() if _ALWAYS.fullmatch(name)]
        self._size = sum(part.file_size for part in always)
        if self._size > limit:
            raise too_large(self._size, limit)
        for part in always:  # the checksum tells when a part is longer than it says
            for _ in self._chunks(part):
                pass

    def scan(self, number: int) -> Scanned:
        """Goes through the sheet of this number, in the order of the workbook.

        Raises:
            BadFile: it is damaged, or its parser would need more bytes than the limit.
        """
        part = self._sheet(number)
        if self._size + part.file_size > self._limit:
            raise too_large(self._size + part.file_size, self._limit)
        rows = columns = 0
        shared: list[np.ndarray] = []
        errors: dict[tuple[int, int], str] = {}
        for data in self._cells(part):
            tall, wide = _extent(data, rows)
            rows, columns = max(rows, tall), max(columns, wide)
            if rows > MOST_ROWS or columns > MOST_COLUMNS:
                raise BadFile("DAMAGED_EXCEL", f"a cell is beyond {MOST_ROWS:,} rows or {MOST_COLUMNS:,} columns")
            if (b'"s"' in data or b"'s'" in data) and (found := _SHARED.findall(data)):
                shared.append(np.array(found).astype(np.int64))
            if b'"e"' in data or b"'e'" in data:
                for letters, row, inner in _ERROR.findall(data):
                    value = _VALUE.search(inner)
                    text = value[1].decode("utf-8", "replace") if value else "#ERROR"
                    errors[int(row) - 1, column_number(letters.decode())] = text
        size = self._size + part.file_size + CELL_BYTES * rows * columns + self._shared_bytes(shared)
        if size > self._limit:
            raise too_large(size, self._limit, f"{rows:,} rows by {columns:,} columns, and their texts")
        return Scanned(size, errors)

    def _shared_bytes(self, used: list[np.ndarray]) -> int:
        part = self._parts.get("xl/sharedstrings.xml")
        if part is None or not used:
            return 0
        data = b"".join(self._chunks(part))
        begins = np.fromiter((match.start() for match in _TEXT.finditer(data)), np.int64)
        lengths = np.diff(begins, append=len(data))
        known = np.concatenate(used)
        if len(known) and int(known.max()) >= len(lengths):
            raise BadFile("DAMAGED_EXCEL", "a cell names a text that the workbook does not have")
        return int(lengths[known].sum())

    def _sheet(self, number: int) -> ZipInfo:
        ids = _SHEET.findall(_COMMENT.sub(b"", b"".join(self._chunks(self._parts["xl/workbook.xml"]))))
        relations = self._parts.get("xl/_rels/workbook.xml.rels")
        targets: dict[bytes, str] = {}
        for relation in _RELATION.findall(b"".join(self._chunks(relations)) if relations else b""):
            attributes = dict(_OF_RELATION.findall(relation))
            targets[attributes.get(b"Id", b"")] = attributes.get(b"Target", b"").decode("utf-8", "replace")
        target = targets.get(ids[number], "") if number < len(ids) else ""
        name = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
        if (part := self._parts.get(name.lower())) is None:
            raise BadFile("DAMAGED_EXCEL", f"sheet {number + 1} is in no part of the file")
        return part

    def _cells(self, part: ZipInfo) -> Iterator[bytes]:
        """Pieces of a sheet, cut before a row, or before a cell of a very long row."""
        rest, first = b"", True
        for chunk in self._chunks(part):
            if first and (chunk[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in chunk[:4]):
                raise BadFile("DAMAGED_EXCEL", "a sheet is not UTF-8")
            first, data = False, rest + chunk
            cut = max(data.rfind(b"<row"), data.rfind(b":row"), data.rfind(b"<c "), data.rfind(b":c "))
            cut = cut if data[cut : cut + 1] == b"<" else data.rfind(b"<", 0, max(cut, 0))
            if cut <= 0:
                rest = data
                continue
            yield data[:cut]
            rest = data[cut:]
        if rest:
            yield rest

    def _chunks(self, part: ZipInfo) -> Iterator[bytes]:
        try:
            with self._zip.open(part) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except (BadZipFile, EOFError, OSError, zlib.error, NotImplementedError, RuntimeError, ValueError) as error:
            encrypted = isinstance(error, RuntimeError) and "encrypted" in str(error)
            raise BadFile("ENCRYPTED" if encrypted else "DAMAGED_EXCEL", f"{part.filename}: {error}") from error


def _extent(data: bytes, before: int) -> tuple[int, int]:
    """How far a piece of a sheet reaches at least: its last row and column. ``before`` rows came before the piece."""
    places = _USUAL.findall(data)
    cells = sum(map(data.count, _BEGINS))
    if len(places) < cells:
        cells, places = len(_CELL.findall(data)), _UNUSUAL.findall(data)
    begins = [match.start() for match in _ROW.finditer(data)]
    numbers = [int(number) for number in _ROW.findall(data) if number]
    rows = max(numbers, default=0) + before * (len(numbers) < len(begins)) + len(begins) - len(numbers)
    letters, of_cells = map(set, zip(*places, strict=True)) if places else (set(), set())
    rows = max(rows, max(map(int, of_cells), default=0))
    columns = max((column_number(text.decode()) + 1 for text in letters), default=0)
    if len(places) < cells:  # a cell without a place follows the cell before it
        most = max((len(_CELL.findall(data, at, end)) for at, end in pairwise([0, *begins, len(data)])), default=0)
        columns += most
    return rows, columns


def too_large(size: int, limit: int, what: str = "") -> BadFile:
    """The reason for a workbook that needs more memory than it may."""
    return BadFile(
        "WORKBOOK_TOO_LARGE",
        f"it takes {size:,} bytes in memory{f' ({what})' if what else ''}, and maxWorkbookBytes is {limit:,}",
    )

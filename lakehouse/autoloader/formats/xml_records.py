"""The records of an XML file, one after another: expat reads a piece of the file at a time and no tree of it is built.

No file can make the reader open another file. A DOCTYPE is passed over, as by Spark, and nothing that it names is
fetched. A file with declarations of its own, entities above all, is refused.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Any
from xml.parsers import expat

from lakehouse.autoloader.formats.encoding import refuse_binary
from lakehouse.autoloader.formats.format import encoding_called
from lakehouse.autoloader.formats.rows import BadFile

MAX_DEPTH = 250
"""Elements within elements: Woodstox, which reads for Spark, has 1,000."""

_PIECE_BYTES = 64 << 10
_TEXT_BYTES = 64 << 10  # expat hands out a text that is longer in parts
_ELEMENT_BYTES = 250
_HEAD_BYTES = 1024
_BLANK = b" \t\r\n"
_DECLARED = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([^"'>]+)["']""")
_DOCTYPE = b"<!DOCTYPE"
_TAG = re.compile(rb"""<(?:"[^"]*"|'[^']*'|[^>"'])*""")
_ENTITY = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos);)([^#;][^;]*);")
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_BARE = {b"<\0\0\0": "utf-32-le", b"\0\0\0<": "utf-32-be", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
_WIDE = ("utf-16", "utf-32")
_AFTER_ROOT = expat.errors.codes[expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT]
_NOTHING = expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]
_INVALID = expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN]


class Element:
    """An element: its name as it is written, its attributes in turn with their values, its texts and elements."""

    __slots__ = ("attributes", "name", "parts")

    def __init__(self, name: str, attributes: list[str]) -> None:
        self.name, self.attributes = name, attributes
        self.parts: list[str | Element] = []


Spaces = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        element: What it holds.
        text: Returns it as it stands in the file; only until the next piece of the file is read.
        size_bytes: How long that is, in UTF-8.
        namespaces: The attributes ``xmlns`` of the elements around it, the outer ones first.
    """

    element: Element
    text: Callable[[], str]
    size_bytes: int
    namespaces: Spaces = ()


def records(file: IO[bytes], row_tag: str, *, any_namespace: bool, encoding: str, most_bytes: int) -> Iterator[Record]:
    """The elements of a name, but not those that are within an element of that name.

    Several documents may follow each other, for example a document on each line.

    Args:
        file: At its beginning.
        row_tag: The name of the elements.
        any_namespace: Whether a prefix of a name counts for nothing.
        encoding: As Python calls it; "" for what the file itself says.
        most_bytes: How much memory a record may take.

    Raises:
        BadFile: it is no XML, or ends too early, or is refused.
    """
    reader = _Reader(row_tag, any_namespace, most_bytes)
    for piece in _in_utf8(file, encoding):
        yield from reader.feed(piece)
    yield from reader.end()


class _Reader:
    """What expat has read so far. Bytes are counted in UTF-8."""

    def __init__(self, row_tag: str, any_namespace: bool, most_bytes: int) -> None:
        self._row_tag, self._any_namespace, self._most_bytes = row_tag, any_namespace, most_bytes
        self._open: list[Element] = []
        self._around: list[Spaces] = []
        self._found: list[tuple[Element, int, int, Spaces]] = []
        self._begin = self._elements = 0
        self._window, self._at = bytearray(), 0
        self._base = self._fed = 0
        self._in_head, self._names_dtd = True, False
        self._parser = self._new_parser()

    def _new_parser(self) -> Any:
        parser = expat.ParserCreate("utf-8")  # whatever the declaration says: the pieces are in UTF-8
        parser.buffer_text, parser.buffer_size = True, _TEXT_BYTES
        parser.ordered_attributes = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._finish
        parser.CharacterDataHandler = self._data
        parser.StartDoctypeDeclHandler = self._doctype
        parser.SkippedEntityHandler = _refuse_entity
        return parser

    def feed(self, piece: bytes) -> Iterator[Record]:
        """The records that end in a piece."""
        passed = (self._begin if self._open else self._base + self._fed) - self._at
        del self._window[:passed]
        self._at += passed
        self._window += piece
        view = memoryview(piece)
        # expat gets the bracket that opens declarations first: they are refused before it works on one
        declared = piece.find(_DOCTYPE) if self._in_head else -1
        cut = piece.find(b"[", declared) + 1 if declared >= 0 else 0
        for part in (view[:cut], view[cut:]):
            self._parse(part)
        size = len(self._window) + _ELEMENT_BYTES * self._elements
        if self._open and size > self._most_bytes:
            raise BadFile(
                "RECORD_TOO_LARGE",
                f"an element {self._row_tag} takes more than {size:,} bytes, and cloudFiles.maxRecordBytes is "
                f"{self._most_bytes:,}",
            )
        yield from self._taken()

    def _parse(self, part: memoryview) -> None:
        while part:
            try:
                self._parser.Parse(part, False)
                self._fed += len(part)
                return
            except expat.ExpatError as error:
                done = self._parser.ErrorByteIndex - self._fed
                if error.code != _AFTER_ROOT or done < 0 or part[done : done + 1] != b"<":
                    raise self._damaged(error) from error
            self._base += self._fed + done  # another document begins
            self._fed, part, self._parser = 0, part[done:], self._new_parser()

    def end(self) -> Iterator[Record]:
        """The last records; makes sure that the file is whole."""
        try:
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            if self._open:
                raise BadFile("TRUNCATED", f"the file ends within an element {self._open[-1].name}") from error
            if self._around:
                raise BadFile("TRUNCATED", "the file ends before its outermost element does") from error
            if error.code == _NOTHING and not self._window.strip(_BLANK):
                return
            raise self._damaged(error) from error
        yield from self._taken()

    def _damaged(self, error: expat.ExpatError) -> BadFile:
        bad = self._window[max(self._base + self._parser.ErrorByteIndex - self._at, 0) :][:4]
        if error.code == _INVALID and bad and bad[0] > 127 and not _begins_in_utf8(bad):
            return BadFile("NOT_UTF8", f"line {error.lineno} is not in UTF-8; the option encoding names another")
        return BadFile("NOT_XML", f"{expat.ErrorString(error.code)}: line {error.lineno}, column {error.offset}")

    def _taken(self) -> Iterator[Record]:
        found, self._found = self._found, []
        for element, begin, end, namespaces in found:
            yield Record(element, partial(self._text, element, begin, end), end - begin, namespaces)

    def _text(self, element: Element, begin: int, end: int) -> str:
        begin, end = begin - self._at, end - self._at
        if element.parts or self._window[end - 2 : end] != b"/>":  # of <a/> expat gives the end itself
            end = self._window.index(b">", end) + 1
        return self._window[begin:end].decode()

    def _doctype(self, name: str, system_id: str | None, public_id: str | None, declares: int) -> None:
        if declares:
            raise BadFile("HAS_DTD", f"the DOCTYPE {name} declares something, such as entities; that is never read")
        self._names_dtd = True

    def _start(self, name: str, attributes: list[str]) -> None:
        if self._names_dtd and attributes:  # of an entity in an attribute expat says nothing, and leaves it out
            tag = _TAG.match(self._parser.GetInputContext() or b"")
            if tag and (found := _ENTITY.search(tag[0])):
                _refuse_entity(found[1].decode(errors="replace"), False)
        if len(self._open) + len(self._around) >= MAX_DEPTH:
            raise BadFile("NOT_XML", f"elements are nested more than {MAX_DEPTH} deep")
        if self._open:
            element = Element(name, attributes)
            self._open[-1].parts.append(element)
            self._open.append(element)
            self._elements += 1
            return
        self._in_head = False
        if name == self._row_tag or (self._any_namespace and name.rpartition(":")[2] == self._row_tag):
            self._begin, self._elements = self._base + self._parser.CurrentByteIndex, 1
            self._open.append(Element(name, attributes))
        else:
            outer = self._around[-1] if self._around else ()
            pairs = zip(attributes[::2], attributes[1::2], strict=True)
            self._around.append((*outer, *((key, uri) for key, uri in pairs if key.startswith("xmlns"))))

    def _finish(self, name: str) -> None:
        if not self._open:
            self._around.pop()
            return
        element = self._open.pop()
        if not self._open:
            end = self._base + self._parser.CurrentByteIndex
            self._found.append((element, self._begin, end, self._around[-1] if self._around else ()))

    def _data(self, data: str) -> None:
        if self._open:
            parts = self._open[-1].parts
            if parts and type(parts[-1]) is str:
                parts[-1] += data
            else:
                parts.append(data)


def _refuse_entity(name: str, is_parameter: bool) -> None:
    raise BadFile("HAS_DTD", f"the entity {name} is declared elsewhere, and nothing is fetched that a file names")


def _begins_in_utf8(data: bytes | bytearray) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _in_utf8(file: IO[bytes], encoding: str) -> Iterator[bytes]:
    """Pieces of the file in UTF-8, without a byte order mark."""
    head = file.read(_PIECE_BYTES)
    refuse_binary(head)
    mark = next((candidate for candidate in _MARKS if head.startswith(candidate)), b"")
    name = encoding or _MARKS.get(mark) or _detected_encoding(head)
    if name in ("utf-8", "ascii"):
        yield head.removeprefix(codecs.BOM_UTF8)
        yield from iter(partial(file.read, _PIECE_BYTES), b"")
        return
    if name in _WIDE and not mark:
        name += "-be"  # as Java reads them
    decoder, first = codecs.getincrementaldecoder(name)(), True
    try:
        while head:
            text = decoder.decode(head)
            yield (text.removeprefix("\ufeff") if first else text).encode()
            first, head = False, file.read(_PIECE_BYTES)
        decoder.decode(b"", True)
    except UnicodeError as error:
        raise BadFile("NOT_UTF8", f"the file is not in {name}: {error}"[:200]) from error


def _detected_encoding(head: bytes) -> str:
    """The encoding that a file without a byte order mark is in, by its first bytes and its own declaration."""
    if bare := next((name for start, name in _BARE.items() if head.startswith(start)), None):
        return bare
    declared = _DECLARED.match(head.lstrip(_BLANK)[:_HEAD_BYTES])
    name = declared[1].decode("ascii", "replace") if declared else "utf-8"
    try:
        found = encoding_called(name)
        b"".decode(found)
    except (LookupError, ValueError):
        raise BadFile("NOT_UTF8", f"it says that it is in {name!r}, which nobody knows: the option encoding") from None
    return "utf-8" if found.startswith(_WIDE) else found  # a declaration in ASCII is not in UTF-16

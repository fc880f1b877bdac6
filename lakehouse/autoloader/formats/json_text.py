"""JSON text as Jackson reads it for Spark: numbers keep their spelling, fields their order, lenient syntax is optional.

``LineScanner.scan`` tries the C scanner of the standard library, which accepts a part of what Jackson accepts, and
reads again with ``Reader`` what that refuses. Neither recurses deeper than the limit of Jackson.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from lakehouse.autoloader.formats.format import is_true
from lakehouse.autoloader.formats.rows import QUARANTINE
from lakehouse.errors import ConfigurationError

BLANK = " \t\r\n"
"""The white space of JSON."""
MAX_DEPTH = 1000
MAX_DIGITS = 1000
NON_FINITE = {
    "NaN": float("nan"),
    **dict.fromkeys(("+INF", "+Infinity", "Infinity"), float("inf")),
    **dict.fromkeys(("-INF", "-Infinity"), float("-inf")),
}
_ENDS = ("\n", "\r\n", "\r")
_BLANKS = re.compile(r"[ \t\n\r]*")
_BLANKS_AND_COMMENTS = re.compile(r"(?:[ \t\n\r]|/\*[\s\S]*?\*/|//[^\n\r]*)*")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([\s\S]))")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LONE = re.compile("[\ud800-\udfff]")
_NON_FINITE = re.compile(r"(?:NaN|[+-]?Infinity|[+-]INF)(?![A-Za-z0-9_$])")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:(\.[0-9]+)?([eE][+-]?[0-9]+)?)(?![0-9A-Za-z_.$+-])")
_NUMBER_WITH_ZEROS = re.compile(r"-?[0-9]+(?:(\.[0-9]+)?([eE][+-]?[0-9]+)?)(?![0-9A-Za-z_.$+-])")
_LONG_NUMBER = re.compile(rf"[0-9][0-9.eE+-]{{{MAX_DIGITS}}}")
_WORD = re.compile(r"(?:true|false|null)(?![A-Za-z0-9_$])")
_WORDS = {"true": True, "false": False, "null": None}
_NAME = re.compile(r'[ \t\n\r]*("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\n\r]*:[ \t\n\r]*')
_BARE_NAME = re.compile(r"[A-Za-z_$#@*+-][\w$#@*+-]*")


def check_options(reader: Mapping[str, str]) -> None:
    """Raises ``ConfigurationError`` for a reader option that would be ignored."""
    if reader.get("linesep", "\n") not in _ENDS:
        raise ConfigurationError("The JSON reader cuts files into lines at \\n, \\r\\n and \\r, whatever lineSep says")
    encoding = reader.get("encoding", reader.get("charset", "UTF-8"))
    if encoding.replace("_", "-").upper() not in ("UTF-8", "UTF8", "US-ASCII"):
        raise ConfigurationError(f"The JSON reader reads UTF-8, not {encoding}")
    mode = reader.get("mode", "PERMISSIVE").upper()
    if mode not in ("PERMISSIVE", "DROPMALFORMED", "FAILFAST", QUARANTINE):
        raise ConfigurationError(f"The mode {mode} is none of PERMISSIVE, DROPMALFORMED, FAILFAST")


class Malformed(ValueError):
    """Text that is no JSON document."""


class Integer(str):
    """The text of a number without fraction and exponent."""

    __slots__ = ()


class Float(str):
    """The text of a number with a fraction or an exponent, or of a number that is not finite."""

    __slots__ = ()


class _Spelled:
    """``place``: the text of the input, where the value begins and where it ends; None where it was not kept."""

    place: tuple[str, int, int] | None = None

    @property
    def text(self) -> str | None:
        """The spelling. It is cut out on demand: a thousand nested values would be a thousand copies."""
        return None if self.place is None else self.place[0][self.place[1] : self.place[2]]


class Items(_Spelled, list[Any]):
    """An array."""


class Members(_Spelled, list[tuple[str, Any]]):
    """An object's fields in their order, with duplicates."""


class SpellingNeeded(Exception):
    """An object or array was read without its spelling, and the spelling is needed."""


class Spelling(Enum):
    """Which objects and arrays are read with their spelling."""

    NONE = "none"
    FIELDS = "those that are a field of the document"
    ALL = "all"


def integer(text: str) -> Integer:
    """A number's text; Jackson refuses more than a thousand digits."""
    if len(text) > MAX_DIGITS and sum(map(str.isdigit, text)) > MAX_DIGITS:
        raise Malformed("a number is too long")
    return Integer(text)


def decimal(text: str) -> Float:
    """As ``integer``, for a fraction or an exponent."""
    if len(text) > MAX_DIGITS and sum(map(str.isdigit, text)) > MAX_DIGITS:
        raise Malformed("a number is too long")
    return Float(text)


def _refuse(_: str) -> None:
    raise Malformed("left to the full reader")


def dump(value: Any) -> str:
    """A value as JSON text, numbers in their spelling; what is nested too deeply for Python as a string of its text.

    Raises:
        SpellingNeeded: it is that deep, and was read without its spelling.
    """
    try:
        return _dump(value)
    except RecursionError:
        text = getattr(value, "text", None)
        if text is None:
            raise SpellingNeeded from None
        return json.dumps(text, ensure_ascii=False)


def _dump(value: Any) -> str:
    if type(value) in (Integer, Float):
        return str(value) if value[-1:].isdigit() else json.dumps(value)
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Members):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_dump(v)}" for k, v in value) + "}"
    return "[" + ",".join(map(_dump, value)) + "]"


def whole_characters(text: str) -> str:
    """Joins the two escapes of one character; half of a pair becomes ``?``, as when Java encodes it."""
    text = _PAIR.sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)
    return _LONE.sub("?", text)


class Reader:
    """Reads one document with the options that Spark gives to Jackson. It does not recurse."""

    def __init__(self, reader: Mapping[str, str]) -> None:
        self._single_quotes = is_true(reader, "allowsinglequotes", True)
        self._any_escape = is_true(reader, "allowbackslashescapinganycharacter")
        self._non_finite = is_true(reader, "allownonnumericnumbers", True)
        self._bare_names = is_true(reader, "allowunquotedfieldnames")
        self._blanks = _BLANKS_AND_COMMENTS if is_true(reader, "allowcomments") else _BLANKS
        self._number = _NUMBER_WITH_ZEROS if is_true(reader, "allownumericleadingzeros") else _NUMBER
        plain = "" if is_true(reader, "allowunquotedcontrolchars") else r"\x00-\x1f"
        self._strings = {
            quote: re.compile(rf"{quote}([^{quote}\\{plain}]*+(?:\\[\s\S][^{quote}\\{plain}]*+)*+){quote}")
            for quote in ('"', "'")
        }

    def read(self, text: str) -> tuple[Any, int]:
        """The first document of a text that is not blank, and where it ends."""
        blanks = self._blanks
        stack: list[tuple[Any, int, str | None]] = []
        position = blanks.match(text).end()  # type: ignore[union-attr]
        name: str | None = None
        value: Any
        while True:
            first = text[position : position + 1]
            if first in ("{", "["):
                if len(stack) == MAX_DEPTH:
                    raise Malformed("nested too deeply")
                value = Members() if first == "{" else Items()
                start, position = position, blanks.match(text, position + 1).end()  # type: ignore[union-attr]
                if text[position : position + 1] != ("}" if first == "{" else "]"):
                    stack.append((value, start, name))
                    name, position = self._name(text, position) if first == "{" else (None, position)
                    continue
                position += 1
                value.place = (text, start, position)
            else:
                value, position = self._scalar(text, position)
            while stack:
                holder, start, outer = stack[-1]
                is_object = type(holder) is Members
                holder.append((name, value) if is_object else value)
                position = blanks.match(text, position).end()  # type: ignore[union-attr]
                following = text[position : position + 1]
                if following == ",":
                    position = blanks.match(text, position + 1).end()  # type: ignore[union-attr]
                    if is_object:
                        name, position = self._name(text, position)
                    break
                if following != ("}" if is_object else "]"):
                    raise Malformed(f"a comma or the end of an object or array is missing at character {position}")
                position += 1
                stack.pop()
                holder.place, value, name = (text, start, position), holder, outer
            else:
                return value, position

    def ends(self, text: str, position: int) -> bool:
        """Whether only blanks follow."""
        return self._blanks.fullmatch(text, position) is not None

    def _name(self, text: str, position: int) -> tuple[str, int]:
        first = text[position : position + 1]
        if first == '"' or (first == "'" and self._single_quotes):
            name, position = self._string(text, position, first)
        elif self._bare_names and (bare := _BARE_NAME.match(text, position)):
            name, position = bare[0], bare.end()
        else:
            raise Malformed(f"a field name is missing at character {position}")
        position = self._blanks.match(text, position).end()  # type: ignore[union-attr]
        if text[position : position + 1] != ":":
            raise Malformed(f"a colon is missing at character {position}")
        return name, self._blanks.match(text, position + 1).end()  # type: ignore[union-attr]

    def _scalar(self, text: str, position: int) -> tuple[Any, int]:
        first = text[position : position + 1]
        if first == '"' or (first == "'" and self._single_quotes):
            return self._string(text, position, first)
        if found := _WORD.match(text, position):
            return _WORDS[found[0]], found.end()
        if found := self._number.match(text, position):
            spelled = found[0]
            return (decimal if found[1] or found[2] else integer)(spelled), found.end()
        if self._non_finite and (found := _NON_FINITE.match(text, position)):
            return Float(found[0]), found.end()
        raise Malformed(f"no value at character {position}")

    def _string(self, text: str, position: int, quote: str) -> tuple[str, int]:
        found = self._strings[quote].match(text, position)
        if not found:
            raise Malformed(f"a string without end, or with a control character, at character {position}")
        body = found[1]
        return (whole_characters(_ESCAPE.sub(self._unescape, body)) if "\\" in body else body), found.end()

    def _unescape(self, escape: re.Match[str]) -> str:
        if escape[1]:
            return chr(int(escape[1], 16))
        character = escape[2]
        plain = _ESCAPES.get(character)
        if plain is not None:
            return plain
        if character != "u" and (self._any_escape or (character == "'" and self._single_quotes)):
            return character
        raise Malformed("an escape that JSON has not")


class LineScanner:
    """Reads the document of a line."""

    def __init__(self, reader: Mapping[str, str]) -> None:
        decoder = json.JSONDecoder(
            parse_int=Integer, parse_float=Float, parse_constant=_refuse, object_pairs_hook=Members
        )
        self._once: Callable[[str, int], tuple[Any, int]] = decoder.scan_once  # type: ignore[attr-defined]
        self._reader = Reader(reader)

    def scan(self, text: str, spelling: Spelling = Spelling.NONE) -> tuple[Any, int]:
        """The first document of a text and where it ends; raises ``Malformed``.

        Args:
            text: Has other characters than blanks.
            spelling: Which objects and arrays must have their ``text``.
        """
        if len(text) > MAX_DIGITS and _LONG_NUMBER.search(text):
            spelling = Spelling.ALL
        if spelling is not Spelling.ALL and "\\ud" not in text and "\\uD" not in text:
            try:
                return self._spelled(text) if spelling is Spelling.FIELDS else self._once(text, 0)
            except (StopIteration, ValueError, RecursionError):
                pass
        return self._reader.read(text)

    def ends(self, text: str, position: int) -> bool:
        """Whether nothing follows a document that ends at a position."""
        return position == len(text) or self._reader.ends(text, position)

    def _spelled(self, text: str) -> tuple[Any, int]:
        """An object whose fields need their spelling: the C scanner tells where each ends."""
        members, position, separator = Members(), 0, "{"
        while separator != "}":
            if separator not in ("{", ","):
                raise Malformed("left to the full reader")
            found = _NAME.match(text, position + 1)
            if not found:
                raise Malformed("left to the full reader")
            start = found.end()
            value, position = self._once(text, start)
            if isinstance(value, list):
                if type(value) is list:
                    value = Items(value)
                value.place = (text, start, position)
            members.append((self._once(found[1], 0)[0], value))
            position = _BLANKS.match(text, position).end()  # type: ignore[union-attr]
            separator = text[position : position + 1]
        members.place = (text, 0, position + 1)
        return members, position + 1

"""What ``cloudFiles`` knows of a format before a file is read. Only what reads files imports the parsers.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SINGLE_VARIANT = "singlevariantcolumn"
"""The reader's option that names the column for whole records."""
Reader = Mapping[str, str]
"""Options of a format's reader, their names in lower case."""


def words(*texts: str) -> tuple[str, ...]:
    """The words of these texts, sorted without regard to case."""
    return tuple(sorted(" ".join(texts).split(), key=str.lower))


def is_true(reader: Reader, name: str, default: bool = False) -> bool:
    """Whether an option of the reader is true; ``default`` where it is not given."""
    return reader.get(name, str(default)).strip().lower() == "true"


_OF_JAVA = {
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "x-windows-874": "cp874",
    "x-windows-949": "cp949",
    "x-windows-950": "cp950",
    "x-macroman": "mac_roman",
}
"""Encodings that Python has by another name than Java."""


def encoding_called(name: str) -> str:
    """Python's name of the encoding that has this name in Python or in Java.

    Raises:
        LookupError, ValueError: there is no encoding of this name.
    """
    name = name.strip()
    return codecs.lookup(_OF_JAVA.get(name.lower(), name)).name


def encoding_of(reader: Reader) -> str:
    """The encoding of text, as Python calls it; "" for UTF-8, and for ASCII, which is some of it.

    Raises:
        LookupError: there is no encoding of this name.
    """
    name = encoding_called(reader.get("encoding", reader.get("charset", "UTF-8")))
    return "" if name in ("utf-8", "ascii") else name


_ESCAPES = {r"\t": "\t", r"\\": "\\", r"\b": "\b", r"\f": "\f", r"\"": '"', r"\'": "'", r"\u0000": "\0"}
ESCAPED = re.compile("|".join(map(re.escape, _ESCAPES)))
"""What a backslash in front of a character means in a separator."""
MOST_CHARACTERS = 16
"""The most characters of a separator of CSV."""


def separator(text: str) -> str:
    """The separator of CSV that is meant, as Spark reads its escapes."""
    return ESCAPED.sub(lambda found: _ESCAPES[found[0]], text)


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: As ``cloudFiles.format`` spells it; found in any case.
        parse: ``module:function`` in this package: ``(file, target)`` to ``Rows``, a part of the file at a time; ""
            for a format whose files are always lines.
        infer: The same for ``(files, *, reader, infer_column_types)`` to the columns of sample files.
        parse_lines: The same for ``(data, path_at, target)`` to ``Rows``, where ``data`` are whole lines, perhaps of
            several files; "" for a format whose files are read whole.
        is_lines: Whether files are independent lines, with these options of the reader.
        suffixes: How names of its files end, in lower case.
        mark: What its files begin with; empty where nothing marks them.
        options: The options of its reader, as Spark spells them, without the flags.
        flags: Those of the reader's options that are true or false.
        has_fields: Whether records have fields: then fields can be new, and values can be rescued.
        has_header: Whether the first line of a file may name its columns (the option ``header``).
        infers_types: Whether types are found in the values, and only with ``cloudFiles.inferColumnTypes``.
        rescues_text: Whether what is rescued is the text of a value, and not JSON.
        grows: Whether new columns of files can become columns of the stream; otherwise they are rescued.
        keeps_bad_records: Whether single records can be malformed, and kept at ``badRecordsPath``.
    """

    name: str
    infer: str
    parse: str = ""
    parse_lines: str = ""
    is_lines: Callable[[Reader], bool] = lambda reader: False
    suffixes: tuple[str, ...] = ()
    mark: bytes = b""
    options: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    has_fields: bool = True
    has_header: bool = False
    infers_types: bool = False
    rescues_text: bool = False
    keeps_bad_records: bool = False
    grows: bool = True

    @property
    def reader_options(self) -> tuple[str, ...]:
        """All options of its reader, the flags too."""
        return words(*self.options, *self.flags)


class Formats:
    """Formats, each once.

    Raises:
        ValueError: two have a name, a suffix or a mark in common.
    """

    def __init__(self, *formats: Format) -> None:
        self._by_name: dict[str, Format] = {}
        self._by_suffix: dict[str, Format] = {}
        self._by_mark: dict[bytes, Format] = {}
        for format_ in formats:
            _put(self._by_name, format_.name.lower(), format_)
            for suffix in format_.suffixes:
                _put(self._by_suffix, suffix, format_)
            if format_.mark:
                _put(self._by_mark, format_.mark, format_)

    def __iter__(self) -> Iterator[Format]:
        """All formats."""
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Format:
        """The format of that name, in any case."""
        return self._by_name[name.lower()]

    def get(self, name: str) -> Format | None:
        """The format of that name, in any case; None where there is no such format."""
        return self._by_name.get(name.lower())

    def names(self, having: Callable[[Format], bool] = lambda format_: True) -> tuple[str, ...]:
        """The names of the formats for which ``having`` is true."""
        return tuple(format_.name for format_ in self if having(format_))

    def of_suffix(self, suffix: str) -> Format | None:
        """The format of files whose names have this suffix."""
        return self._by_suffix.get(suffix)

    def of_mark(self, head: bytes) -> Format | None:
        """The format of a file that begins with these bytes."""
        return next((format_ for mark, format_ in self._by_mark.items() if head.startswith(mark)), None)


def _put(known: dict[Any, Format], key: Any, format_: Format) -> None:
    if key in known:
        raise ValueError(f"{key!r} stands for two formats: {known[key].name} and {format_.name}")
    known[key] = format_

"""Values of the readers' own options: what is wrong with a value, before a file is read.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lakehouse.autoloader.formats.excel_address import parse_address
from lakehouse.autoloader.formats.format import ESCAPED, MOST_CHARACTERS, encoding_called, separator
from lakehouse.autoloader.options.names import FLAGS, MODES, READER_NAMES
from lakehouse.plain_text import size_bytes

_ENDS = ("\n", "\r\n", "\r")


def problems(lower: str, value: str, format_: str) -> Iterator[str]:
    """What is wrong with an option of a format's reader: sentences without its name."""
    word = value.strip().lower()
    if lower in FLAGS and word not in ("true", "false"):
        yield "write true or false"
    if lower == "mode" and value.strip().upper() not in MODES:
        yield f"write one of {', '.join(MODES)}"
    if lower in ("encoding", "charset"):
        try:
            encoding_called(value)
        except (LookupError, ValueError):
            yield "no encoding of this name is known"
    if lower == "locale" and not re.fullmatch(r"(en([-_].*)?|us|english)", word):
        yield "numbers and dates are read as in en-US, so read the column as a string and convert it"
    if check := _CHECKS.get((format_, lower)):
        yield from check(value)


def shown_name(lower: str, format_: str) -> str:
    """The option as Spark spells it."""
    return READER_NAMES[format_][lower]


def _known_ends(value: str) -> Iterator[str]:
    if value not in _ENDS:
        yield "lines end at \\n, \\r\\n and \\r; read the files as text, which has the option, and parse its column"


def _one_character(value: str) -> Iterator[str]:
    if len(value) > 1 or value in ("\n", "\r"):
        yield "one character is supported"


def _separator(value: str) -> Iterator[str]:
    if not 0 < len(separator(value)) <= MOST_CHARACTERS or set(value) & {"\n", "\r"}:
        yield f"write one character, or at most {MOST_CHARACTERS}, on one line"
    elif "\\" in ESCAPED.sub("", value):
        yield r"a backslash is written as \\, and \t is a tab: Spark knows no separator with another backslash"


def _skipped(value: str) -> Iterator[str]:
    if not re.fullmatch(r"[0-9]{1,9}", value.strip()):
        yield "write a whole number of lines"


def _quotes(value: str) -> Iterator[str]:
    if value.strip().upper() != "STOP_AT_DELIMITER":
        yield "only STOP_AT_DELIMITER is had, Spark's default: leave it out, or have such quotes escaped"


def _one_of(*words: str) -> Callable[[str], Iterator[str]]:
    def check(value: str) -> Iterator[str]:
        if value.strip().lower() not in {word.lower() for word in words}:
            yield f"write {' or '.join(words)}"

    return check


def _read_by(parse: Callable[[str], object]) -> Callable[[str], Iterator[str]]:
    def check(value: str) -> Iterator[str]:
        try:
            parse(value)
        except ValueError as error:
            yield str(error)

    return check


def _tag(value: str) -> Iterator[str]:
    if not value.strip() or set(value) & set("<>"):
        yield "write the name of an element, without < and >"


def _schema_file(value: str) -> Iterator[str]:
    from lakehouse.storage.local_paths import is_local, mapped

    if not is_local(mapped(value)):
        yield "write the path of a file that the driver and all workers have: /folder/name.xsd"


_CHECKS: dict[tuple[str, str], Callable[[str], Iterator[str]]] = {
    ("json", "linesep"): _known_ends,
    ("csv", "linesep"): _known_ends,
    ("csv", "sep"): _separator,
    ("csv", "delimiter"): _separator,
    **{("csv", name): _one_character for name in ("quote", "escape", "comment", "chartoescapequoteescaping")},
    ("csv", "skiprows"): _skipped,
    ("csv", "unescapedquotehandling"): _quotes,
    ("excel", "headerrows"): _one_of("0", "1"),
    ("excel", "operation"): _one_of("readSheet", "listSheets"),
    ("excel", "dataaddress"): _read_by(parse_address),
    ("excel", "maxworkbookbytes"): _read_by(size_bytes),
    **{("xml", name): _tag for name in ("rowtag", "valuetag", "wildcardcolname")},
    ("xml", "rowvalidationxsdpath"): _schema_file,
}

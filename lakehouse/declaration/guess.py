"""What files are, by their names and by how they begin."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from xml.parsers import expat

from lakehouse.autoloader.formats.registry import FORMATS

_COMPRESSED = re.compile(r"\.(gz|gzip|bz2|zst|lz4|deflate)$")
_SEPARATORS = ",;\t|"
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")


@dataclass(frozen=True)
class Guess:
    """What files are taken to be.

    Attributes:
        format: As ``files`` of a declaration has it.
        options: Of the format's reader.
        notes: What is worth knowing about the guess.
    """

    format: str
    options: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def format_of_name(key: str) -> str | None:
    """The format that a name's ending tells; None for an ending that tells nothing."""
    name = _COMPRESSED.sub("", key.rsplit("/", 1)[-1].lower())
    found = FORMATS.of_suffix(name.rpartition(".")[2]) if "." in name else None
    return found.name if found else None


def chosen_names(keys: Sequence[str]) -> tuple[list[str], str | None]:
    """The keys of the format that most have, and a glob for them where others are among them."""
    formats = Counter(format_of_name(key) for key in keys)
    most = formats.most_common(1)[0][0]
    chosen = [key for key in keys if format_of_name(key) == most]
    if len(formats) == 1 or most is None:
        return chosen, None
    endings = sorted({_ending(key) for key in chosen})
    return chosen, f"*{endings[0]}" if len(endings) == 1 else f"*{{{','.join(endings)}}}"


def _ending(key: str) -> str:
    name = key.rsplit("/", 1)[-1]
    packed = _COMPRESSED.search(name.lower())
    bare = name[: packed.start()] if packed else name
    return name[bare.rfind(".") :]


def guess(name: str, head: bytes, *, whole: bool) -> Guess:
    """What a file is.

    Args:
        name: Its key.
        head: How it begins, unpacked.
        whole: Whether that is all of it.
    """
    named = format_of_name(name)
    if marked := format_of_marks(head):
        return Guess(marked, notes=_disagrees(named, marked))
    text = _text(head, whole)
    if text is None:
        return Guess(named or "binaryFile", {"headerRows": "1"} if named == "excel" else {})
    if json_ := _as_json(text, whole):
        return Guess("json", json_.options, _disagrees(named, "json"))
    if (named == "xml" or text.lstrip().startswith("<?xml")) and (tag := _row_tag(head)):
        note = f"the elements <{tag}> are taken as the rows; write another rowTag where they are not"
        return Guess("xml", {"rowTag": tag}, (*_disagrees(named, "xml"), note))
    table = _as_csv(text, tabs=name.lower().split(".")[-1] == "tsv" or ".tsv." in name.lower())
    if named == "csv" or (named is None and table is not None and len(table.options) + text.count("\n") > 0):
        return table or Guess("csv", notes=("every line has a single column: is there another separator?",))
    return Guess(named or "text")


def format_of_marks(head: bytes) -> str | None:
    """The format whose mark a file begins with; None for text and the rest."""
    found = FORMATS.of_mark(head)
    return found.name if found else None


def _disagrees(named: str | None, found: str) -> tuple[str, ...]:
    return (f"the names say {named}, and the bytes say {found}",) if named not in (None, found) else ()


def _text(head: bytes, whole: bool) -> str | None:
    """The beginning as text, without the line in which it was cut; None for what is no UTF-8."""
    cut = head if whole or b"\n" not in head else head[: head.rfind(b"\n") + 1]
    try:
        text = cut.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\x00" in text else text


def _as_json(text: str, whole: bool) -> Guess | None:
    stripped = text.lstrip()
    if not stripped.startswith(("{", "[")):
        return None
    first = stripped.splitlines()[0]
    try:
        json.loads(first)
        return Guess("json")
    except ValueError:
        pass
    try:
        json.loads(stripped)
    except ValueError:
        # a document over many lines opens with its bracket alone, or with the beginning of its first object
        if whole or not re.match(r'[\[{]\s*("[^"]*"\s*:.*)?$', first):
            return Guess("json") if first.startswith("{") else None
    return Guess("json", {"multiLine": "true"})


def _row_tag(head: bytes) -> str | None:
    """The name that most elements within the outermost have, or its own where there is none; None for no XML."""
    open_: list[str] = []
    found: Counter[str] = Counter()

    def start(name: str, attributes: dict[str, str]) -> None:
        open_.append(name)
        if len(open_) == 2:
            found[name] += 1
        elif len(open_) == 1:
            found[name] = 0

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: open_.pop()
    with suppress(expat.ExpatError):  # it is only the beginning of a file
        parser.Parse(head, False)
    return found.most_common(1)[0][0] if found else None


def _as_csv(text: str, *, tabs: bool) -> Guess | None:
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    if not lines:
        return None
    separator = "\t" if tabs else max(_SEPARATORS, key=lambda character: _steady(lines, character))
    if not tabs and not _steady(lines, separator):
        return None
    options = {} if separator == "," else {"sep": "\\t" if separator == "\t" else separator}
    notes: tuple[str, ...] = ()
    if any(line.count('"') % 2 for line in lines):
        options["multiLine"] = "true"
    header = next(csv.reader([lines[0]], delimiter=separator))
    if any(_NUMBER.fullmatch(cell.strip()) or not cell.strip() for cell in header) or len(set(header)) < len(header):
        options["header"] = "false"
        notes = ("the first line has values, so it is read as a row; write header: true where it names columns",)
    return Guess("csv", options, notes)


def _steady(lines: Sequence[str], separator: str) -> int:
    """How many separators each line has, when all have as many; 0 otherwise."""
    try:
        counts = [len(row) - 1 for row in csv.reader(lines, delimiter=separator)]
    except csv.Error:
        return 0
    most, times = Counter(counts).most_common(1)[0]
    return most if times >= 0.8 * len(counts) else 0

"""Where records of CSV begin and end, by Spark's rules for quotes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from lakehouse.autoloader.formats.format import MOST_CHARACTERS, separator
from lakehouse.autoloader.formats.rows import QUARANTINE
from lakehouse.autoloader.formats.text import flag, line_blocks
from lakehouse.autoloader.formats.times import BLANKS
from lakehouse.errors import ConfigurationError

BLANKS_LINE = re.compile(rb"^[\x00-\x20]+$", re.MULTILINE)
_FIXED = {"unescapedquotehandling": "STOP_AT_DELIMITER"}
_END = re.compile(rb"\r\n|\n|\r")
Tokens = list[str | None]


@dataclass(frozen=True)
class Block:
    """Records: columns of text, the number of values of each, values beyond the columns, and their texts on demand."""

    columns: list[pa.Array]
    counts: np.ndarray
    texts: Callable[[], list[str]]
    extra: dict[int, Tokens] = field(default_factory=dict)


class Dialect:
    """The options of one reader, checked."""

    def __init__(self, reader: Mapping[str, str]) -> None:
        for name, only in _FIXED.items():
            if reader.get(name, only).lower() != only.lower():
                raise ConfigurationError(f"the option {name} can only be {only} for CSV")
        self.sep = separator(reader.get("sep", reader.get("delimiter", ",")))
        self.quote, self.escape = reader.get("quote", '"'), reader.get("escape", "\\")
        self.comment = reader.get("comment", "")
        double = "" if self.escape == self.quote else self.escape
        self.escape_escape = reader.get("chartoescapequoteescaping") or double
        for name, text in vars(self).items():
            most = MOST_CHARACTERS if name == "sep" else 1
            if len(text) > most or set(text) & {"\n", "\r"} or (name == "sep" and not text):
                raise ConfigurationError(f"{text!r} is not supported as {name} of CSV: one character is")
        self.null, self.empty = reader.get("nullvalue", ""), reader.get("emptyvalue", "")
        self.multi, self.header = flag(reader, "multiline"), flag(reader, "header")
        self.leading, self.trailing = flag(reader, "ignoreleadingwhitespace"), flag(reader, "ignoretrailingwhitespace")
        self.mode = reader.get("mode", "PERMISSIVE").upper()
        if self.mode not in ("PERMISSIVE", "DROPMALFORMED", "FAILFAST", QUARANTINE):
            raise ConfigurationError(f"the mode {self.mode!r} of CSV is not known")
        self.skipped = int(reader.get("skiprows", "0"))
        if reader.get("linesep", "\n") not in ("\n", "\r\n", "\r"):
            raise ConfigurationError("the option linesep is not supported for CSV: every usual end of line is known")
        self.ends = re.compile(f"{re.escape(self.sep)}|\n")
        self.after = (self.sep, "\n")
        self.special = re.compile("[" + re.escape(self.quote + self.escape + self.escape_escape) + "]|\\Z")

    def record(self, text: str, at: int) -> tuple[Tokens, int]:
        """The values of the record that begins at ``at``, and where the next record begins."""
        values: Tokens = []
        quoted = False
        while True:
            start = at
            while self.leading and at < len(text) and text[at] <= " " and not text.startswith(self.after, at):
                at += 1
            if at >= len(text) or text.startswith(self.after, at):
                # as Spark's parser: blanks at the very end are a value when a quoted value came before
                values.append(self.empty if quoted and start < at == len(text) else None)
            elif text[at] == self.quote:
                end = text.find(self.quote, at + 1)
                inside = text[at:end]
                quoted = end < 0 or not text.startswith(self.after, end + 1) or self._has_escape(inside)
                value, at = self._quoted(text, at + 1)
                values.append(value or self.empty)
            else:
                quoted = False
                stop = self._stop(text, at)
                value = text[at:stop].rstrip(BLANKS) if self.trailing else text[at:stop]
                values.append(value or (None if stop < len(text) else self.empty))
                at = stop
            if at >= len(text) or text[at] == "\n":
                return values, at + 1
            at += len(self.sep)

    def _has_escape(self, inside: str) -> bool:
        pairs = (self.escape + self.escape_escape, self.escape + self.quote)
        return bool(self.escape) and (inside.endswith(self.escape) or any(pair in inside for pair in pairs))

    def _stop(self, text: str, at: int) -> int:
        found = self.ends.search(text, at)
        return found.start() if found else len(text)

    def _quoted(self, text: str, at: int) -> tuple[str, int]:
        """The value whose opening quote ends at ``at``, and where it ends.

        An unescaped quote makes the whole value raw, up to the next separator, as Spark's STOP_AT_DELIMITER does.
        """
        out: list[str] = []
        quote, escape, before = self.quote, self.escape, ""
        if at >= len(text):
            return quote, at
        while at < len(text):
            char = text[at]
            if before == quote and (char <= " " or text.startswith(self.sep, at)):
                break
            if before == quote and char not in (quote, escape):
                return self._raw(text, at, at, out)
            if char not in (quote, escape):
                out.append(escape if before and before == escape else "")
                stop = self.special.search(text, at).start()  # type: ignore[union-attr]
                out.append(text[at:stop])
                before, at = text[stop : stop + 1], stop + 1
                continue
            before, at = self._escaped(text, at, before, out)
        after = at
        while after < len(text) and text[after] <= " " and not text.startswith(self.after, after):
            after += 1
        if after < len(text) and not text.startswith(self.after, after):
            return self._raw(text, at, after, out)
        return "".join(out), min(after, len(text))

    def _escaped(self, text: str, at: int, before: str, out: list[str]) -> tuple[str, int]:
        """Takes a quote or an escape. Returns what is before the next character, and where that is."""
        char = text[at]
        if char == self.escape and before and before == self.escape_escape:
            out.append(self.escape)
            return "", at + 1
        if before and before == self.escape:
            out.append(self.quote if char == self.quote else self.escape)
            return "" if char == self.quote else char, at + 1
        if before == self.quote:
            out.append(self.quote)
            if char != self.quote:  # Spark's parser then goes on as here, and even loses the separator
                at = self._unquoted(text, at, out)
                char = text[at : at + 1]
        return char, at + 1

    def _unquoted(self, text: str, at: int, out: list[str]) -> int:
        """Takes what follows a closing quote and an escape. Returns where the value's separator is."""
        before = self.escape
        while at < len(text) and not text.startswith(self.after, at):
            if text[at] in (self.quote, self.escape):
                before, at = self._escaped(text, at, before, out)
                continue
            out.append(self.quote + text[at] if before == self.quote else text[at])
            before, at = text[at], at + 1
        return at

    def _raw(self, text: str, at: int, after: int, out: list[str]) -> tuple[str, int]:
        stop = self._stop(text, after)
        value = self.quote + "".join(out) + self.quote + text[at:stop]
        if after > at and stop == len(text) and text[after + 1 : after + 2] == self.quote != text[after]:
            value += self.quote  # as Spark's parser does at the end of its input
        return value.rstrip(BLANKS) if self.trailing else value, stop

    def skips(self, line: str) -> bool:
        """Whether a line is no record: it is blank, or a comment."""
        return not line.strip(BLANKS) or bool(self.comment and line.startswith(self.comment))

    def records(self, data: bytes) -> Iterator[tuple[Tokens, str, int]]:
        """Values, text and end of each record of whole lines (with ``multiline``, of a whole file)."""
        if not self.multi:
            at = 0
            for raw in data.splitlines(keepends=True):
                at += len(raw)
                line = raw.rstrip(b"\r\n").decode("utf-8", "replace")
                if not self.skips(line):
                    yield self.record(line, 0)[0], line, at
            return
        text, at, first = data.decode("utf-8", "replace"), 0, True
        while at < len(text):
            if text[at] == "\n" or text[at] == self.comment:
                at = (text.find("\n", at) + 1) or len(text)
                continue
            values, end = self.record(text, at)
            # a quote that nothing closes takes the rest of the file, and as Spark has it not the last end of a line
            whole = text[at : end - 1].removesuffix("\n")
            yield values, whole, len(text[:end].encode()) if first else end
            at, first = end, False

    def blocks(self, file: BinaryIO) -> Iterator[bytes]:
        """Blocks of whole records. With ``multiline`` the file is one block, with line feeds for its line ends.

        The first lines are left out as ``skiprows`` says, whatever they are.
        """
        skipped = self.skipped
        for data in line_blocks(file) if not self.multi else [file.read()]:
            at = 0
            while skipped and at < len(data):
                at, skipped = (found.end() if (found := _END.search(data, at)) else len(data)), skipped - 1
            data = data[at:]
            found = _END.search(data) if self.multi else None
            yield data.replace(found[0], b"\n") if found else data

    def plain(self, data: bytes, width: int) -> list[pa.Array] | None:
        """The columns of a block that Arrow's parser reads as Spark's does, else None."""
        sep, quote = self.sep.encode(), self.quote.encode() or b"\0"
        if len(self.sep) > 1 or not (self.sep + self.quote + self.escape + self.comment).isascii():
            return None
        if (
            data.count(b"\r") != (0 if self.multi else data.count(b"\r\n"))
            or b"\0" in data
            or width < 1
            or self.trailing > self.leading
        ):
            return None
        if self.comment and (data.startswith(self.comment.encode()) or b"\n" + self.comment.encode() in data):
            return None
        if not self.multi and (width == 1 or self.sep <= " ") and BLANKS_LINE.search(data):
            return None
        if quote in data and not self._plainly_quoted(data, sep, quote):
            return None
        try:
            table = csv.read_csv(
                pa.BufferReader(data),
                read_options=csv.ReadOptions(
                    use_threads=False, block_size=len(data) + 1, autogenerate_column_names=True
                ),
                parse_options=csv.ParseOptions(
                    delimiter=self.sep,
                    quote_char=self.quote or False,
                    double_quote=False,
                    newlines_in_values=self.multi,
                ),
                convert_options=csv.ConvertOptions(
                    column_types={f"f{n}": pa.string() for n in range(width)},
                    include_columns=[f"f{n}" for n in range(width)],
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except (pa.ArrowInvalid, KeyError):
            return None
        columns = [column.combine_chunks() for column in table.columns]
        if self.leading:
            trim = pc.utf8_trim if self.trailing else pc.utf8_ltrim
            columns = [trim(column, BLANKS) for column in columns]
        empty = None if self.leading else self.empty
        return [pc.if_else(pc.equal(array, ""), empty, array) for array in columns] if empty != "" else columns

    def _plainly_quoted(self, data: bytes, sep: bytes, quote: bytes) -> bool:
        """Whether every quote begins or ends a whole value, and nothing is escaped."""
        if self.leading or self.trailing or self.escape.encode() in data.replace(quote, b"") or not self.escape:
            return False
        raw = np.frombuffer(b"\n" + data + b"\n", np.uint8)
        at = np.flatnonzero(raw == quote[0])
        if len(at) % 2 or not np.isin(raw[at[::2] - 1], [sep[0], 10]).all():
            return False
        if not np.isin(raw[at[1::2] + 1], [sep[0], 10, 13]).all():
            return False
        inside = np.searchsorted(at, np.flatnonzero(raw == 10)) % 2
        return self.multi or not inside.any()

"""Files of text: lines, the options that formats of text share, and values written as text."""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import IO, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyspark.sql.types as spark
from pyspark.sql.types import DataType, StructType

from lakehouse.autoloader.formats.encoding import BEGINNING_BYTES, refuse_binary, refuse_wide, to_utf8
from lakehouse.autoloader.formats.format import encoding_of
from lakehouse.autoloader.formats.rows import PathAt, Rows, Target
from lakehouse.autoloader.formats.times import date_parser, timestamp_parser
from lakehouse.errors import ConfigurationError

BLOCK_BYTES = 8 << 20
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")
"""Texts that Java reads as a decimal; commas between digits are taken out before."""

_FLOAT = re.compile(r"[+-]?(NaN|Infinity|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[fFdD]?)", re.ASCII)


def flag(reader: Mapping[str, str], name: str, default: bool = False) -> bool:
    """An option that is true or false."""
    text = reader.get(name, str(default)).lower()
    if text not in ("true", "false"):
        raise ConfigurationError(f"the option {name} must be true or false, not {text!r}")
    return text == "true"


def header_names(texts: Sequence[str], *, first: int) -> list[str]:
    """Names of columns by a header, as Spark makes them: each is there once, in any case of its letters.

    An empty name becomes ``_c`` and its place; a name that is there twice gets its place at its end. Where a column is
    called so, the place is added again: no column takes another's place.

    Args:
        texts: The header's names, in order.
        first: The number of the first place.
    """
    counts = Counter(label.lower() for label in texts)
    taken = {label for label, count in counts.items() if count == 1}
    names = []
    for place, text in enumerate(texts, first):
        name = text
        if not text or counts[text.lower()] > 1:
            name = f"{text or '_c'}{place}"
            while name.lower() in taken:
                name = f"{name}_{place}"
            taken.add(name.lower())
        names.append(name)
    return names


def as_utf8(file: BinaryIO, reader: Mapping[str, str], path: str = "") -> BinaryIO:
    """The file in UTF-8 without a byte order mark, at its first character.

    Raises:
        BadFile: its first bytes are those of a binary format, or of an encoding that was not asked for.
    """
    start = file.read(BEGINNING_BYTES)
    refuse_binary(start)
    try:
        known = encoding_of(reader)
    except LookupError as error:
        raise ConfigurationError(str(error)) from None
    if known:
        file.seek(0)
        return io.BytesIO(to_utf8(file.read(), known))
    refuse_wide(start, path, zeros=not any("\0" in value for value in reader.values()))
    file.seek(3 if start.startswith(codecs.BOM_UTF8) else 0)
    return file


def line_blocks(file: BinaryIO, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Whole lines, about ``size`` bytes at a time."""
    rest = b""
    while block := file.read(size):
        data = rest + block
        # a carriage return at the very end may be half of a line end
        cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
        if cut:
            yield data[:cut]
        rest = data[cut:]
    if rest:
        yield rest


def parse_text(file: BinaryIO, target: Target) -> Iterator[Rows]:
    """One row a line, or with ``wholetext`` one a file; ``linesep`` replaces the usual ends of lines.

    As in Spark ``encoding`` is that of ``linesep`` alone: the text between is taken as it is, which is UTF-8.
    """
    options = {name: value for name, value in target.reader.items() if name not in ("encoding", "charset")}
    file, first = as_utf8(file, options, target.path), 0
    end = target.reader.get("linesep")
    if flag(target.reader, "wholetext"):
        file.seek(0)  # Spark keeps the byte order mark here
        yield _text_rows([file.read().decode("utf-8", "replace")], np.zeros(1, np.int64), target.schema)
    elif end is not None:
        if not end:
            raise ConfigurationError("the option linesep must not be empty")
        parts = file.read().split(end.encode(encoding_of(target.reader) or "utf-8"))
        lines = [line.decode("utf-8", "replace") for line in (parts if parts[-1] else parts[:-1])]
        for at in range(0, len(lines), 65_536):
            chunk = lines[at : at + 65_536]
            yield _text_rows(chunk, np.arange(at, at + len(chunk)), target.schema)
    else:
        for block in line_blocks(file):
            chunk = [line.decode("utf-8", "replace") for line in block.splitlines()]
            yield _text_rows(chunk, np.arange(first, first + len(chunk)), target.schema)
            first += len(chunk)


def parse_lines(data: bytes, path_at: PathAt, target: Target) -> Rows:
    """See ``parse_text_lines``."""
    return parse_text_lines(data, target.schema, reader=target.reader)


def infer_text(files: Iterable[IO[bytes]], *, reader: Mapping[str, str], infer_column_types: bool) -> StructType:
    """The one column that text has; no file is looked at."""
    return StructType().add("value", "string")


def parse_text_lines(data: bytes, schema: StructType, *, reader: Mapping[str, str]) -> Rows:
    """One row a line; bytes that are no UTF-8 become U+FFFD, and a lone carriage return also ends a row."""
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    if "\r" not in text:
        return _text_rows(lines, np.arange(len(lines)), schema)
    rows = [(number, part) for number, line in enumerate(lines) for part in line.removesuffix("\r").split("\r")]
    return _text_rows([part for _, part in rows], np.array([number for number, _ in rows], np.int64), schema)


def _text_rows(lines: list[str], records: np.ndarray, schema: StructType) -> Rows:
    if len(schema) != 1 or not isinstance(schema.fields[0].dataType, spark.StringType):
        raise ConfigurationError(f"text files have one column of type STRING, not {schema.simpleString()}")
    field = pa.field(schema.names[0], pa.string(), schema.fields[0].nullable)
    return Rows(pa.Table.from_arrays([pa.array(lines, pa.string())], schema=pa.schema([field])), records)


def values_of(texts: pa.Array, wanted: DataType, reader: Mapping[str, str]) -> pa.Array:
    """Values that texts stand for, NULL where a text does not parse.

    Raises:
        ConfigurationError: values of that type cannot be written as text.
    """
    if isinstance(wanted, spark.StringType):
        return texts
    parse, plain, arrow = parser_of(wanted, reader)
    if plain and pc.all(pc.match_substring_regex(texts, f"^(?:{plain})$"), min_count=0).as_py():
        try:
            return pc.cast(texts, arrow)
        except pa.ArrowInvalid:
            pass  # a text is out of range: each is looked at below
    known = texts.dictionary_encode()

    def value(text: str | None) -> Any:
        try:
            return None if text is None else parse(text)
        except (ValueError, ArithmeticError):
            return None

    return pa.array([value(text) for text in known.dictionary.to_pylist()], arrow).take(known.indices)


def parser_of(wanted: DataType, reader: Mapping[str, str]) -> tuple[Callable[[str], Any], str | None, pa.DataType]:
    """The parser of a text, a pattern of the texts that Arrow's cast reads alike, and the Arrow type."""
    if isinstance(wanted, spark.IntegralType):
        bits = {"byte": 8, "short": 16, "integer": 32, "long": 64}[wanted.typeName()]
        return lambda text: _integer(text, bits), r"-?[0-9]{1,18}", getattr(pa, f"int{bits}")()
    if isinstance(wanted, spark.FloatType | spark.DoubleType):
        special = {
            reader.get("nanvalue", "NaN"): float("nan"),
            reader.get("positiveinf", "Inf"): float("inf"),
            reader.get("negativeinf", "-Inf"): float("-inf"),
        }
        arrow = pa.float64() if isinstance(wanted, spark.DoubleType) else pa.float32()
        return lambda text: special[text] if text in special else _float(text), r"-?[0-9]+(\.[0-9]+)?", arrow
    if isinstance(wanted, spark.BooleanType):
        return lambda text: {"true": True, "false": False}.get(text.lower()), "true|false", pa.bool_()
    if isinstance(wanted, spark.DecimalType):
        arrow = pa.decimal128(wanted.precision, wanted.scale)
        return lambda text: _decimal(text, wanted), r"-?[0-9]+(\.[0-9]+)?", arrow
    day = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    if isinstance(wanted, spark.DateType):
        pattern = reader.get("dateformat")
        return date_parser(pattern), day if pattern is None else None, pa.date32()
    if isinstance(wanted, spark.TimestampType | spark.TimestampNTZType):
        local = isinstance(wanted, spark.TimestampNTZType)
        pattern = reader.get("timestampntzformat" if local else "timestampformat")
        plain = day + r"[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?" + ("" if local else "Z")
        parse = timestamp_parser(pattern, reader.get("timezone", "UTC"), ntz=local)
        return parse, plain if pattern is None else None, pa.timestamp("us", None if local else "UTC")
    raise ConfigurationError(
        f"values of type {wanted.simpleString()} cannot be read from text",
        next_command="read it as a string and convert it in a later step; a record of CSV or XML as a whole is a "
        "VARIANT with singleVariantColumn",
    )


def _integer(text: str, bits: int) -> int | None:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        return None
    value = int(text)
    return value if -(1 << bits - 1) <= value < 1 << bits - 1 else None


def _float(text: str) -> float | None:
    stripped = text.strip("".join(map(chr, range(33))))
    return (
        float(stripped.rstrip("fFdD") if stripped[-1:] in "fFdD" else stripped) if _FLOAT.fullmatch(stripped) else None
    )


def _decimal(text: str, wanted: spark.DecimalType) -> Decimal | None:
    if not DECIMAL.fullmatch(bare := text.replace(",", "")):
        return None
    value = Decimal(bare).quantize(Decimal(1).scaleb(-wanted.scale), ROUND_HALF_UP, Context(prec=100))
    return value if abs(value) < Decimal(10) ** (wanted.precision - wanted.scale) else None

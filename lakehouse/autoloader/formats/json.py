"""JSON into Arrow: pyarrow's reader where it provably gives what Spark gives, Spark's rules in Python elsewhere.

Differences from Spark's own reader, all intended:

- *trailing text*: what follows the document of a line goes to the corrupt record or rescued column; Spark drops it.
- *malformed*: a line that is no JSON gives no value at all; Spark can keep fields it met before the fault.
- *bytes that are no UTF-8* are replaced in the record's text, and never become characters as Jackson's lenient
  decoder lets some (``C0 80``, ``F4 90 80 80``).
- *unsigned bytes*: 128 to 255 do not fit a TINYINT; Jackson wraps them to negative numbers.
- *long numbers*: Jackson refuses numbers of more than 1,000 digits; the fast path reads such a DOUBLE.
- *long strings and names*: Jackson's limits of 20,000,000 and 50,000 characters are not applied.
- *duplicate keys of a map*: the last is kept; Spark's map has both.
- *times*: years after 9999, times of day without a date, time zones of three letters but for a few, and seconds
  since 1970 beyond what a timestamp holds are mismatches; Spark wraps the last into other times.
- *base64*: other text in a BINARY column is a mismatch of that column; Spark loses the row's other values.
- *deep nesting*: what is nested more than 30 levels deep is inferred as STRING, because a client of Spark Connect
  cannot read a schema much deeper. In the rescued column values of some hundred levels are a string of their text.
- *names*: columns whose names differ only by case are inferred as one column; Spark refuses the files. See
  ``evolve.possible``.
- *inference*: with prefersDecimal, numbers that are not finite or have a positive exponent are DOUBLE; Spark ignores
  the record or fails. What is no timestamp here, as a year after 9999, is a string.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from pyspark.sql import types as T  # noqa: N812

from lakehouse.autoloader.formats.encoding import refuse_wide
from lakehouse.autoloader.formats.format import is_true
from lakehouse.autoloader.formats.json_fast import FastReader
from lakehouse.autoloader.formats.json_infer import infer_json
from lakehouse.autoloader.formats.json_rows import Part, RowReader, in_order
from lakehouse.autoloader.formats.rows import PathAt, Rows

__all__ = ["infer_json", "parse_json_lines"]

_SMALL = 64 * 200
_FAN_OUT = 16
_FEW_OBJECTS = 64 * 1024  # Python's garbage collector takes longer than the parsing when more rows are in memory


def parse_json_lines(
    data: bytes,
    schema: T.StructType,
    *,
    reader: Mapping[str, str],
    path_at: PathAt,
    corrupt_column: str | None = None,
    rescued_column: str | None = None,
) -> Rows:
    """Parses lines of JSON, or with the reader option ``multiline`` one document.

    Args:
        data: Whole lines; the last newline may be missing.
        schema: The columns to return.
        reader: Options of Spark's JSON reader, keys in lower case.
        path_at: The file that a line of ``data`` comes from.
        corrupt_column: The column of ``schema`` that takes the text of records that are malformed or, without a
            rescued column, have values of a wrong type.
        rescued_column: The column of ``schema`` that takes, as a JSON object, what the other columns do not show.

    Raises:
        ConfigurationError: A type or an option is not supported.
        BadFile: In the mode FAILFAST a record is malformed; or the one document is in UTF-16 or UTF-32.
    """
    rows = RowReader(schema, reader, path_at, corrupt_column, rescued_column)
    if is_true(reader, "multiline"):
        refuse_wide(data, path_at(0))
        rows.document(data, 0)
        table, records = rows.take()
        return Rows(table, records, frozenset(rows.new_fields), rows.bad())
    data = data.replace(b"\r\n", b"\n") if b"\r" in data else data
    data = data.removesuffix(b"\r")
    fast = FastReader(schema, reader, corrupt_column, rescued_column)
    parts = [part for part in _parts(data, 0, fast, rows) if part[0].num_rows] or [rows.take()]
    table = pa.concat_tables([part for part, _ in parts]) if len(parts) > 1 else parts[0][0]
    records = np.concatenate([numbers for _, numbers in parts])
    return Rows(table, records, frozenset(rows.new_fields | fast.new_fields), rows.bad())


def _parts(data: bytes, line: int, fast: FastReader, rows: RowReader) -> Iterator[Part]:
    """Reads ``data`` in parts as large as possible, each by the fast path where that may read it."""
    read = fast.read(data, line)
    if read is not None and len(read[2]) < read[0].num_rows:
        table, records, again = read
        if len(again):
            lines = data.split(b"\n")
            for number in again.tolist():
                rows.document(lines[number], line + number)
            kept = np.delete(np.arange(len(records)), again)
            table, records = in_order([(table.take(kept), records[kept]), rows.take()])
        yield table, records
        return
    if read is None and (part := _without_misfits(data, line, fast, rows)):
        yield part
        return
    size = max(len(data) // _FAN_OUT, _SMALL)
    if read is not None or data.find(b"\n", size) < 0 or not fast.worth_trying(data):
        yield from (rows.read(piece, first) for piece, first in _pieces(data, line, _FEW_OBJECTS))
        return
    for piece, first in _pieces(data, line, size):
        yield from _parts(piece, first, fast, rows)


def _without_misfits(data: bytes, line: int, fast: FastReader, rows: RowReader) -> Part | None:
    """Reads a part in which few lines do not fit: these by Spark's rules, the others by the fast path."""
    if not (misfits := fast.misfits(data)):
        return None
    lines = data.removesuffix(b"\n").split(b"\n")
    kept = np.delete(np.arange(len(lines)), misfits)
    read = fast.read(b"\n".join([lines[number] for number in kept.tolist()]), 0)
    if read is None:
        return None
    table, _, again = read
    for number in sorted([*misfits, *kept[again].tolist()]):
        rows.document(lines[number], line + number)
    fine = np.delete(np.arange(len(kept)), again)
    return in_order([(table.take(fine), line + kept[fine]), rows.take()])


def _pieces(data: bytes, line: int, size: int) -> Iterator[tuple[bytes, int]]:
    """Pieces of at least ``size`` bytes that end with a line, and the number of their first line."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + size)
        end = len(data) if end < 0 else end
        yield data[start:end], line
        line += data.count(b"\n", start, end) + 1
        start = end + 1

"""``lakehouse sql``: a query over the lake's tables, answered without Spark."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.output import Json, Output, command
from lakehouse.errors import ConfigurationError
from lakehouse.python_values import listed

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN_ROWS, _JSON_ROWS = 100, 10_000


def sql(
    query: Annotated[str, typer.Argument(help='"SELECT ... FROM bronze.orders"; - reads it from standard input')],
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"rows; 0: all; default: {_SHOWN_ROWS}, with --json {_JSON_ROWS:,}, with --csv all"),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="print comma-separated values with a header")] = False,
    as_json: bool = Json,
) -> None:
    """Ask the tables of the lake in SQL. DuckDB answers, without Spark; nothing can be written."""
    from lakehouse.extras import require
    from lakehouse.lake import Lake
    from lakehouse.sql_query import rows_of_query

    with command(as_json) as out:
        if as_csv and as_json:
            raise ConfigurationError(
                "--csv and --json exclude each other",
                where="lakehouse sql",
                state="nothing was read",
                next_command="leave one of them out",
            )
        require("sql", "lakehouse sql")
        text = sys.stdin.read() if query == "-" else query
        lake = Lake.open(say=out.say)
        with rows_of_query(lake, text) as rows:
            if as_csv:
                _print_csv(rows, limit or None)
                return
            most = _JSON_ROWS if as_json else _SHOWN_ROWS
            _show(out, rows, most if limit is None else limit or None)


def _show(out: Output, rows: pa.RecordBatchReader, most: int | None) -> None:
    names = _different(rows.schema.names)
    found: list[list[Any]] = []
    more = False
    for batch in rows:
        columns = [listed(column, maps_as_dicts=True) for column in batch.columns]
        found += [list(row) for row in zip(*columns, strict=True)]
        if most is not None and len(found) > most:
            more = True
            del found[most:]
            break
    _print(out, names, [[_cell(value) for value in row] for row in found])
    if more:
        out.line(f"the first {most:,} rows; --limit shows more")
    types = [str(field.type) for field in rows.schema]
    out.result({"columns": [{"name": name, "type": kind} for name, kind in zip(names, types, strict=True)]})
    plain = [dict(zip(names, map(_plain, row), strict=True)) for row in found]
    out.result({"rows": plain, "truncated": more})


def _print(out: Output, names: list[str], rows: list[list[Any]]) -> None:
    """Prints each row on a line, or as a block of lines where a line would be too long."""
    widths = [max(len(f"{cell}") for cell in column) for column in zip(names, *rows, strict=True)]
    if sum(widths) + 2 * len(widths) <= out.width:
        out.table(names, rows)
        return
    wide = max(map(len, names), default=0)
    for number, row in enumerate(rows, 1):
        out.line(f"row {number:,}", style="bold")
        for name, value in zip(names, row, strict=True):
            out.line(f"  {name:{wide}}  {'-' if value is None else value}")


def _different(names: list[str]) -> list[str]:
    """Names of columns, each once: ``x``, ``x_2``."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return made


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int | float | str):
        return value
    return str(_plain(value)) if not isinstance(value, dict | list) else _as_text(value)


def _plain(value: Any) -> Any:
    """As JSON has it: decimals, times and bytes as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if value is None or isinstance(value, int | str):
        return value
    return str(value)


def _as_text(value: Any) -> str:
    import json

    return json.dumps(_plain(value), ensure_ascii=False)


def _print_csv(rows: pa.RecordBatchReader, most: int | None) -> None:
    """Prints batch after batch: memory does not grow with the number of rows."""
    import pyarrow as pa
    from pyarrow import csv

    left = most
    schema = pa.schema(
        [(name, _csv_type(field.type)) for name, field in zip(rows.schema.names, rows.schema, strict=True)]
    )
    try:
        with csv.CSVWriter(sys.stdout.buffer, schema) as writer:
            for batch in rows:
                part = batch if left is None else batch.slice(0, left)
                writer.write_batch(pa.RecordBatch.from_arrays(list(map(_csv_column, part.columns)), schema=schema))
                if left is not None:
                    left -= part.num_rows
                    if left <= 0:
                        break
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough: head, for example
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _csv_type(type_: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    simple = pa.types.is_primitive(type_) and not pa.types.is_interval(type_)
    return type_ if simple or pa.types.is_decimal(type_) or pa.types.is_string(type_) else pa.string()


def _csv_column(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    if _csv_type(column.type) == column.type:
        return column
    if pa.types.is_large_string(column.type):
        return column.cast(pa.string())
    written = _as_text if pa.types.is_nested(column.type) else lambda value: str(_plain(value))
    values = listed(column, maps_as_dicts=True)
    return pa.array([None if value is None else written(value) for value in values], pa.string())

"""The tables of ``docs/options.md`` that say what becomes of every documented name: made of the tables of the code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.options.elsewhere import ALIASES, DATABRICKS_OPTIONS, OF_FORMATS, SPARK_OPTIONS
from lakehouse.autoloader.options.names import READER_OPTIONS
from lakehouse.autoloader.options.parse import OPTIONS
from lakehouse.autoloader.options.verdict import SUPPORTED, Elsewhere

BEGIN, END = "<!-- verdicts: made by the code -->", "<!-- end of verdicts -->"
"""Lines of the document between which the tables stand."""

EVERY = "every format"
_SUPPORTED = {
    "delimiter": "as `sep`",
    "charset": "as `encoding`",
    "lineSep": "the usual ends of lines; for `text` any",
    "locale": "`en-US`, and other English ones",
    "unescapedQuoteHandling": "`STOP_AT_DELIMITER`",
    "headerRows": "`0` or `1`",
    "maxWorkbookBytes": "ours, `512m` if not given: what a workbook may take in memory",
    "operation": "`readSheet` or `listSheets`",
    "cloudFiles.roleArn": "taken on for the files of the load path, on Amazon's store or with `cloudFiles.stsEndpoint`",
    "rowTag": "required",
    "rowValidationXSDPath": "a path of the driver and all workers; needs the extra `[xml]`",
    "recursiveFileLookup": "folders are always read with all that is below them",
}

Row = tuple[str, str, str]
"""A name, its verdict, and why or what to use."""


def verdicts() -> dict[str, tuple[Row, ...]]:
    """Every name that is known, by the format whose reader has it."""
    ours = [(option.name, SUPPORTED, _SUPPORTED.get(option.name, "")) for option in OPTIONS]
    second = [(alias, SUPPORTED, f"as `{first}`") for alias, first in ALIASES.items()]
    found: dict[str, Iterable[Row]] = {
        EVERY: [*ours, *second, *_rows(DATABRICKS_OPTIONS.values()), *_rows(SPARK_OPTIONS.values())]
    }
    for format_ in FORMATS:
        lower = format_.name.lower()
        own = [(name, SUPPORTED, _SUPPORTED.get(name, "")) for name in READER_OPTIONS[lower]]
        found[format_.name] = [*own, *_rows(OF_FORMATS.get(lower, {}).values())]
    return {name: tuple(rows) for name, rows in found.items()}


def _rows(options: Iterable[Elsewhere]) -> Iterator[Row]:
    for option in options:
        yield option.name, option.verdict, option.why


def tables() -> str:
    """The tables, as the document has them."""
    parts = []
    for format_, rows in verdicts().items():
        title = "Options of every format" if format_ == EVERY else f"Options of the reader of `{format_}`"
        lines = [f"### {title}", "", "| option | what becomes of it | why, or what to use |", "|---|---|---|"]
        lines += [f"| `{name}` | {verdict} | {why.replace('|', chr(92) + '|') or '—'} |" for name, verdict, why in rows]
        parts.append("\n".join(lines if rows else [lines[0], "", "None."]))
    return "\n\n".join(parts)

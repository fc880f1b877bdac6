"""What tables of files ask of their source: options that exist, and files that nobody else removes."""

from __future__ import annotations

import re
from itertools import combinations

from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.lineage import RESCUED_DATA
from lakehouse.autoloader.options.parse import UNKNOWN, CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath, split_uri
from lakehouse.declaration.models import line_of
from lakehouse.declaration.problems import Problems
from lakehouse.declaration.tables import Drafts
from lakehouse.declaration.values import Lines
from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.settings import Settings
from lakehouse.table import Catalogue, Table

_CLEAN = "cloudFiles.cleanSource"
_MODE = "cloudFiles.schemaEvolutionMode"
_GROWING = ("addNewColumns", "addNewColumnsWithTypeWidening", "inline")
_WILD = re.compile(r"[*?\[{\\]")


def check_options(drafts: Drafts, settings: Settings, problems: Problems) -> None:
    """Notes what is wrong with the options of tables of files."""
    fine: list[tuple[Table, Files, CloudFilesOptions]] = []
    for table in drafts.tables:
        if not isinstance(table.flow, Files):
            continue
        lines = drafts.lines[table.name]
        if table.flow.source == "spark":
            for name in table.flow.options:
                if name.lower().startswith("cloudfiles."):
                    line = line_of(lines, ("files", "options", name))
                    problems.add(line, f"{name} in {table.name} needs source: cloudFiles, and source is spark")
            continue
        try:
            options = table.flow.cloud_files(settings, table.name)
        except ConfigurationError as error:
            for sentence in error.what.splitlines():
                problems.add(_option_line(sentence, table.flow, lines), f"{table.name}: {sentence.rstrip('.')}")
        else:
            fine.append((table, table.flow, options))
            for note in options.notes:
                if UNKNOWN in note:  # Spark's readers take any name without a word; a declaration is held to its words
                    problems.add(_option_line(note, table.flow, lines), f"{table.name}: {note.rstrip('.')}")
            if table.flow.columns is not None and options.schema_evolution_mode in _GROWING:
                line = line_of(lines, ("files", "options", _written(table.flow, _MODE)))
                reason = f"{_MODE} {options.schema_evolution_mode} cannot change a given schema"
                problems.add(line, f"{table.name}: {reason}: give hints in place of schema, or take another mode")
            _check_rescue(table, table.flow, options, lines, problems)
    for left, right in combinations(fine, 2):
        _check_pair(left, right, drafts, problems)


def _check_rescue(table: Table, flow: Files, options: CloudFilesOptions, lines: Lines, problems: Problems) -> None:
    """Notes a given schema without the column for what is to be rescued. A column that an option names is added."""
    if flow.columns is None or options.rescued_data_column or options.schema_evolution_mode != "rescue":
        return
    if RESCUED_DATA not in flow.expected and FORMATS[options.format].has_fields:
        reason = f"{table.name}: what does not fit would be lost: add {RESCUED_DATA} STRING to the schema"
        problems.add(line_of(lines, ("files", "schema")), reason)


def notes_of_options(settings: Settings, catalogue: Catalogue) -> list[str]:
    """What people are told about options of a valid declaration that are accepted and without effect."""
    return [
        f"{table.name} (line {table.line}): {note}"
        for table in catalogue
        if isinstance(table.flow, Files) and table.flow.source == "cloudFiles"
        for note in table.flow.cloud_files(settings, table.name).notes
    ]


_KEYS = {"path": "path", "cloudFiles.format": "format", "cloudFiles.schemaHints": "hints", "pathGlobFilter": "glob"}


def _option_line(sentence: str, flow: Files, lines: Lines) -> int:
    """The line of the option that a sentence is about: the longest name that stands in it."""
    written = [name for name in flow.options if name.lower() in sentence.lower()]
    if written:
        return line_of(lines, ("files", "options", max(written, key=len)))
    key = next((key for name, key in _KEYS.items() if sentence.startswith(f"{name} ")), "path")
    return line_of(lines, ("files", key))


def _written(flow: Files, option: str) -> str:
    """The name of an option as it is written, in whatever case."""
    return next((name for name in flow.options if name.lower() == option.lower()), option)


def _check_pair(
    left: tuple[Table, Files, CloudFilesOptions],
    right: tuple[Table, Files, CloudFilesOptions],
    drafts: Drafts,
    problems: Problems,
) -> None:
    """Notes two tables of the same files, when one of them removes files that the other may not have read."""
    for (table, flow, options), (reader, reads, _) in ((left, right), (right, left)):
        if options.clean_source == "OFF" or not _share_files(flow, reads):
            continue
        reason = f"{table.name} removes files from {flow.path} ({_CLEAN} {options.clean_source})"
        line = line_of(drafts.lines[table.name], ("files", "options", _written(flow, _CLEAN)))
        problems.add(line, f"{reason}, and {reader.name} (line {reader.line}) reads the same files: it would miss some")
        return


def _share_files(left: Files, right: Files) -> bool:
    """Whether two tables may read a common file, as far as can be told from where their paths begin."""
    first, second = SourcePath.parse(left.path), SourcePath.parse(right.path)
    if first.bucket != second.bucket or _differ(left.glob, right.glob):
        return False
    return _fits([_beginning(first, left.path), _beginning(second, right.path)], str.startswith)


def _beginning(source: SourcePath, path: str) -> str:
    """The part of all its keys that is fixed."""
    pattern = split_uri(path)[1]
    found = _WILD.search(pattern)
    return pattern[: found.start()] if found else source.root


def _differ(left: str | None, right: str | None) -> bool:
    """Whether no name can match both patterns, as far as their ends tell."""
    if left is None or right is None:
        return False
    begins = [_WILD.split(pattern)[0] for pattern in (left, right)]
    ends = [re.split(r"[*?\]}\\]", pattern)[-1] for pattern in (left, right)]
    return not (_fits(begins, str.startswith) and _fits(ends, str.endswith))


def _fits(parts: list[str], test: object) -> bool:
    first, second = parts
    assert callable(test)
    return bool(test(first, second) or test(second, first))

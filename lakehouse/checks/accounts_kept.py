"""In which windows the rows of each data file of a source are: kept, so that a check of windows reads what is new."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.checks.kept import compared
from lakehouse.counting.state import State, read_state, write_state
from lakehouse.table import At

if TYPE_CHECKING:
    from lakehouse.counting.data_files import DataFiles

_NAME, _DEFINITION, _TOO_MANY = "accounts", "definition", "too_many"
PATH, ROWS, PROBLEMS = "path", "source_rows", "problems"
_MOST_KEPT = 2_000_000
"""More windows of data files than this are not kept: to read them takes as long as to read rows."""

Count = Callable[[Sequence[str]], Iterator[tuple[str, pa.Table, int]]]
"""From paths of data files to their rows: of each batch the path, its windows with ``source_rows``, its problems."""


@dataclass(frozen=True)
class FileWindows:
    """The rows of some data files by their windows.

    Attributes:
        table: ``path``, columns that name a window, ``source_rows``, ``problems``: how many rows of the file are not
            believed. Those stand in a line of their own, without a window, which each file has.
    """

    table: pa.Table

    @property
    def paths(self) -> set[str]:
        """The files."""
        return set(self.table[PATH].unique().to_pylist())

    @property
    def windows(self) -> pa.Table:
        """The lines of windows, without ``path`` and ``problems``."""
        return self.table.filter(pc.is_null(self.table[PROBLEMS])).drop_columns([PATH, PROBLEMS])

    @property
    def problems(self) -> int:
        """Rows that are not believed."""
        return int(pc.sum(self.table[PROBLEMS]).as_py() or 0)

    @property
    def together(self) -> pa.Table:
        """Each window once, with the rows of all files, in the order of the windows."""
        lines = self.windows
        names = [name for name in lines.column_names if name != ROWS]
        found = lines.group_by(names).aggregate([(ROWS, "sum")]).select([*names, f"{ROWS}_sum"])
        return found.sort_by([(name, "ascending") for name in names]).combine_chunks()

    def of(self, paths: Sequence[str]) -> FileWindows:
        """Those of some files."""
        return FileWindows(self.table.filter(pc.is_in(self.table[PATH], pa.array(paths, pa.string()))))


class KeptWindows:
    """What was counted of the data files of a source, for one table of windows.

    Args:
        at: The table of windows.
        source: The source's data files.
        definition: By what rows are judged and put into windows: what was kept by another one does not count.
        windows: The columns that name a window, with their types.

    Attributes:
        too_many: Whether nothing is kept because it would be too much.
    """

    def __init__(self, at: At, source: DataFiles, definition: str, windows: pa.Schema) -> None:
        self._at, self._source, self._definition = at, source, definition
        counts = [pa.field(ROWS, pa.int64()), pa.field(PROBLEMS, pa.int64())]
        self._schema = pa.schema([pa.field(PATH, pa.string()), *windows, *counts])
        self._state = read_state(at.lake, at.table.name, _NAME, source.table_id)
        same = self._state.manifest.get(_DEFINITION) == definition
        ours = same and self._state.files.schema.remove_metadata().equals(self._schema)
        self._kept = FileWindows(self._state.files if ours else self._schema.empty_table())
        self.too_many = same and bool(self._state.manifest.get(_TOO_MANY))

    def unknown(self, paths: Sequence[str]) -> list[str]:
        """Files of which nothing is kept."""
        there = self._kept.paths
        return [path for path in paths if path not in there]

    def of(self, paths: Sequence[str], count: Count) -> FileWindows:
        """The rows of some files by their windows. What is new is kept; a full check counts all, and compares."""
        new, kept = self.unknown(paths), self._kept.of(paths)
        found = FileWindows(pa.concat_tables([kept.table, self._counted(new, count).table]))
        differs = False
        if self._at.full and len(new) < len(paths):
            before, found = found, self._counted(paths, count)
            differs = not self._same(before, found)
        if new or differs or kept.table.num_rows < self._kept.table.num_rows:
            self._keep(found)
        return found

    def _counted(self, paths: Sequence[str], count: Count) -> FileWindows:
        problems, tables = dict.fromkeys(paths, 0), [self._schema.empty_table()]
        for path, windows, wrong in count(paths):
            problems[path] += wrong
            columns = {
                PATH: pa.repeat(pa.scalar(path, pa.string()), windows.num_rows),
                **{name: windows[name] for name in windows.column_names},
                PROBLEMS: pa.nulls(windows.num_rows, pa.int64()),
            }
            tables.append(pa.table([columns[name] for name in self._schema.names], self._schema))
        lines = {PATH: list(problems), ROWS: [0] * len(problems), PROBLEMS: list(problems.values())}
        nothing = [None] * len(problems)
        tables.append(pa.table([lines.get(name, nothing) for name in self._schema.names], self._schema))
        return FileWindows(pa.concat_tables(tables))

    def _same(self, kept: FileWindows, counted: FileWindows) -> bool:
        def told(windows: pa.Table, problems: int) -> str:
            rows = pc.sum(windows[ROWS + "_sum"]).as_py() or 0
            return f"{rows} rows in {windows.num_rows} windows, {problems} not believed"

        before, now = kept.together, counted.together
        texts = [told(before, kept.problems), told(now, counted.problems)]
        if not before.equals(now) and texts[0] == texts[1]:
            texts[0] += ", in other windows"
        return compared(self._at, f"rows of {self._source.uri} by window", *texts)

    def _keep(self, found: FileWindows) -> None:
        too_many = found.table.num_rows > _MOST_KEPT
        table = self._schema.empty_table() if too_many else found.table
        manifest = {_DEFINITION: self._definition, _TOO_MANY: too_many}
        state = State(table, manifest, self._state.e_tag)
        write_state(self._at.lake, self._at.table.name, _NAME, self._source.table_id, state)

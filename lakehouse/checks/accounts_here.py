"""The comparison of ``accounts_for_rows`` without Spark: Arrow puts the source's rows into their windows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lakehouse.autoloader.lineage import CORRUPT_RECORD, PROCESSING_TIME, RESCUED_DATA, SEQUENCE
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.flows.judged import EVENT_TIME
from lakehouse.flows.windows import Windows
from lakehouse.python_values import listed
from lakehouse.table import At

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from lakehouse.checkpoints.agreement import PlannedBatch
    from lakehouse.counting.data_files import DataFiles

_MOST_ROWS, _MOST_NEW_ROWS = 1_000_000, 20_000_000
"""Rows of table and quarantine that are read each time, and rows of the source of which nothing is kept yet. A million
takes two seconds."""
_START, _END = "window_start", "window_end"
_SOURCE, _COUNTED, _LATE, _LINES = COUNTS = "source_rows", "counted_rows", "late_rows", "lines"


@dataclass(frozen=True)
class Rule:
    """What makes a window wrong, beside two lines of it.

    Attributes:
        exact: It has to count what the source has; else it may count less.
        keeps: It may count more, of rows that the source has lost.
        closed_upto_milliseconds: Only windows that end until then are compared; None for all.
    """

    exact: bool
    keeps: bool
    closed_upto_milliseconds: int | None

    @property
    def relation(self) -> str | None:
        """How rows that are counted or late relate to those of the source, ``<``, ``>`` or ``<>``; None for anyhow."""
        if self.keeps:
            return "<" if self.exact else None
        return "<>" if self.exact else ">"


@dataclass(frozen=True)
class Accounts:
    """What the comparison found.

    Attributes:
        windows: Windows that were compared: those of the source, the table and its late rows.
        source_rows: Rows of the source in them; a row is in several where windows overlap.
        counted_rows: Rows that the table counts in them.
        late_rows: Rows in quarantine that came too late for them, and wait.
        problems: Rows of the source that are not believed.
        set_aside: Rows in quarantine for another reason than that they came late.
        sample: Some wrong windows, with ``COUNTS``; none when nothing is wrong.
    """

    windows: int
    source_rows: int
    counted_rows: int
    late_rows: int
    problems: int
    set_aside: int
    sample: tuple[dict[str, Any], ...]


def accounts_here(at: At, flow: Windows, rule: Rule, last: PlannedBatch | None) -> Accounts | None:
    """Compares the table and its quarantine with what its stream has read; None when Spark has to.

    Args:
        at: The table.
        flow: Its flow.
        rule: What makes a window wrong.
        last: The last batch of its stream.

    Raises:
        DataFileMissing, StoreUnavailable: rows cannot be read.
    """
    from lakehouse.counting.data_files import DataFiles, OnlySpark

    lake, table = at.lake, at.table.name
    if flow.length is None:  # of a session the rows decide
        return None
    try:
        source, target = DataFiles.of(lake, flow.of), DataFiles.of(lake, table)
        kept = DataFiles.at(lake, lake.settings.quarantine_uri(table), f"the quarantine of {table}")
        if source is None or target is None:
            return None
        if target.about_rows + (kept.about_rows if kept else 0) > _MOST_ROWS:
            return None
        return _Comparison(at, flow, rule, last, source).with_sides(target, kept)
    except OnlySpark:
        return None


class _Comparison:
    def __init__(self, at: At, flow: Windows, rule: Rule, last: PlannedBatch | None, source: DataFiles) -> None:
        import pyarrow as pa

        from lakehouse.direct.versions import Versions

        assert flow.length is not None
        self._at, self._flow, self._rule, self._last, self._source = at, flow, rule, last, source
        self._length, self._slide = _microseconds(flow.length), _microseconds(flow.slide or flow.length)
        self._keys = [_spelled(source.schema, key) for key in flow.keys]
        believed = flow.believed(at.catalogue)
        assert believed.when is not None
        schema = source.schema
        if EVENT_TIME in map(str.lower, schema.names):
            raise _only_spark(f"{flow.of} has a column {EVENT_TIME} of its own")
        if not believed.refuse:  # else any column may decide
            time = _spelled(schema, believed.when.column)
            read = {*self._keys, time, PROCESSING_TIME, RESCUED_DATA, CORRUPT_RECORD}
            schema = pa.schema([column for column in schema if column.name in read])
        self._rows = Versions(schema, believed, frozenset(self._keys))
        self._types: list[pa.DataType] = []
        self._sides: list[pa.Table] = []

    def with_sides(self, target: DataFiles, kept: DataFiles | None) -> Accounts:
        import pyarrow as pa
        import pyarrow.compute as pc

        from lakehouse.streams.set_aside import kept_name

        start, end = _spelled(target.schema, _START), _spelled(target.schema, _END)
        keys = [_spelled(target.schema, key) for key in self._flow.keys]
        self._types = [target.schema.field(key).type for key in keys]
        if any(map(pa.types.is_nested, self._types)):
            raise _only_spark("a key has parts")
        counted = _spelled(target.schema, self._flow.counted_column)
        for _, rows in target.batches(list(target.sizes), list(dict.fromkeys((start, end, *keys, counted)))):
            columns = [rows.column(name) for name in (start, end, *keys)]
            self._add(columns, {_COUNTED: pc.fill_null(rows.column(counted).cast(pa.int64()), 0), _LINES: 1})
        problems = self._add_source()
        set_aside = 0
        if kept is not None:
            keys = [_spelled(kept.schema, kept_name(key)) for key in self._flow.keys]
            set_aside = self._add_quarantine(kept, keys)
        return self._result(problems, set_aside)

    def _add_source(self) -> int:
        """Adds the rows that are believed; returns how many are not."""
        if self._last is None:
            return 0
        offset, problems = self._last.offset, 0
        of_files = "seq" in offset  # the stream reads the files themselves: of a data file perhaps a part
        if of_files or PROCESSING_TIME not in self._source.schema.names:  # or what is believed depends on the day
            paths = list(self._source.sizes) if of_files else self._read_files(offset)
            self._require_few(paths, _MOST_ROWS)
            for _, windows, wrong in self._counted(paths, upto=offset.get("seq")):
                self._sides.append(_as_sides(windows))
                problems += wrong
            return problems
        from lakehouse.checks.accounts_kept import KeptWindows

        paths = self._read_files(offset)
        kept = KeptWindows(self._at, self._source, self._definition, self._names)
        self._require_few(kept.unknown(paths), _MOST_ROWS if kept.too_many else _MOST_NEW_ROWS)
        found = kept.of(paths, self._counted)
        self._sides.append(_as_sides(found.windows))
        return found.problems

    def _read_files(self, offset: dict[str, Any]) -> list[str]:
        """Paths of the data files that the stream has read."""
        from lakehouse.checkpoints.delta_offsets import Place, files_between

        folder = self._source.uri.rstrip("/") + "/"
        return [uri.removeprefix(folder) for uri in files_between(self._at.lake, self._flow.of, None, Place.of(offset))]

    def _require_few(self, paths: Sequence[str], most: int) -> None:
        """Makes sure that so many rows of the source are read, by the log, without Spark.

        Raises:
            OnlySpark: they are more.
        """
        sizes = self._source.sizes
        share = len(paths) / len(sizes) if sizes else 0
        if self._source.about_rows * share > most:
            raise _only_spark(f"{self._flow.of} has more rows than are read at once")

    def _counted(self, paths: Sequence[str], upto: int | None = None) -> Iterator[tuple[str, pa.Table, int]]:
        """Of each batch of rows its data file, its windows with ``source_rows``, and how many are not believed.

        Args:
            paths: Of data files.
            upto: Number of the last source file that is read; None for all.
        """
        import pyarrow as pa

        columns = self._rows.read
        if upto is not None:
            columns = list(dict.fromkeys((*columns, _spelled(self._source.schema, SEQUENCE))))
        for path, rows in self._source.batches(paths, columns):
            taken = rows if upto is None else _upto(rows, upto)
            good, windows = self._rows.of(taken), []
            for starts, inside in self._windows_of(good.column(EVENT_TIME)):
                within = good.filter(inside)
                named = [pa.array(starts), pa.array(starts + self._length), *map(within.column, self._keys)]
                windows.append(self._named(named, {_SOURCE: 1}))
            yield path, _summed(pa.concat_tables(windows), len(self._keys)), taken.num_rows - good.num_rows

    def _windows_of(self, times: pa.Array) -> Iterator[tuple[Any, pa.Array]]:
        """Starts of windows in microseconds, and which of the rows are in one of them: once for each that overlaps."""
        import pyarrow as pa

        at = times.cast(pa.int64()).to_numpy(zero_copy_only=False)
        newest = at - at % self._slide
        for number in range(-(-self._length // self._slide)):
            starts = newest - number * self._slide
            inside = at < starts + self._length
            yield starts[inside], pa.array(inside)

    def _add_quarantine(self, kept: DataFiles, keys: list[str]) -> int:
        """Adds the late rows that wait; returns how many rows are there for another reason."""
        import pyarrow.compute as pc

        from lakehouse.streams.set_aside import LATE

        others = 0
        columns = list(dict.fromkeys((_START, _END, *keys, "reason", "replayed_at")))
        for _, rows in kept.batches(list(kept.sizes), columns):
            is_late = pc.equal(rows.column("reason"), LATE)
            others += pc.sum(pc.invert(is_late)).as_py() or 0
            waiting = rows.filter(pc.and_(is_late, pc.is_null(rows.column("replayed_at"))))
            self._add([waiting.column(name) for name in (_START, _END, *keys)], {_LATE: 1})
        return others

    def _add(self, names: list[pa.Array], counts: dict[str, pa.Array | int]) -> None:
        """Adds rows of one side: their window, as times or microseconds, their keys, and what they count."""
        self._sides.append(_as_sides(_summed(self._named(names, counts), len(self._keys))))

    def _named(self, names: list[pa.Array], counts: dict[str, pa.Array | int]) -> pa.Table:
        """A line for each row: the microseconds of its window, its keys in the table's types, and what it counts."""
        import pyarrow as pa

        from lakehouse.counting.hashes import plain

        try:
            keys = [plain(values.cast(type_)) for values, type_ in zip(names[2:], self._types, strict=True)]
        except pa.ArrowException as error:
            raise _only_spark(str(error)) from error
        whole = [
            pa.repeat(pa.scalar(count, pa.int64()), len(names[0])) if isinstance(count, int) else count
            for count in counts.values()
        ]
        times = [values.cast(pa.int64()) for values in names[:2]]
        return pa.table([*times, *keys, *whole], [*self._names.names, *counts])

    @property
    def _names(self) -> pa.Schema:
        """What names a window: its start and end in microseconds, and its keys."""
        import pyarrow as pa

        keys = {_key(number): type_ for number, type_ in enumerate(self._types)}
        return pa.schema({_START: pa.int64(), _END: pa.int64(), **keys})

    @property
    def _definition(self) -> str:
        """What decides in which windows a row is."""
        believed, read = self._flow.believed(self._at.catalogue), {*self._rows.read}
        types = {field.name: str(field.type) for field in self._source.schema if field.name in read}
        windows = self._length, self._slide, self._keys, [str(type_) for type_ in self._types]
        return json.dumps([windows, types, asdict(believed)], default=str)

    def _result(self, problems: int, set_aside: int) -> Accounts:
        import pyarrow as pa
        import pyarrow.compute as pc

        found = _summed(pa.concat_tables(self._sides), len(self._flow.keys)) if self._sides else None
        if found is None:
            return Accounts(0, 0, 0, 0, problems, set_aside, ())
        if self._rule.closed_upto_milliseconds is not None:
            found = found.filter(pc.less_equal(found[_END], self._rule.closed_upto_milliseconds * 1000))
        wrong = pc.greater(found[_LINES], 1)
        accounted = pc.add(found[_COUNTED], found[_LATE])
        compare = {"<": pc.less, ">": pc.greater, "<>": pc.not_equal}.get(self._rule.relation or "")
        if compare is not None:
            wrong = pc.or_(wrong, compare(accounted, found[_SOURCE]))
        of_source, counted, late = (pc.sum(found[name]).as_py() or 0 for name in (_SOURCE, _COUNTED, _LATE))
        shown = found.filter(wrong).sort_by(_START).slice(0, SAMPLE_ROWS)
        return Accounts(found.num_rows, of_source, counted, late, problems, set_aside, self._shown(shown))

    def _shown(self, rows: pa.Table) -> tuple[dict[str, Any], ...]:
        import pyarrow as pa

        time = pa.timestamp("us", "UTC")
        names = {_START: rows[_START].cast(time), _END: rows[_END].cast(time)}
        names |= {key: rows[_key(number)] for number, key in enumerate(self._flow.keys)}
        names |= {name: rows[name] for name in COUNTS}
        return tuple(dict(zip(names, row, strict=True)) for row in zip(*map(listed, names.values()), strict=True))


def _summed(rows: pa.Table, keys: int) -> pa.Table:
    """One row for each window and keys, with the sums of the other columns; two NULLs are the same key."""
    names = [_START, _END, *map(_key, range(keys))]
    counts = [name for name in rows.column_names if name not in names]
    found = rows.group_by(names).aggregate([(name, "sum") for name in counts])
    return found.select([*names, *(f"{name}_sum" for name in counts)]).rename_columns([*names, *counts])


def _as_sides(rows: pa.Table) -> pa.Table:
    """The same with all of ``COUNTS``, where what is not there is zero."""
    import pyarrow as pa

    names = [name for name in rows.column_names if name not in COUNTS]
    nothing = pa.repeat(pa.scalar(0, pa.int64()), rows.num_rows)
    counts = [rows[name] if name in rows.column_names else nothing for name in COUNTS]
    return pa.table([*(rows[name] for name in names), *counts], [*names, *COUNTS])


def _key(number: int) -> str:
    return f"key {number}"


def _upto(rows: pa.RecordBatch, number: int) -> pa.RecordBatch:
    import pyarrow.compute as pc

    return rows.filter(pc.less_equal(rows.column(SEQUENCE), number))


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def _spelled(schema: pa.Schema, name: str) -> str:
    """The column of that name, as the schema spells it."""
    found = [column for column in schema.names if column.lower() == name.lower()]
    if len(found) != 1:
        raise _only_spark(f"there is no column {name}")
    return found[0]


def _only_spark(why: str) -> Exception:
    from lakehouse.counting.data_files import OnlySpark

    return OnlySpark(why)

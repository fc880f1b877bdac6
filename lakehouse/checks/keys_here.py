"""The comparison of ``keys`` without Spark: by Arrow, in parts of a million rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse.autoloader.lineage import FILE, RECORD
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.flows.judged import EVENT_TIME
from lakehouse.flows.latest import Latest
from lakehouse.python_values import listed, listed_rows
from lakehouse.table import At

if TYPE_CHECKING:
    import pyarrow as pa

    from lakehouse.counting.data_files import DataFiles

_ROWS_AT_ONCE = 1_000_000
_SENT, _KEPT, _PLACE = "_versions_", "_rows_", "_place_"


@dataclass(frozen=True)
class Keys:
    """What the comparison found.

    Attributes:
        in_source: Keys that the source has.
        rows_in_table: Rows of the table.
        wrong: Keys that the table has not once, or not as their latest version is.
        keyless: Valid rows of the source that have a NULL in the key.
        wrong_sample: Some wrong keys, with the places of both sides.
        keyless_sample: Some rows without a key.
    """

    in_source: int
    rows_in_table: int
    wrong: int
    keyless: int
    wrong_sample: tuple[dict[str, Any], ...]
    keyless_sample: tuple[dict[str, Any], ...]


def keys_here(at: At, flow: Latest) -> Keys | None:
    """Compares the table with what its stream has read; None when Spark has to, or is there and the tables are large.

    Raises:
        DataFileMissing, StoreUnavailable: rows cannot be read.
    """
    from lakehouse.counting.data_files import DataFiles, OnlySpark

    settings = at.lake.settings
    try:
        source, target = DataFiles.of(at.lake, flow.of), DataFiles.of(at.lake, at.table.name)
        if source is None or target is None:
            return None
        rows = source.about_rows + target.about_rows
        if flow.needs_spark(settings) and rows > _ROWS_AT_ONCE:
            return None
        return _Comparison(at, flow, source, target).result(-(-rows // _ROWS_AT_ONCE) or 1)
    except OnlySpark:
        return None


class _Comparison:
    def __init__(self, at: At, flow: Latest, source: DataFiles, target: DataFiles) -> None:
        from lakehouse.checkpoints import agreement as checkpoints
        from lakehouse.checkpoints.delta_offsets import Place, files_between
        from lakehouse.checkpoints.kept import kept_removals
        from lakehouse.direct.versions import Versions

        lake = at.lake
        self._source, self._target = source, target
        last = checkpoints.last_finished(lake, at.table.name)
        read = [] if last is None else files_between(lake, flow.of, None, Place.of(last.offset))
        folder = source.uri.rstrip("/") + "/"
        self._read = [uri.removeprefix(folder) for uri in read]
        self._keeps = bool(kept_removals(lake, at.table.name))
        names = source.schema.names
        spelled = {name.lower(): name for name in names}
        self._key = [spelled.get(name.lower(), name) for name in flow.key]
        self._order = [spelled.get(name.lower(), name) for name in flow.compared(names)]
        needed = frozenset((*self._key, *self._order))
        self._versions_of = Versions(source.schema, flow.believed(at.catalogue), needed)
        self._schema = self._versions_of.result
        self._fields = self._schema.names
        wanted = dict.fromkeys((FILE, RECORD, *self._key, *self._order, EVENT_TIME))
        self._keyless_columns = [column for column in wanted if column in self._fields]

    def result(self, parts: int) -> Keys:
        in_source = rows = wrong = keyless = 0
        wrong_sample: list[dict[str, Any]] = []
        keyless_sample: list[dict[str, Any]] = []
        for part in range(parts):
            versions, without = self._versions(part, parts)
            kept = self._kept(part, parts)
            found = self._compare(versions, kept)
            in_source, rows, wrong = in_source + found[0], rows + kept.num_rows, wrong + found[1]
            wrong_sample += found[2]
            if part == 0:
                keyless = without.num_rows
                keyless_sample = listed_rows(without.select(self._keyless_columns).slice(0, SAMPLE_ROWS))
        wrong_sample.sort(key=lambda row: [(row[name] is not None, str(row[name])) for name in self._key])
        return Keys(in_source, rows, wrong, keyless, tuple(wrong_sample[:SAMPLE_ROWS]), tuple(keyless_sample))

    def _versions(self, part: int, parts: int) -> tuple[pa.Table, pa.Table]:
        """The valid rows of the source with a key, and those without a key."""
        import pyarrow as pa
        import pyarrow.compute as pc

        named, unnamed = [], []
        for _, batch in self._source.batches(self._read, self._versions_of.read):
            good = self._versions_of.of(batch)
            mine, has_key = self._of_part(good, part, parts)
            named.append(good.filter(pc.and_(mine, has_key)))
            unnamed.append(good.filter(pc.invert(has_key)))
        return pa.Table.from_batches(named, self._schema), pa.Table.from_batches(unnamed, self._schema)

    def _kept(self, part: int, parts: int) -> pa.Table:
        """The table's rows with the columns of ``_versions``; a column that the table lacks is NULL."""
        import pyarrow as pa

        from lakehouse.counting.data_files import OnlySpark

        known = {name.lower(): name for name in self._target.schema.names}
        there = {name: known[name.lower()] for name in self._fields if name.lower() in known}
        found = []
        for _, batch in self._target.batches(list(self._target.sizes), list(there.values())):
            try:
                columns = [
                    batch.column(there[field.name]).cast(field.type)
                    if field.name in there
                    else pa.nulls(batch.num_rows, field.type)
                    for field in self._schema
                ]
            except pa.ArrowInvalid as error:
                raise OnlySpark(str(error)) from error
            rows = pa.RecordBatch.from_arrays(columns, schema=self._schema)
            found.append(rows.filter(self._of_part(rows, part, parts)[0]))
        return pa.Table.from_batches(found, self._schema)

    def _of_part(self, rows: pa.RecordBatch, part: int, parts: int) -> tuple[pa.BooleanArray, pa.BooleanArray]:
        """Which rows belong to this part, and which have a key; rows without a key belong to the first part."""
        import pyarrow as pa

        from lakehouse.counting.hashes import hashes_of

        hashes, there = hashes_of([rows.column(name) for name in self._key])
        return pa.array((hashes % parts == part) & there | ((~there) & (part == 0))), pa.array(there)

    def _compare(self, versions: pa.Table, kept: pa.Table) -> tuple[int, int, list[dict[str, Any]]]:
        """How many keys the source has, how many are wrong, and some wrong keys."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from lakehouse.counting.hashes import comparable

        sides = pa.concat_tables([versions, kept])
        if not sides.num_rows:
            return 0, 0, []
        places = _dense(sides, self._order)
        one, none = pa.scalar(1, pa.int64()), pa.scalar(0, pa.int64())
        sent = pa.concat_arrays([pa.repeat(one, versions.num_rows), pa.repeat(none, kept.num_rows)])
        counted = pa.table({str(number): comparable(sides[name]) for number, name in enumerate(self._fields)})
        keys = [str(self._fields.index(name)) for name in self._key]
        counted = counted.append_column(_PLACE, places).append_column(_SENT, sent)
        counted = counted.append_column(_KEPT, pc.subtract(1, sent))
        values = [*(str(number) for number in range(len(self._fields))), _PLACE]
        counted = counted.group_by(values).aggregate([(_SENT, "sum"), (_KEPT, "sum")])
        in_source, in_table = (pc.greater(counted[f"{name}_sum"], 0) for name in (_SENT, _KEPT))
        nothing = pa.scalar(None, pa.int64())
        by_key = pa.table(
            {
                **{name: counted[name] for name in keys},
                "sent": pc.if_else(in_source, counted[_PLACE], nothing),
                "kept": pc.if_else(in_table, counted[_PLACE], nothing),
                "both": pc.if_else(pc.and_(in_source, in_table), counted[_PLACE], nothing),
                "versions": counted[f"{_SENT}_sum"],
                "rows": counted[f"{_KEPT}_sum"],
            }
        )
        sums = [("sent", "max"), ("kept", "max"), ("both", "max"), ("versions", "sum"), ("rows", "sum")]
        of_keys = by_key.group_by(keys).aggregate(sums)
        same = pc.fill_null(pc.equal(of_keys["sent_max"], of_keys["both_max"]), False)
        # it keeps rows that were removed from the source: then it may have more keys, and later versions of them
        if self._keeps:
            later = pc.fill_null(pc.greater(of_keys["kept_max"], of_keys["sent_max"]), False)
            same = pc.or_(same, pc.or_(pc.is_null(of_keys["sent_max"]), later))
        right = pc.and_(same, pc.equal(of_keys["rows_sum"], 1))
        for name in keys:  # a row of the table without a key is wrong by itself
            right = pc.and_(right, pc.is_valid(of_keys[name]))
        wrong = of_keys.filter(pc.invert(right))
        shown = [self._shown(row, keys, sides, places) for row in listed_rows(wrong.slice(0, SAMPLE_ROWS))]
        return len(of_keys) - of_keys["sent_max"].null_count, wrong.num_rows, shown

    def _shown(self, row: dict[str, Any], keys: list[str], sides: pa.Table, places: pa.Array) -> dict[str, Any]:
        import pyarrow.compute as pc

        sample = {name: row[key] for name, key in zip(self._key, keys, strict=True)}
        sample |= {"versions": row["versions_sum"], "rows_in_table": row["rows_sum"]}
        for name in self._order:
            for side, where in (("sent_max", "in_source"), ("kept_max", "in_table")):
                at = -1 if row[side] is None else pc.index(places, row[side]).as_py()
                sample[f"{name}_{where}"] = None if at < 0 else listed(sides[name].slice(at, 1))[0]
        return sample


def _dense(rows: pa.Table, order: Sequence[str]) -> pa.Array:
    """The dense rank of each row by ``order``: the later, the higher; equal for rows that are equal by ``order``."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from lakehouse.direct.latest import comparable_order

    columns = comparable_order(rows, order)
    ranked = pc.sort_indices(columns, sort_keys=[(name, "ascending") for name in columns.column_names])
    new = np.zeros(rows.num_rows, bool)
    for name in columns.column_names:
        values = columns[name].take(ranked).combine_chunks()
        changed = pc.fill_null(pc.not_equal(values[1:], values[:-1]), False)
        changed = pc.or_(changed, pc.xor(pc.is_null(values[1:]), pc.is_null(values[:-1])))
        new[1:] |= changed.to_numpy(zero_copy_only=False)
    places = np.empty(rows.num_rows, np.int64)
    places[ranked.to_numpy()] = np.cumsum(new)
    return pa.array(places)

"""A ``latest`` table without Spark: ``deltalake`` merges new versions of rows, so that each key has its latest.

Offsets, transactions and definition are those of a Spark query into such a table. So the two engines can take turns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Schema
from pyspark.sql.types import StructType

from lakehouse.direct.commit import Batch
from lakehouse.direct.delta_source import DeltaSource, Offset
from lakehouse.direct.following import FollowingStream, opened_or_made
from lakehouse.direct.reasons import NotDirect, require_direct
from lakehouse.direct.versions import Believed, Versions
from lakehouse.lake import KEEPS_LOG, Lake, LakeTable

_KEYS = (
    *(pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_decimal, pa.types.is_date),
    *(pa.types.is_timestamp, pa.types.is_binary),
)
"""Types in which deltalake and Spark find the same values equal. In floating-point numbers zeros and NaNs differ."""
_NOT_QUOTABLE = re.compile(r"[\"'`\\\x00-\x1f]")
_RANK, _VALUE, _NUMBER = "rank", "value", "_number"


@dataclass(frozen=True)
class Merging:
    """What a stream merges, by the table's declaration.

    Attributes:
        source: The table that has every version.
        key: Columns that identify a row, as the source spells them.
        order: Columns by which versions are compared, the most important first.
        believed: Which rows are taken, and which columns are added to them.
        leaves_out: Whether a commit of the source that removes rows is skipped, by its version.
        change_data_feed: Whether a new table has a change data feed.
    """

    source: str
    key: tuple[str, ...]
    order: tuple[str, ...]
    believed: Believed
    leaves_out: Callable[[int], bool]
    change_data_feed: bool


class LatestStream(FollowingStream):
    """One run of a stream into a ``latest`` table, under its lease.

    Args:
        lake: Where both tables are.
        table: The target.
        merging: What is merged.

    Raises:
        NotDirect: only Spark can do it.
        OnlySpark: only Spark can read the source.
    """

    def __init__(self, lake: Lake, table: str, merging: Merging) -> None:
        super().__init__(lake, table)
        self._merging = merging
        self._source = DeltaSource(lake, merging.source, reader=table, leaves_out=merging.leaves_out)
        needed = frozenset((*merging.key, *merging.order))
        self._versions = Versions(self._source.schema, merging.believed, needed)
        self._schema = self._versions.result
        self._require_mergeable(lake.delta(table))

    def _next_end(self, start: Offset | None, *, once: bool) -> Offset | None:
        return self._source.next_end(start, once=once)

    def _load(self, batch: Batch) -> tuple[pa.Table, int]:
        """The batch's newest version of each key, and how many rows it read."""
        read, whole = 0, []
        for rows in self._source.rows(batch.start, batch.end, self._versions.read):
            read += rows.num_rows
            good = self._versions.of(rows)
            keep = pa.repeat(pa.scalar(True), good.num_rows)
            for name in self._merging.key:  # a row without a key cannot be told from another
                keep = pc.and_(keep, good.column(name).is_valid())
            whole.append(good.filter(keep))
        return newest(pa.Table.from_batches(whole, self._schema), self._merging.key, self._merging.order), read

    def _write(self, opened: LakeTable, brought: pa.Table, properties: CommitProperties) -> None:
        if not brought.num_rows:
            return
        same = " AND ".join(f't."{name}" = s."{name}"' for name in self._merging.key)
        merging = opened.merge(
            brought,
            same,
            source_alias="s",
            target_alias="t",
            commit_properties=properties,
            post_commithook_properties=KEEPS_LOG,
        )
        merging.when_matched_update_all(self._is_newer()).when_not_matched_insert_all().execute()

    def _is_newer(self) -> str:
        """The SQL condition that a version is newer than the table's. NULL is below every value, NaN above."""
        newer = "false"
        for name in reversed(self._merging.order):
            new, old = (f'{side}."{name}"' for side in "st")
            if pa.types.is_floating(self._schema.field(name).type):
                new, old = f"({new} + 0.0)", f"({old} + 0.0)"  # 0.0 and -0.0 are equal then
            higher = f"({new} IS NOT NULL AND ({old} IS NULL OR {new} > {old}))"
            same = f"(({new} IS NULL AND {old} IS NULL) OR ({new} IS NOT NULL AND {old} IS NOT NULL AND {new} = {old}))"
            newer = f"({higher} OR ({same} AND {newer}))"
        return newer

    def _opened(self) -> LakeTable:
        feed = {"delta.enableChangeDataFeed": "true"} if self._merging.change_data_feed else {}
        opened = opened_or_made(self._lake, self._table, self._schema, **feed)
        known = {field.name.lower() for field in opened.schema().fields}
        new = [field for field in Schema.from_arrow(self._schema).fields if field.name.lower() not in known]
        if new:  # a MERGE of deltalake that adds columns gives the table another id: streams would take it for another
            opened.alter.add_columns(new)
            opened.update_incremental()
        return opened

    def _require_mergeable(self, opened: LakeTable | None) -> None:
        """Makes sure that ``deltalake`` merges these rows as Spark would.

        Raises:
            NotDirect: it does not.
        """
        for name in self._schema.names:
            if _NOT_QUOTABLE.search(name):
                raise NotDirect(f"the name of column {name!r} cannot be quoted in deltalake's SQL")
        for name in self._merging.key:
            if not any(is_one(self._schema.field(name).type) for is_one in _KEYS):
                raise NotDirect(f"{name}, of the key, is a {self._schema.field(name).type}")
        for name in self._merging.order:
            if pa.types.is_nested(self._schema.field(name).type):
                raise NotDirect(f"{name}, of the order, is a {self._schema.field(name).type}")
        rows = StructType.fromJson(json.loads(Schema.from_arrow(self._schema).to_json()))
        require_direct(opened, rows, (), merges=True)


def newest(versions: pa.Table, key: Sequence[str], order: Sequence[str]) -> pa.Table:
    """The newest version of each key, by ``order``. ``streams.latest.newest`` does the same in Spark.

    Args:
        versions: Rows whose key has no NULL.
        key: Columns that identify a row.
        order: Columns of no nested type; NULL is below every value, NaN above every number.
    """
    if not versions.num_rows:
        return versions
    columns = comparable_order(versions, order)
    ranked = pc.sort_indices(columns, sort_keys=[(name, "descending") for name in columns.column_names])
    keys = versions.select(list(key)).take(ranked)
    numbered = keys.append_column(_NUMBER, pa.array(np.arange(keys.num_rows)))
    first = numbered.group_by(list(key), use_threads=False).aggregate([(_NUMBER, "min")])[f"{_NUMBER}_min"]
    return versions.take(pc.take(ranked, first))


def comparable_order(rows: pa.Table, order: Sequence[str]) -> pa.Table:
    """Columns that sort rows by ``order``: NULL first, then values, then NaN."""
    columns = dict[str, Any]()
    for place, name in enumerate(order):
        values = rows[name]
        rank = pc.if_else(values.is_valid(), pa.scalar(1, pa.int8()), pa.scalar(0, pa.int8()))
        if pa.types.is_floating(values.type):
            nan = pc.fill_null(pc.is_nan(values), False)
            rank = pc.if_else(nan, pa.scalar(2, pa.int8()), rank)
            zero = pa.scalar(0.0, values.type)
            values = pc.add(pc.if_else(nan, zero, values), zero)  # 0.0 and -0.0 are equal then
        columns |= {f"{_RANK}{place}": rank, f"{_VALUE}{place}": values}
    return pa.table(columns)

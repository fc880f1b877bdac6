"""A ``latest`` table without Spark: ``deltalake`` merges new versions, so that each key has its latest.

Offsets, transaction and definition are those of the Spark query into such a table. So the two engines take turns on it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import DeltaError
from pyspark.sql.types import StructType

from lakehouse.autoloader.lineage import ABOUT_THE_ROW, evidence_among
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.position import position_before
from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.direct.commit import Batch, is_committed
from lakehouse.direct.delta_source import DeltaSource, Offset
from lakehouse.direct.part import invalid_rows
from lakehouse.direct.reasons import NotDirect, require_direct
from lakehouse.errors import TransientError
from lakehouse.lake import Lake, LakeTable
from lakehouse.storage.delta_paths import deltalake_uri
from lakehouse.streams.progress import BatchProgress

_KEYS = (
    *(pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_decimal, pa.types.is_date),
    *(pa.types.is_timestamp, pa.types.is_binary),
)
"""Types of which deltalake and Spark agree what is equal; they do not of the zeros and NaNs of a fraction."""
_STATISTICS, _MOST_STATISTICS = "delta.dataSkippingStatsColumns", 32
_UNSPEAKABLE = re.compile(r"[\"'`\\\x00-\x1f]")
_RANK, _VALUE, _NUMBER = "rank", "value", "_number"


@dataclass(frozen=True)
class Merging:
    """What a stream merges, by the table's declaration.

    Attributes:
        source: The table that has every version.
        key: Columns that name a row, as the source spells them.
        order: Columns by which versions are compared, the first of them first.
        expected: Columns whose value makes a row an invalid one when it is of another type.
        skip_changes: Whether commits of the source that take rows out are passed over.
        change_data_feed: Whether a new table tells what changed.
    """

    source: str
    key: tuple[str, ...]
    order: tuple[str, ...]
    expected: tuple[str, ...]
    skip_changes: bool
    change_data_feed: bool


class LatestStream:
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
        self._lake, self._table, self._merging = lake, table, merging
        self._log = SparkLog(lake, table)
        self._source = DeltaSource(lake, merging.source, reader=table, skip_changes=merging.skip_changes)
        names = self._source.schema.names
        needed = {*merging.key, *merging.order}
        self._columns = [one for one in names if one not in ABOUT_THE_ROW or one in needed]
        self._evidence = evidence_among(names)
        self._schema = pa.schema([self._source.schema.field(one) for one in self._columns])
        self._require_mergeable(lake.delta(table))

    def batches(self, *, once: bool = False) -> Iterator[BatchProgress]:
        """Batches until nothing is left of what was there at the start; ``once``: all of it in a single batch.

        Raises:
            NotDirect, OnlySpark: only Spark can go on; nothing of the batch is committed.
            CheckpointMismatch: a planned batch cannot be done again, see ``position_before``; or the table was taken
                back to an older version while the stream ran.
            SourceChanged: rows of the source were changed or taken out.
            TransientError: another writer was faster.
        """
        state = checkpoints.read_checkpoint(self._lake, self._table)
        query = self._log.query_id()
        number = 0 if state is None or state.last_offset is None else state.last_offset
        start, end = None, None if state is None or state.last_offset is None else self._log.planned(number)
        if end is not None and state is not None and state.last_commit == number:
            start, number, end = end, number + 1, None
        elif end is not None:  # a batch that was planned and not finished is done again
            start = self._before(query, number)
        while True:
            began = time.monotonic()
            planned, end = end is not None, end or self._source.next_end(start, once=once)
            if end is None:
                return
            progress, start = self._batch(Batch(query, number, start, end), began, planned)
            yield progress
            number, end = number + 1, None

    def _before(self, query: str, number: int) -> Offset | None:
        if number == 0:
            return None
        return self._log.planned(number - 1) or position_before(self._lake, self._table, query, number)

    def _batch(self, batch: Batch, began: float, planned: bool) -> tuple[BatchProgress, Offset]:
        marks = {"latestOffset": began, "walCommit": time.monotonic()}
        if not planned:
            end = self._log.plan_first(batch.number, batch.end)
            batch = Batch(batch.query_id, batch.number, batch.start, end)
        marks["addBatch"] = time.monotonic()
        read, opened = 0, self._opened()
        if not is_committed(opened, batch):
            where = self._lake.settings.table_uri(self._table)
            checkpoints.require_not_taken_back(opened, batch.query_id, self._table, where)
            rows, read = self._newest(batch)
            self._commit(opened, batch, rows)
        marks["commitOffsets"] = time.monotonic()
        self._log.finish(batch.number)
        ends = [*list(marks.values())[1:], time.monotonic()]
        phases = {name: round((end - at) * 1000) for (name, at), end in zip(marks.items(), ends, strict=True)}
        seconds = round(time.monotonic() - began, 3)
        phases["triggerExecution"] = round(seconds * 1000)
        return BatchProgress(self._table, batch.number, read, seconds, phases_milliseconds=phases), batch.end

    def _newest(self, batch: Batch) -> tuple[pa.Table, int]:
        """The batch's newest version of each key, and how many rows it read."""
        wanted = [*self._columns, *([self._evidence] if self._evidence not in (None, *self._columns) else [])]
        read, whole = 0, []
        for rows in self._source.rows(batch.start, batch.end, wanted):
            read += rows.num_rows
            keep = pc.invert(invalid_rows(rows, self._merging.expected))
            for name in self._merging.key:  # a row without a key cannot be told from another
                keep = pc.and_(keep, rows.column(name).is_valid())
            whole.append(rows.select(self._columns).filter(keep))
        return newest(pa.Table.from_batches(whole, self._schema), self._merging.key, self._merging.order), read

    def _commit(self, opened: LakeTable, batch: Batch, rows: pa.Table) -> None:
        """Merges the rows. Where nothing was merged, an empty commit notes that the batch is done."""
        before = opened.version()
        properties = CommitProperties(
            custom_metadata={"userMetadata": batch.said(False)},
            max_commit_retries=0,  # what was compared must be what is replaced
            app_transactions=[Transaction(batch.query_id, batch.number)],
        )
        hooks = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
        try:
            if rows.num_rows:
                same = " AND ".join(f't."{one}" = s."{one}"' for one in self._merging.key)
                merging = opened.merge(
                    rows,
                    same,
                    source_alias="s",
                    target_alias="t",
                    merge_schema=True,
                    commit_properties=properties,
                    post_commithook_properties=hooks,
                )
                merging.when_matched_update_all(self._is_newer()).when_not_matched_insert_all().execute()
            if opened.version() == before:
                opened.create_write_transaction(
                    [], "append", opened.schema(), commit_properties=properties, post_commithook_properties=hooks
                )
        except (DeltaError, OSError) as error:
            if is_committed(self._opened(), batch):  # the reply was lost, and the commit not
                return
            raise TransientError(
                f"the batch of {self._table} is not committed: {str(error).splitlines()[0][:300]}",
                where=self._lake.settings.table_uri(self._table),
                state="nothing of the batch is in the table",
                next_command="run the same again: the batch is done again",
            ) from None

    def _is_newer(self) -> str:
        """SQL's condition that a version is newer than the table's. NULL is lower than any value, NaN is higher."""
        told = "false"
        for name in reversed(self._merging.order):
            new, old = (f'{side}."{name}"' for side in "st")
            if pa.types.is_floating(self._schema.field(name).type):
                new, old = f"({new} + 0.0)", f"({old} + 0.0)"  # the two zeros are one
            higher = f"({new} IS NOT NULL AND ({old} IS NULL OR {new} > {old}))"
            same = f"(({new} IS NULL AND {old} IS NULL) OR ({new} IS NOT NULL AND {old} IS NOT NULL AND {new} = {old}))"
            told = f"({higher} OR ({same} AND {told}))"
        return told

    def _opened(self) -> LakeTable:
        """The table, made when there is none."""
        opened = self._lake.delta(self._table)
        if opened is None:
            feed = {"delta.enableChangeDataFeed": "true"} if self._merging.change_data_feed else {}
            DeltaTable.create(
                deltalake_uri(self._lake.settings.table_uri(self._table)),
                Schema.from_arrow(self._schema),
                configuration={**feed, **self._statistics()},
                storage_options=self._lake.endpoint.deltalake_options(),
            )
            opened = self._lake.delta(self._table)
            assert opened is not None
        elif (wanted := self._statistics()) and _STATISTICS not in opened.metadata().configuration:
            opened.alter.set_table_properties(wanted)
        return opened

    def _statistics(self) -> dict[str, str]:
        """The property that leaves columns with fractions out of a table's statistics.

        The statistics that ``deltalake`` writes do not count NaN. A reader that trusts them passes over files with NaN.
        """
        plain = [field.name for field in self._schema if not _has_fractions(field.type)]
        if len(plain) == len(self._schema):
            return {}
        return {_STATISTICS: ",".join(f"`{name}`" for name in plain[:_MOST_STATISTICS])}

    def _require_mergeable(self, opened: LakeTable | None) -> None:
        """Makes sure that ``deltalake`` merges these rows as Spark would.

        Raises:
            NotDirect: it does not.
        """
        for name in self._columns:
            if _UNSPEAKABLE.search(name):
                raise NotDirect(f"the name of column {name!r} cannot be said in its SQL")
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
        key: Columns that name a row.
        order: Columns of no nested type; NULL is lower than any value, NaN higher than any number.
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
    """Columns that sort rows by ``order``: a NULL is lowest, then come values, then NaN."""
    columns = dict[str, Any]()
    for place, name in enumerate(order):
        values = rows[name]
        rank = pc.if_else(values.is_valid(), pa.scalar(1, pa.int8()), pa.scalar(0, pa.int8()))
        if pa.types.is_floating(values.type):
            nan = pc.fill_null(pc.is_nan(values), False)
            rank = pc.if_else(nan, pa.scalar(2, pa.int8()), rank)
            zero = pa.scalar(0.0, values.type)
            values = pc.add(pc.if_else(nan, zero, values), zero)  # the two zeros are one
        columns |= {f"{_RANK}{place}": rank, f"{_VALUE}{place}": values}
    return pa.table(columns)


def _has_fractions(type_: pa.DataType) -> bool:
    if pa.types.is_floating(type_):
        return True
    return any(_has_fractions(type_.field(number).type) for number in range(type_.num_fields))

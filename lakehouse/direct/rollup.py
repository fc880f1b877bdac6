"""A ``rollup`` table without Spark: Arrow computes groups whose rows changed anew, and one commit replaces them.

Offsets, transactions and definition are those of a Spark query into such a table. So the two engines can take turns.

A part is all groups with the same value in the first column of the group. Parts are what a commit replaces.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Schema, write_deltalake
from deltalake.exceptions import DeltaError
from pyspark.sql.types import StructType

from lakehouse.arrow_sql.aggregates import Groups
from lakehouse.autoloader.lineage import LINEAGE
from lakehouse.checkpoints.delta_offsets import Place
from lakehouse.counting.data_files import DataFiles, OnlySpark
from lakehouse.counting.hashes import comparable
from lakehouse.direct.commit import Batch
from lakehouse.direct.delta_source import Offset, offset_at, require_same_table
from lakehouse.direct.following import FollowingStream, opened_or_made
from lakehouse.direct.reasons import NotDirect, require_direct
from lakehouse.lake import KEEPS_LOG, Lake, LakeTable
from lakehouse.plain_text import cause_of

_MOST_COMPARED = 500_000
"""Up to so many changed rows are held in memory, to find those that were written again as they were."""
MOST_PARTS = 1_000
"""Up to so many parts are named in a commit; where more have changed, the whole table is computed anew."""
_CHANGE = ("_change_type", "_commit_version")


@dataclass(frozen=True)
class Rolling:
    """What a stream rolls up, by the table's declaration.

    Attributes:
        source: The table that is read; it has a change data feed.
        group: Name to SQL expression. The values of the first are the parts that are replaced.
        aggregates: Name to SQL aggregate.
    """

    source: str
    group: Mapping[str, str]
    aggregates: Mapping[str, str]


@dataclass(frozen=True)
class _Parts:
    """Groups that replace those of some parts.

    Attributes:
        values: Of the first column of the group; None for all, which replaces the whole table.
        groups: The groups.
    """

    values: Collection[Any] | None
    groups: pa.Table


class RollupStream(FollowingStream):
    """One run of a stream into a ``rollup`` table, under its lease.

    The rows that are read may be newer than the batch. That does no harm: a part is computed from all its rows as they
    are then, and a later batch computes it again for what changed after this batch.

    Args:
        lake: Where both tables are.
        table: The target.
        rolling: What is rolled up.

    Raises:
        NotDirect: only Spark can do it.
        OnlySpark: only Spark can read the source, or knows what an expression gives.
    """

    def __init__(self, lake: Lake, table: str, rolling: Rolling) -> None:
        super().__init__(lake, table)
        files = DataFiles.of(lake, rolling.source)
        assert files is not None
        self._files, self._rolling = files, rolling
        self._schema = self._new_groups().result_schema
        self._part = self._schema.field(0)
        rows = StructType.fromJson(json.loads(Schema.from_arrow(self._schema).to_json()))
        require_direct(lake.delta(table), rows, (), merges=True)
        if pa.types.is_decimal(self._part.type):
            raise NotDirect(f"{self._part.name} is a {self._part.type}: parts of a table cannot be replaced by it")

    def _next_end(self, start: Offset | None, *, once: bool) -> Offset | None:
        """The newest version: a batch needs no limit, since memory holds groups and not rows."""
        if start is not None:
            require_same_table(self._files, start, self._rolling.source, self._table)
            place = Place.of(start)
            if not place.snapshot and place.version > self._files.version:
                return None
        return offset_at(self._files, self._files.version + 1)

    def _opened(self) -> LakeTable:
        return opened_or_made(self._lake, self._table, self._schema)

    def _load(self, batch: Batch) -> tuple[_Parts | None, int]:
        place = None if batch.start is None else Place.of(batch.start)
        if place is None or place.snapshot:
            return self._computed(None)
        values, read = changed_parts(self._files, self._new_groups(), place.version, Place.of(batch.end).version - 1)
        if not values:
            return None, read
        return self._computed(values if len(values) <= MOST_PARTS else None)[0], read

    def _write(self, opened: LakeTable, brought: _Parts | None, properties: CommitProperties) -> None:
        if brought is None:
            return
        write_deltalake(
            opened,
            brought.groups,
            mode="overwrite",
            predicate=None if brought.values is None else _is_among(self._part.name, brought.values),
            commit_properties=properties,
            post_commithook_properties=KEEPS_LOG,
        )

    def _computed(self, values: Collection[Any] | None) -> tuple[_Parts, int]:
        """The groups of some parts, or of all, from all their rows."""
        groups, read = self._new_groups(), 0
        wanted = None if values is None else pa.array(list(values), self._part.type)
        paths = list(self._files.sizes)
        if wanted is not None and len(groups.part_columns) == 1 and groups.part_is_a_column:
            paths = self._files.that_may_have(groups.part_columns[0], wanted)
        for _, rows in self._files.batches(paths, groups.columns):
            read += rows.num_rows
            if wanted is not None:
                rows = rows.filter(pc.is_in(groups.part_of(rows), value_set=wanted))
            groups.add(rows)
        return _Parts(values, groups.result()), read

    def _new_groups(self) -> Groups:
        return Groups(self._files.schema, self._rolling.group, self._rolling.aggregates)


def changed_parts(files: DataFiles, groups: Groups, first: int, last: int) -> tuple[set[Any], int]:
    """The parts of rows that some commits changed, before and after; and how many rows the feed has of those commits.

    A row that was sent again unchanged, or only written into another data file, is in the feed twice: as removed and as
    added. The two cancel each other. Where the feed has very many rows, all their parts count as changed.

    Args:
        files: The table that is rolled up; it has a change data feed.
        groups: Of its rows.
        first: The first commit.
        last: The last commit.

    Raises:
        OnlySpark: the feed cannot be read here.
    """
    if first > last:
        return set(), 0
    read_by_groups = set(groups.columns)  # another file alone makes no other row, unless a group tells of it
    fields = [name for name in files.schema.names if name not in LINEAGE or name in read_by_groups]
    names = list(dict.fromkeys((*fields, *groups.part_columns)))
    images: list[pa.RecordBatch] = []
    found: set[Any] = set()
    read = 0
    try:
        feed = pa.RecordBatchReader.from_stream(files.opened.load_cdf(first, last, columns=[*names, *_CHANGE]))
        for batch in feed:
            rows = batch.select(names).cast(files.columns(names))
            read += rows.num_rows
            parts = groups.part_of(rows)
            if read > _MOST_COMPARED:
                found.update(pc.unique(parts).to_pylist())
                continue
            new = pc.is_in(batch[_CHANGE[0]].cast(pa.string()), value_set=pa.array(["insert", "update_postimage"]))
            columns = [parts, pc.if_else(new, 1, -1), batch[_CHANGE[1]], *(comparable(rows[name]) for name in fields)]
            images.append(pa.RecordBatch.from_arrays(columns, [str(number) for number in range(len(columns))]))
        if images:
            by = [name for name in images[0].schema.names if name != "1"]
            whole = pa.Table.from_batches(images).group_by(by, use_threads=False).aggregate([("1", "sum")])
            found.update(pc.unique(whole.filter(pc.not_equal(whole["1_sum"], 0))["0"]).to_pylist())
    except OverflowError:
        raise OnlySpark("a part is a time beyond the years 1 to 9999") from None
    except (DeltaError, pa.ArrowException) as error:
        raise OnlySpark(f"the change data feed cannot be read here: {cause_of(error)}") from error
    return found, read


def _is_among(column: str, values: Collection[Any]) -> str:
    """The SQL condition, for ``deltalake``, that a column has one of the values; NULL may be among them."""
    quoted = '"' + column.replace('"', '""') + '"'
    named = ", ".join(_literal(value) for value in values if value is not None)
    parts = [f"{quoted} IN ({named})"] if named else []
    return " OR ".join([*parts, *([f"{quoted} IS NULL"] if None in values else [])])


def _literal(value: Any) -> str:
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, datetime):
        return f"'{value.isoformat().removesuffix('+00:00')}{'Z' if value.tzinfo else ''}'"
    if isinstance(value, date):
        return f"DATE '{value}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise OnlySpark(f"{type(value).__name__} cannot be written as a value of SQL")

"""The table at ``badRecordsPath``: a row for each record that the stream's table has not, exactly once.

Each append carries Delta's transaction of its stream with the number of the batch's last file as its version. So it is
in the table once, however often it is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from lakehouse.autoloader.options.paths import plain_uri, split_uri
from lakehouse.autoloader.outcomes.bad_records import STAGED, FinishedBatch
from lakehouse.errors import TerminalError, TransientError
from lakehouse.storage.delta_paths import deltalake_uri
from lakehouse.storage.local_paths import LOCAL
from lakehouse.storage.store import StoreEndpoint

_TRIES = 10
_WITH_STATISTICS = "file_path,sequence,quarantined_at"  # those of the texts would fill the log
_KEPT = "the batch is in the sink; its bad records are staged and not lost"
_SCHEMA = pa.schema([*STAGED, ("batch_end", pa.int64()), ("quarantined_at", pa.timestamp("us", "UTC"))])


class QuarantineTable:
    """A Delta table of bad records; several streams may share it.

    Args:
        uri: Its folder, as ``badRecordsPath`` says.
        server: Says the store, where the folder is not local.
    """

    def __init__(self, uri: str, server: Callable[[], StoreEndpoint]) -> None:
        self._uri, (bucket, key) = uri, split_uri(uri)
        local = bucket == LOCAL
        self._options = {} if local else server().deltalake_options()
        self._address = deltalake_uri(plain_uri(bucket, key))

    def append_once(self, app_id: str, batches: Sequence[FinishedBatch], now: datetime) -> None:
        """Appends what the table does not have yet, in one commit.

        Args:
            app_id: The stream; its transaction's version is the number of the last file whose records are there.
            batches: In order.
            now: For ``quarantined_at``.

        Raises:
            TransientError: another writer was faster, time after time.
            TerminalError: what is there is no table of bad records.
        """
        for again in reversed(range(_TRIES)):
            try:
                self._append(app_id, batches, now)
                return
            except CommitFailedError as error:  # another stream made the table, or another driver was here
                if not again:
                    raise TransientError(
                        f"other writers of the table of bad records were faster: {error}",
                        where=self._uri,
                        state=_KEPT,
                        next_command="run the stream again",
                    ) from None
            except DeltaError as error:
                raise TerminalError(
                    f"bad records cannot be appended: {error}",
                    where=self._uri,
                    state=_KEPT,
                    next_command="give badRecordsPath a folder with nothing else in it, then run the stream again",
                ) from None

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """The records that came last.

        Raises:
            TerminalError: there is no such table.
        """
        order = "quarantined_at DESC, sequence DESC, record DESC"
        try:
            table = DeltaTable(self._address, storage_options=self._options)
            found = QueryBuilder().register("bad", table).execute(f"SELECT * FROM bad ORDER BY {order} LIMIT {limit}")
            return list(pa.table(found.read_all()).to_pylist())
        except (TableNotFoundError, DeltaError) as error:
            raise TerminalError(
                f"no table of bad records can be read: {error}",
                where=self._uri,
                state="nothing was changed",
                next_command="name the stream's badRecordsPath; its table is made with the first bad record",
            ) from None

    def _append(self, app_id: str, batches: Sequence[FinishedBatch], now: datetime) -> None:
        try:
            table = DeltaTable(self._address, storage_options=self._options)
        except TableNotFoundError:
            table = DeltaTable.create(
                self._address,
                _SCHEMA,
                mode="ignore",
                configuration={"delta.dataSkippingStatsColumns": _WITH_STATISTICS},
                storage_options=self._options,
                commit_properties=CommitProperties(max_commit_retries=0),  # else it is another's second version
            )
        done = table.transaction_version(app_id) or 0
        if batches[-1].end > done:
            rows = pa.RecordBatchReader.from_batches(_SCHEMA, _rows(batches, done, now))
            mark = CommitProperties(app_transactions=[Transaction(app_id, batches[-1].end)])
            write_deltalake(table, rows, mode="append", commit_properties=mark)


def _rows(batches: Sequence[FinishedBatch], done: int, now: datetime) -> Iterator[pa.RecordBatch]:
    """The records of files after number ``done``: a checkpoint of an older day cuts the same files differently."""
    for batch in batches:
        for table in batch.tables():
            new = table.filter(pc.field("sequence") > done)
            added = {"batch_end": batch.end, "quarantined_at": now}
            more = [pa.repeat(pa.scalar(value, _SCHEMA.field(name).type), len(new)) for name, value in added.items()]
            yield from pa.table([*new.columns, *more], schema=_SCHEMA).to_batches()
        done = max(done, batch.end)

"""The lake: its tables, read without Spark (``deltalake`` reads Delta's log in milliseconds and needs no JVM)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.schema import ArrayType, MapType, StructType

from lakehouse.delta_commit import Commit, commit_of
from lakehouse.delta_log import commit_entries, newest_version, takes_rows_out, told_by_commit
from lakehouse.errors import TerminalError, TransientError
from lakehouse.events.receiver_process import ensure_receiver
from lakehouse.opened_tables import Opened, ReadTable, at_newest, newest_version_of
from lakehouse.plain_text import cause_of, printable
from lakehouse.settings import LAYERS, Settings
from lakehouse.storage import ObjectStore, StoreEndpoint
from lakehouse.storage.delta_paths import deltalake_uri, log_uri

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset, Expression
    from pyarrow.fs import FileSystem

_log = logging.getLogger(__name__)

_MOST_SINGLE_COMMITS = 30
_MOST_LOOKS = 5
_READ_BY_ARROW = {"typeWidening", "timestampNtz", "variantType"}
"""Features of tables whose data files are plain Parquet for the columns that are asked for."""

KEEPS_LOG = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
"""Of a commit: it takes no older commits from the log, since a stream may not have read them."""


@dataclass(frozen=True)
class TableInfo:
    """A table at one version, from Delta's log alone.

    Attributes:
        rows: Rows in the table.
        files: Data files of the current version (not those that only older versions need).
        size_bytes: Size of those files.
        columns: Column name to Delta type, in order.
    """

    name: str
    uri: str
    version: int
    rows: int
    files: int
    size_bytes: int
    columns: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


class LakeTable(ReadTable):
    """A Delta table of the lake whose data files Arrow reads with its own S3 client.

    ``deltalake`` would hand Arrow a file system in Python. Arrow's threads use it, and free its buffers, after the
    caller has its rows; when the interpreter ends meanwhile, such a thread takes the process down (codes 134 and 139).
    """

    def __init__(
        self, uri: str, endpoint: StoreEndpoint, version: int | None = None, shared: Opened | None = None
    ) -> None:
        self._folder, self._endpoint = uri.split("://", 1)[1], endpoint
        self._uri = uri
        self._newest_commit: tuple[int, list[dict[str, Any]]] = (-1, [])
        self._transactions: dict[tuple[int, str], int | None] = {}
        super().__init__(deltalake_uri(uri), endpoint.deltalake_options(), version, shared)

    @cached_property
    def data_files(self) -> FileSystem:
        """The table's folder, for Arrow."""
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, SubTreeFileSystem

        now = self._endpoint.current
        token = now.session_token
        store = S3FileSystem(
            access_key=now.access_key.get_secret_value(),
            secret_key=now.secret_key.get_secret_value(),
            session_token=token.get_secret_value() if token else None,
            region=self._endpoint.region,
            scheme="https" if self._endpoint.secure else "http",
            endpoint_override=self._endpoint.host,
            connect_timeout=5,
            request_timeout=60,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=5),
        )
        return SubTreeFileSystem(self._folder, store)

    def transaction_version(self, app_id: str) -> int | None:
        """Like ``DeltaTable``'s, which reads each commit since the last checkpoint whenever it is asked.

        Mostly the newest commit is that of the stream, and tells it.
        """
        key = (self.version(), app_id)
        if key not in self._transactions:
            named = [txn["version"] for txn in self._newest("txn") if txn.get("appId") == app_id]
            self._transactions[key] = named[-1] if named else super().transaction_version(app_id)
        return self._transactions[key]

    def history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The newest ``limit`` commits up to the version that was opened, the newest first; None for all.

        ``DeltaTable``'s begins at the newest commit of the log, whoever wrote it after the table was opened, and gives
        that the number of the opened version. For one commit that commit alone is read.

        Raises:
            TransientError: the log has lost the opened commit, and others were written at each look.
        """
        if limit == 1 and (found := self._newest("commitInfo")):
            return [{**found[0], "version": self.version()}]
        opened_at, own = self.version(), self._newest("commitInfo")
        entries = super().history(limit)
        places = [
            place
            for place, entry in enumerate(entries)
            if own and {**entry, "version": None} == {**own[0], "version": None}
        ]
        if len(places) != 1:  # the opened commit cannot be read, or tells the same as another
            entries, later = self._entries_up_to_the_newest(limit)
        else:
            later = places[0]
        numbered = ({**entry, "version": opened_at + later - place} for place, entry in enumerate(entries))
        return [entry for entry in numbered if entry["version"] <= opened_at][:limit]

    def _entries_up_to_the_newest(self, limit: int | None) -> tuple[list[dict[str, Any]], int]:
        """What ``DeltaTable`` gives, and how many of it were committed after the table was opened."""
        client = _client(self._endpoint)
        newest = newest_version(client, self._uri)
        for _ in range(_MOST_LOOKS):
            entries = super().history(limit)
            before, newest = newest, newest_version(client, self._uri)
            if before == newest:  # nobody wrote meanwhile, so it is known which commit came first
                return entries, max((newest or 0) - self.version(), 0)
        raise TransientError(
            f"{self._uri} was written at each of {_MOST_LOOKS} looks into its history",
            where=self._uri,
            state="nothing was changed",
            next_command="ask again when its writer rests",
        )

    def _newest(self, action: str) -> list[dict[str, Any]]:
        """Actions of one kind in the newest commit, read once; none where it cannot be read."""
        version = self.version()
        if self._newest_commit[0] != version:
            self._newest_commit = version, told_by_commit(_client(self._endpoint), self._uri, version)
        return [told[action] for told in self._newest_commit[1] if action in told]

    def to_pyarrow_dataset(self, *args: Any, **options: Any) -> Dataset:
        """Like ``DeltaTable``'s; everything else of it that reads rows with Arrow comes through here."""
        if len(args) < 2:  # the second is a file system
            options["filesystem"] = options.get("filesystem") or self.data_files
        try:
            return super().to_pyarrow_dataset(*args, **options)
        except (ValueError, OverflowError):  # bounds of a file are days or times beyond Python's years
            if args or options.keys() - {"filesystem"}:
                raise
            return _rows_of(self, paths_of(self))


@lru_cache(maxsize=4)
def _client(endpoint: StoreEndpoint) -> ObjectStore:
    from lakehouse.storage.opening import open_store

    return open_store(endpoint)


class TableUnreadable(TerminalError, DeltaError):
    """The log of a table is damaged, or of a kind that ``deltalake`` does not read."""


def open_table(uri: str, endpoint: StoreEndpoint, store: ObjectStore | None = None) -> LakeTable | None:
    """The table at ``uri`` at its newest version, or None when there is none.

    Args:
        uri: Its folder.
        endpoint: Of its store.
        store: A client for it: with that, what was read before is not read again.

    Raises:
        TableUnreadable: its log cannot be read.
    """
    made = partial(LakeTable, uri, endpoint, None)
    try:
        return made() if store is None else at_newest(store, uri, endpoint.deltalake_options(), made)
    except TableNotFoundError:
        return None
    except DeltaError as error:
        raise TableUnreadable(
            f"the Delta log of {uri.rstrip('/').rsplit('/', 1)[-1]} cannot be read: {cause_of(error)}",
            where=log_uri(uri),
            state="nothing was changed",
            next_command="lakehouse doctor   (then bring the damaged object back from a copy)",
        ) from error


@dataclass(frozen=True)
class Lake:
    """Settings, the address of the store and a client for it, handed on together."""

    settings: Settings
    endpoint: StoreEndpoint
    store: ObjectStore

    @classmethod
    def open(cls, settings: Settings | None = None, *, say: Callable[[str], None] = lambda text: None) -> Lake:
        """Opens the lake of ``settings`` (default: the environment's); starts the embedded store when needed.

        Raises:
            StoreUnavailable, AccessDenied, BucketMissing: see ``lakehouse.storage.ensure_store``.
        """
        from lakehouse.storage.opening import ensure_store, open_store  # a worker of Spark needs tables, and no client

        settings = settings or Settings.load()
        endpoint = ensure_store(settings, say)
        try:
            ensure_receiver(settings)
        except TransientError as error:  # what the store tells waits there
            say(error.what)
        _log.info("lake %s at %s, declared in %s", settings.lake_uri, endpoint.url, settings.declaration)
        return cls(settings, endpoint, open_store(endpoint))

    def table_names(self) -> list[str]:
        """``layer.name`` of every Delta table in the lake, by its log folder; without control characters."""
        found = []
        for layer in LAYERS:
            prefix = f"{self.settings.user}/{layer}/"
            for folder in self.store.folders(self.settings.bucket, prefix):
                log = f"{prefix}{folder}/_delta_log/"
                if printable(folder) == folder and next(self.store.list(self.settings.bucket, log), None) is not None:
                    found.append(f"{layer}.{folder}")
        return sorted(found)

    def delta(self, table: str) -> LakeTable | None:
        """The table opened at its newest version, or None when it does not exist."""
        return self.delta_at(self.settings.table_uri(table))

    def delta_at(self, uri: str) -> LakeTable | None:
        """The table at ``uri``, or None when there is none."""
        return open_table(uri, self.endpoint, self.store)

    def rows(self, table: str) -> Dataset | None:
        """The rows of the newest version, read without Spark; None when the table does not exist."""
        return self.rows_at(self.settings.table_uri(table))

    def rows_at(self, uri: str) -> Dataset | None:
        """The rows of the table at ``uri``; None when there is none."""
        opened = self.delta_at(uri)
        return None if opened is None else self.rows_of(opened)

    @staticmethod
    def rows_of(opened: LakeTable) -> Dataset:
        """The rows of a table that is open already.

        Raises:
            DeltaProtocolError: it has features that Arrow does not know.
        """
        features = set(opened.protocol().reader_features or ())
        if "typeWidening" not in features or features - _READ_BY_ARROW:
            return opened.to_pyarrow_dataset()
        # deltalake reads no table whose columns were widened. All that it lacks is a cast, which the scanner makes
        return _rows_of(opened, paths_of(opened))

    def added_since(self, table: str, version: int | None) -> Dataset | None:
        """The rows of data files that came after ``version`` (None: all files); None when the table does not exist."""
        opened = self.delta(table)
        if opened is None:
            return None
        fresh = paths_of(opened)
        if version is not None:
            old = set(paths_of(LakeTable(self.settings.table_uri(table), self.endpoint, version)))
            fresh = [path for path in fresh if path not in old]
        return _rows_of(opened, fresh)

    def version(self, table: str) -> int | None:
        """Newest Delta version, or None when the table does not exist."""
        return self.version_at(self.settings.table_uri(table))

    def version_at(self, uri: str) -> int | None:
        """Newest version of the table at ``uri``; None when there is none."""
        return newest_version_of(self.store, uri)

    def describe(self, table: str) -> TableInfo | None:
        """Numbers of the table's newest version, or None when it does not exist."""
        opened = self.delta(table)
        return None if opened is None else self.info_of(table, opened)

    def info_of(self, table: str, opened: LakeTable) -> TableInfo:
        """Numbers of a table that is open already."""
        adds = adds_of(opened)
        return TableInfo(
            name=table,
            uri=self.settings.table_uri(table),
            version=opened.version(),
            rows=sum(count or 0 for count in adds["num_records"].to_pylist()),
            files=adds.num_rows,
            size_bytes=sum(adds["size_bytes"].to_pylist()),
            columns={field.name: _type_name(field.type) for field in opened.schema().fields},
        )

    def tables(self) -> list[TableInfo]:
        """Every table of the lake."""
        return [info for info in map(self.describe, self.table_names()) if info is not None]

    def commits_since(
        self, table: str, version: int | None, *, last: int | None = None, newest: int | None = None
    ) -> list[Commit]:
        """Commits newer than ``version`` (None: all that the log has), oldest first; or only the ``last`` of them.

        ``newest`` is the newest version, where it is known.

        Raises:
            TableUnreadable: the log cannot be read.
        """
        newest, uri = self.version(table) if newest is None else newest, self.settings.table_uri(table)
        if newest is None:
            return []
        limit = newest - version if version is not None else newest + 1
        if last is not None:
            limit = min(limit, last)
        if limit <= 0:
            return []
        try:
            entries = (
                commit_entries(self.store, uri, newest - limit + 1, newest) if limit <= _MOST_SINGLE_COMMITS else None
            )
        except ValueError:  # a commit is damaged
            entries = None
        if entries is None:  # deltalake reads many at a time, and says what is wrong with a log
            opened = self.delta(table)
            newer = opened.version() - newest if opened else 0
            entries = [entry for entry in opened.history(limit + newer) if entry["version"] <= newest] if opened else []
        return [
            commit_of(entry, partial(takes_rows_out, self.store, uri, entry["version"])) for entry in reversed(entries)
        ]


def adds_of(opened: DeltaTable) -> pa.Table:
    """A version's data files, a row each, as its log has them: ``path``, ``size_bytes``, ``num_records``, ``min.*``."""
    # pa.table would first ask whether it is given a frame, and import pandas for that: half a second
    return pa.RecordBatchReader.from_stream(opened.get_add_actions(flatten=True)).read_all()


def paths_of(opened: DeltaTable) -> list[str]:
    """Paths of a version's data files below the table's folder; the log has them with the escapes of a URI."""
    return [unquote(path) for path in adds_of(opened)["path"].to_pylist()]


def partitions_of(opened: DeltaTable, adds: pa.Table) -> dict[str, Expression]:
    """What Arrow has to know of each data file, by its path: the values of partition columns, which no file has."""
    columns, schema = opened.metadata().partition_columns, pa.schema(opened.schema().to_arrow())
    if not columns:
        return {}
    import pyarrow.compute as pc

    found: dict[str, Expression] = {}
    for name in columns:
        column = pc.field(name)
        values = adds[f"partition.{name}"].cast(schema.field(name).type)  # not Python's, which have few years
        for path, value in zip(map(unquote, adds["path"].to_pylist()), values, strict=True):
            same = column == value if value.is_valid else column.is_null()
            found[path] = found[path] & same if path in found else same
    return found


def _rows_of(opened: LakeTable, paths: list[str]) -> Dataset:
    from pyarrow.dataset import FileSystemDataset, ParquetFileFormat  # they import pandas: half a second

    schema, format_, files = pa.schema(opened.schema().to_arrow()), ParquetFileFormat(), opened.data_files
    partitions = partitions_of(opened, adds_of(opened))
    made = [format_.make_fragment(path, files, partitions.get(path)) for path in paths]
    return FileSystemDataset(made, schema, format_, files)


def _type_name(type_: Any) -> str:
    """``struct<city: string, tags: array<string>>`` in place of what ``str`` makes of it."""
    if isinstance(type_, StructType):
        return f"struct<{', '.join(f'{field.name}: {_type_name(field.type)}' for field in type_.fields)}>"
    if isinstance(type_, ArrayType):
        return f"array<{_type_name(type_.element_type)}>"
    if isinstance(type_, MapType):
        return f"map<{_type_name(type_.key_type)}, {_type_name(type_.value_type)}>"
    return str(getattr(type_, "type", type_))

"""SQL over the tables of the lake without Spark: DuckDB asks, Arrow reads the data files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake.exceptions import DeltaError

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.outcomes.file_states import as_table, file_states
from lakehouse.counting.data_files import DataFileMissing
from lakehouse.errors import ConfigurationError, LakehouseError, StoreUnavailable, TerminalError
from lakehouse.extras import needing
from lakehouse.lake import Lake
from lakehouse.plain_text import cause_of, printable
from lakehouse.settings import LAYERS
from lakehouse.sql_names import in_lake
from lakehouse.storage.local_paths import LOCAL, cloud_of, is_local
from lakehouse.storage.s3_errors import arrow_says_gone
from lakehouse.table_names import require_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyarrow.dataset import Dataset

BATCH_ROWS = 1000
"""Rows of a result that come at a time: whoever wants few does not wait for many."""
_NAMED = re.compile(r'(?<![\w."])"?([A-Za-z_]\w*)"?\s*\.\s*(?:"([^"]+)"|([A-Za-z]\w*))')
_ASKS_FOR_ALL = re.compile(r"\bshow\s+(all\s+)?tables\b|\binformation_schema\b|\bduckdb_(tables|views|columns)\b", re.I)
_UNKNOWN = re.compile(r"Table with name \"?([^\"\s]+)\"? does not exist")
_READING = ("SELECT", "EXPLAIN", "MULTI")  # PIVOT is several statements
_WHERE, _NOTHING = "lakehouse sql", "nothing was changed"
_CLOSED_OPTIONS = ("profile", "rolearn", "roleexternalid", "rolesessionname", "stsendpoint", "rowvalidationxsdpath")
"""Of ``read_files``: they name other keys, an address, or a file of this machine."""
_READ_IN_PYTHON = "read it in Python: lakehouse.read_files(None, path, format)"
_CLOSED = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}
"""A query reads tables of the lake, and nothing else: no file of this machine, no address, no variable of Python."""


def sql(query: str, lake: Lake | None = None) -> pa.Table:
    """The result of a query over the lake's tables, without Spark.

    ``lakehouse.sql("SELECT count(*) FROM bronze.orders").to_pandas()``

    Args:
        query: One statement in DuckDB's SQL that reads; tables are named ``layer.name``.
        lake: Where they are; default what the ``LAKEHOUSE_*`` variables name.

    Raises:
        ConfigurationError: the statement is wrong, or does not only read; the extra ``[sql]`` is not installed.
        TerminalError: a table cannot be read without Spark.
        StoreUnavailable, AccessDenied: the store cannot be read.
    """
    with rows_of_query(lake or Lake.open(), query) as rows:
        return rows.read_all()


@contextmanager
def rows_of_query(lake: Lake, query: str) -> Iterator[pa.RecordBatchReader]:
    """The result of a query, a batch of ``BATCH_ROWS`` at a time: what is not asked for is not read.

    Errors while rows are read are those of ``sql``. What the caller does with the rows fails by itself.
    """
    with needing("sql", _WHERE):
        import duckdb
    with duckdb.connect(":memory:", config={**_CLOSED, "temp_directory": str(lake.settings.home / "sql")}) as opened:
        missing: list[str] = []
        try:
            relations = _Relations(opened, lake)
            query = in_lake(query, lake.settings, relations.states, relations.files)
            _require_reading(opened, query)
            missing += [name for name in _names(lake, query) if not _add(opened, lake, name)]
            opened.execute("SET TimeZone = 'UTC'")
            opened.execute("SET lock_configuration = true")
            result = opened.sql(query).to_arrow_reader(BATCH_ROWS)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _error_of(error, lake, query, missing) from None

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                yield from result
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                raise _error_of(error, lake, query, missing) from None

        with result:  # what the caller does with the rows fails by itself
            yield pa.RecordBatchReader.from_batches(result.schema, batches())


@dataclass
class _Relations:
    """What functions of a query give, as relations of DuckDB."""

    opened: DuckDBPyConnection
    lake: Lake
    made: int = 0

    def states(self, asked: str) -> str:
        """The relation with the states of a table's files, or of those of a checkpoint's address."""
        lake, place, versions = self.lake, asked, {}
        if is_local(asked):
            raise ConfigurationError(
                f"{asked} is on this machine, whose files are closed to queries",
                where=_WHERE,
                state=_NOTHING,
                next_command=f"lakehouse files --checkpoint {asked}",
            )
        if "/" not in asked:
            require_name(asked)
            place = lake.settings.checkpoint_uri(asked)
            commits = lake.commits_since(asked, None)
            versions = {commit.batch_id: commit.version for commit in commits if commit.batch_id is not None}
        name = f"states of {asked}"
        self.opened.register(name, as_table(file_states(lake.store, place, versions=versions)))
        return _quoted(name)

    def files(self, path: str, given: Mapping[str, str]) -> str:
        """The relation with the rows of files of the lake's store."""
        from lakehouse.file_reading import read_files

        own = {name.lower(): value for name, value in given.items() if name.lower() in ("format", "schema", "metadata")}
        options = {name: value for name, value in given.items() if name.lower() not in own}
        self._require_open(path, own.get("format"), options)
        metadata, schema = own.get("metadata") == "true", own.get("schema")
        found = read_files(None, path, own.get("format"), schema=schema, metadata=metadata, lake=self.lake, **options)
        self.made += 1
        name = f"files {self.made} of {path}"
        self.opened.register(name, found)
        return _quoted(name)

    def _require_open(self, path: str, format_: str | None, options: Mapping[str, str]) -> None:
        from lakehouse.autoloader.batch import Files, options_of_a_read
        from lakehouse.autoloader.options.parse import UNKNOWN

        bucket, _ = split_uri(path)
        if bucket == LOCAL or cloud_of(bucket):
            what = "on this machine" if bucket == LOCAL else "in another cloud"
            raise _not_read(f"{path} is {what}, and a query reads the lake's store alone", path, _READ_IN_PYTHON)
        closed = [name for name in options if name.lower().removeprefix("cloudfiles.") in _CLOSED_OPTIONS]
        if closed:
            raise _not_read(f"{closed[0]} is closed to queries", path, _READ_IN_PYTHON)
        notes = Files.of(options_of_a_read(path, format_, options), self.lake.endpoint).options.notes
        unknown = next((note for note in notes if UNKNOWN in note), None)
        if unknown:
            raise _not_read(unknown.rstrip("."), path, "correct the option, or leave it out")


def _names(lake: Lake, query: str) -> list[str]:
    """The tables that a query may name: no other is opened, so that its cost does not follow the number of tables."""
    if _ASKS_FOR_ALL.search(query):
        return lake.table_names()
    return _named(query, lake)


def _named(query: str, lake: Lake) -> list[str]:
    schemas = {*LAYERS, "ops", *lake.settings.schemas}
    found = [(match[1].lower(), match[2] or match[3]) for match in _NAMED.finditer(query)]
    return list(dict.fromkeys(f"{schema}.{name}" for schema, name in found if schema in schemas))


def _require_reading(opened: DuckDBPyConnection, query: str) -> None:
    """Makes sure that there is one statement, which reads."""
    found = opened.extract_statements(query)
    kinds = [statement.type.name for statement in found]
    if len(kinds) == 1 and kinds[0] in _READING:
        return
    if len(kinds) == 1:
        what = f"{kinds[0]} does not only read, and a query of the lake does"
    else:
        what = f"a query is one statement, and these are {len(kinds)}" if kinds else "there is no query"
    raise ConfigurationError(
        what, where=_WHERE, state=_NOTHING, next_command='lakehouse sql "SELECT * FROM bronze.orders"'
    )


def _add(opened: DuckDBPyConnection, lake: Lake, name: str) -> bool:
    """Makes a table known under its name; False where there is none."""
    schema, table = name.split(".", 1)
    meant = lake.settings.table_name(name)
    found = _rows(lake, meant)
    if found is None:  # SQL does not tell capitals
        known = {stored.lower(): stored for stored in lake.table_names()}
        found = _rows(lake, known[meant.lower()]) if meant.lower() in known else None
    if found is None:
        return False
    alias = f"rows of {name}"
    opened.register(alias, found)
    opened.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(schema)}")
    opened.execute(f"CREATE VIEW {_quoted(schema)}.{_quoted(table)} AS SELECT * FROM {_quoted(alias)}")
    return True


def _rows(lake: Lake, name: str) -> Dataset | None:
    """The rows of a table whose data files are all that there is to them; None where there is none.

    Raises:
        TerminalError: it has to be read by Spark, or cannot be read at all.
    """
    try:
        found = lake.delta(name)
        if found is None:
            return None
        if found.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
            raise _only_spark(lake, name, "its columns have other names in its files (columnMapping)")
        return lake.rows_of(found)
    except DeltaError as error:
        raise _only_spark(lake, name, cause_of(error)) from None


def _only_spark(lake: Lake, name: str, why: str) -> TerminalError:
    return TerminalError(
        f"{name} cannot be read without Spark: {printable(_without_keys(why, lake))}",
        where=lake.settings.table_uri(name),
        state=_NOTHING,
        next_command=f'ask Spark: lakehouse.get_spark().table("{name}")',
    )


def _error_of(error: Exception, lake: Lake, query: str, missing: list[str]) -> LakehouseError:
    """What DuckDB or Arrow say, as an error of this library."""
    message = _without_keys(str(error), lake).strip()
    kind = type(error).__name__
    if unknown := _UNKNOWN.search(message):
        return _no_table(lake, unknown[1], missing)
    if kind == "OutOfMemoryException":
        return TerminalError(
            message.splitlines()[0],
            where=_WHERE,
            state=_NOTHING,
            next_command="ask for fewer columns, fewer rows, or sums of them",
        )
    if arrow_says_gone(error):
        return DataFileMissing(
            f"a data file is gone: {message.splitlines()[0][:300]}",
            where=lake.settings.lake_uri,
            state=f"{_NOTHING}; rows of the table cannot be read",
            next_command="lakehouse doctor",
        )
    if "AWS Error" in message or isinstance(error, OSError):
        return StoreUnavailable(
            f"a data file cannot be read: {message.splitlines()[0][:300]}",
            where=lake.endpoint.url,
            state=_NOTHING,
            next_command="see that the object store runs: lakehouse up",
        )
    return ConfigurationError(message, where=_WHERE, state=_NOTHING, next_command=_hint(kind, _named(query, lake)))


def _no_table(lake: Lake, unknown: str, missing: list[str]) -> ConfigurationError:
    from lakehouse.declaration.problems import nearest  # who makes no slip waits for no declaration

    lake.settings.table_name(unknown)
    known = lake.table_names()
    name = next((table for table in missing if table.lower().endswith(unknown.split(".")[-1].lower())), unknown)
    near = nearest(name, known) or next((table for table in known if table.split(".")[1] == name.split(".")[-1]), None)
    listed = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    return ConfigurationError(
        f"there is no table {name} in the lake" + (f": did you mean {near}?" if near else ""),
        where=lake.settings.lake_uri,
        state=_NOTHING,
        next_command=f"name one of: {listed}" if known else "lakehouse ingest   (no table has rows yet)",
    )


def _hint(kind: str, tables: list[str]) -> str:
    if kind == "PermissionException":
        return "name tables of the lake only: files and addresses are closed to queries"
    if kind == "BinderException" and tables:
        return f'lakehouse sql "DESCRIBE {tables[0]}"'
    return "correct the query; its language is DuckDB's SQL"


def _without_keys(text: str, lake: Lake) -> str:
    keys = (lake.endpoint.access_key, lake.endpoint.secret_key, lake.endpoint.session_token)
    for key in filter(None, keys):
        text = text.replace(key.get_secret_value(), "***")
    return text


def _not_read(what: str, path: str, cure: str) -> ConfigurationError:
    return ConfigurationError(what, where=path, state="nothing was read", next_command=cure)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

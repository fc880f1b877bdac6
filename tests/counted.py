"""Delta tables written without Spark, and checks of them that may not ask for it."""

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from lakehouse.flows.files import Files
from lakehouse.table import At, Catalogue, Table

TABLE = "bronze.things"


class SparkWasAsked(AssertionError):
    """A check wanted a session."""


def no_spark():
    raise SparkWasAsked


def write(lake, rows, table=TABLE, **options):
    """Adds rows in one data file: a table of Arrow, or dictionaries."""
    rows = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows)
    write_deltalake(uri(lake, table), rows, **{"mode": "append", **options}, storage_options=storage(lake))


def opened(lake, table=TABLE):
    return DeltaTable(uri(lake, table), storage_options=storage(lake))


def uri(lake, table=TABLE):
    return lake.settings.table_uri(table).replace("s3a://", "s3://")


def storage(lake):
    return lake.endpoint.deltalake_options()


def place(lake, *checks, table=TABLE, session=no_spark, full=False):
    """Where checks look, each time anew."""
    declared = Table(table, Files(path="s3a://landing/things/"), checks)
    return At(session, lake, declared, Catalogue((declared,)), full=full)


def found(lake, *checks, **options):
    """The findings of all checks, by their names."""
    at = place(lake, *checks, **options)
    return {check.called: check.examine(at) for check in checks}


def in_spark(at):
    """The same place, where Spark alone can look."""
    at.memo["data files"] = None
    return at


def remove_data_files(lake, paths, table=TABLE):
    """Takes data files out of the store, so that who reads them fails."""
    bucket, folder = uri(lake, table).removeprefix("s3://").split("/", 1)
    for path in paths:
        lake.store.delete(bucket, f"{folder}/{path}")

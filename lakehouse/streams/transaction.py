"""A micro-batch as a Delta transaction: what ``foreachBatch`` writes is there once, as with Delta's own sink."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.storage.environment import endpoint_from_environment
from lakehouse.storage.fast_store import FastStore

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SOURCE_VIEW = "source_"
"""Prefix of the view's name, by which ``engine.orphans`` finds the session of a MERGE whose client died."""


def transaction(checkpoint_uri: str, batch_id: int) -> dict[str, str]:
    """Options of the write that commits a batch; Delta skips a write whose transaction the table has."""
    bucket, prefix = split_uri(checkpoint_uri)
    metadata = FastStore(endpoint_from_environment()).read(bucket, f"{prefix.rstrip('/')}/metadata")
    query = json.loads(metadata)["id"]
    about = json.dumps({"epochId": batch_id, "queryId": query})
    return {"txnAppId": query, "txnVersion": str(batch_id), "userMetadata": about}


def merge(source: DataFrame, table_uri: str, clauses: str, options: Mapping[str, str], keys: Mapping[str, str]) -> None:
    """Merges ``source`` into a table; its new columns become columns of the table.

    Args:
        source: The rows.
        table_uri: The Delta table; it must exist.
        clauses: ``ON ... WHEN ...``, in which the table is ``t`` and the source ``s``.
        options: As of a write.
        keys: The session's key for each option, ``engine.conf.TRANSACTION``. It is an argument, because an import of
            that module would cost each new query a third of a second.
    """
    number, spark = uuid.uuid4(), source.sparkSession
    view = f"{SOURCE_VIEW}{number.hex}"
    source.createOrReplaceTempView(view)
    try:
        with _session_of_its_own(spark, str(number)) as session:
            for name, value in options.items():
                session.conf.set(keys[name], value)
            merging = f"MERGE WITH SCHEMA EVOLUTION INTO delta.`{table_uri}` AS t USING {view} AS s {clauses}"
            session.sql(merging).collect()
    finally:
        spark.catalog.dropTempView(view)


@contextmanager
def _session_of_its_own(spark: SparkSession, number: str) -> Iterator[SparkSession]:
    """A session in which nobody else writes. Its id is in the view's name, by which ``engine.orphans`` finds it.

    A MERGE takes its transaction from the session, and the streams of a client share one session of a Connect server:
    another stream's MERGE would be committed, or skipped, under this batch's number. A query of a classic session runs
    in a copy of that session anyway.
    """
    if not hasattr(spark, "cloneSession"):
        yield spark
        return
    session = spark.cloneSession(number)
    try:
        yield session
    finally:
        # not stop(): that needs what PySpark 4.2 gives to sessions of its builder only
        session.client.release_session()
        session.client.close()

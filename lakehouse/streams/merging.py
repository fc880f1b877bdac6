"""MERGE as the transaction of a micro-batch: exactly once, as Delta's own sink is."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lakehouse.autoloader.location import split_uri
from lakehouse.storage.environment import endpoint_from_environment
from lakehouse.storage.fast_store import FastStore

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def merge(changes: DataFrame, clauses: str, *, table_uri: str, checkpoint_uri: str, batch_id: int) -> None:
    """Merges ``changes`` into a table, within ``foreachBatch``; a batch that the table has already is left out.

    Args:
        changes: The source; new columns of it become columns of the table.
        clauses: ``ON ... WHEN ...``, in which the table is ``t`` and the source ``s``.
        table_uri: The Delta table; it must exist.
        checkpoint_uri: The stream's checkpoint: its id and the batch are the transaction.
        batch_id: Spark's number of the batch.
    """
    # imported here: Spark's process for batches starts with each query
    from lakehouse.engine.conf import transaction_conf

    view, spark = f"changes_{uuid.uuid4().hex}", changes.sparkSession
    changes.createOrReplaceTempView(view)
    try:
        with _session_of_its_own(spark) as session:
            for name, value in transaction_conf(_query_id(checkpoint_uri), batch_id).items():
                session.conf.set(name, value)
            session.sql(
                f"MERGE WITH SCHEMA EVOLUTION INTO delta.`{table_uri}` AS t USING {view} AS s {clauses}"
            ).collect()
    finally:
        spark.catalog.dropTempView(view)


@contextmanager
def _session_of_its_own(spark: SparkSession) -> Iterator[SparkSession]:
    """A session in which nobody else writes.

    A MERGE has no options: Delta takes its transaction from the session. A client's streams share one session of a
    Connect server, so that another stream's MERGE would be committed, or left out, under this batch's number. A query
    of a classic session runs in a copy of that session anyway.
    """
    if not hasattr(spark, "cloneSession"):
        yield spark
        return
    session = spark.cloneSession()
    try:
        yield session
    finally:
        # not stop(): of a copy it needs what only the builder of sessions sets
        session.client.release_session()
        session.client.close()


def _query_id(checkpoint_uri: str) -> str:
    bucket, prefix = split_uri(checkpoint_uri)
    said = FastStore(endpoint_from_environment()).read(bucket, f"{prefix.rstrip('/')}/metadata")
    return str(json.loads(said)["id"])

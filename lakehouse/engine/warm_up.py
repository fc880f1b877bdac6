"""Runs a tiny stream on a fresh engine before the user's: the first stream compiles for many seconds.

It loads the same classes as the real streams (JSON source, Delta sink, window, state store, Delta's log on S3), on a
folder of its own that is removed at the end.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from lakehouse.engine.session import connect
from lakehouse.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_LINES = "".join(
    json.dumps({"id": str(i), "at": f"2026-01-01 00:{i:02d}:00", "amount": i / 2, "kind": "a"}) + "\n"
    for i in range(60)
)


def warm_up(lake: Lake, say: Callable[[str], None] = lambda text: None) -> SparkSession:
    """A session on an engine that has run a stream before; returns at once when it has.

    Raises:
        EngineUnavailable: no engine can be reached or started.
    """
    spark = connect(lake, say)
    if lake.settings.spark_remote is not None:
        return spark
    from lakehouse.engine.server import server

    running = server(lake.settings).running()
    mark = server(lake.settings).folder / "warm"
    if running is None or (mark.exists() and mark.read_text() == str(running.pid)):
        return spark
    started = time.monotonic()
    run_tiny_stream(spark, lake)
    mark.write_text(str(running.pid))
    say(f"Spark engine warm ({time.monotonic() - started:.1f} s)")
    return spark


def run_tiny_stream(spark: SparkSession, lake: Lake) -> None:
    """JSON to Delta to windows, sixty rows."""
    from pyspark.sql import functions as F  # noqa: N812

    folder = f"{lake.settings.user}/_warm-up/{uuid.uuid4().hex}"
    base = f"s3a://{lake.settings.bucket}/{folder}"
    lake.store.write(lake.settings.bucket, f"{folder}/in/one.json", _LINES.encode())
    try:
        rows = spark.readStream.schema("id STRING, at STRING, amount DOUBLE, kind STRING").json(f"{base}/in/")
        _drain(rows.withColumn("file", F.col("_metadata.file_path")), f"{base}/check/1", f"{base}/bronze")
        events = spark.readStream.format("delta").load(f"{base}/bronze").withColumn("at", F.to_timestamp("at"))
        windows = events.withWatermark("at", "10 minutes").groupBy(F.window("at", "5 minutes"), "kind")
        _drain(
            windows.agg(F.count("*").alias("n"), F.avg("amount").alias("mean")),
            f"{base}/check/2",
            f"{base}/silver",
        )
        spark.read.format("delta").load(f"{base}/bronze").groupBy("id").count().where("count > 1").count()
    finally:
        lake.store.delete_prefix(lake.settings.bucket, folder + "/")


def _drain(frame: DataFrame, checkpoint: str, target: str) -> None:
    writer = frame.writeStream.format("delta").option("checkpointLocation", checkpoint)
    writer.trigger(availableNow=True).start(target).awaitTermination()

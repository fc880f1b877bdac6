"""Every ``spark.*`` key this project sets, each with its reason. No other file writes such a key."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.settings import Settings
from lakehouse.storage import StoreEndpoint


@dataclass(frozen=True)
class Key:
    """One Spark setting.

    Attributes:
        session: True when a session may set it at run time, so that remote engines get it as well.
    """

    name: str
    value: str
    reason: str
    session: bool = False


_EVERYWHERE = (
    Key("spark.sql.session.timeZone", "UTC", "event times and windows mean the same on every machine", True),
    Key("spark.sql.sources.default", "delta", "a table without USING is a Delta table, as on Databricks", True),
    Key(
        "spark.sql.shuffle.partitions",
        "2",
        "one state file per partition and batch; frozen in a checkpoint",
        True,
    ),
    Key(
        "spark.sql.files.maxPartitionNum",
        "4",
        "small files packed into few tasks: 2 cores, not 200 tasks",
        True,
    ),
    Key("spark.sql.adaptive.enabled", "false", "re-planning costs more than it saves on two partitions", True),
    Key(
        "spark.sql.parquet.outputTimestampType",
        "TIMESTAMP_MICROS",
        "the older INT96 has no minimum and maximum in a file, and other readers cannot read the year 2999 from it",
        True,
    ),
    Key(
        "spark.databricks.delta.snapshotPartitions",
        "1",
        "the default of 50 tasks dominates a small table",
        True,
    ),
    Key(
        "spark.databricks.delta.commit.idempotencyCheck.enabled",
        "true",
        "a commit whose answer was lost is recognised as done instead of being committed again",
        True,
    ),
    Key(
        "spark.sql.streaming.noDataMicroBatches.enabled",
        "true",
        "the batch without data is what closes windows at the end of a run",
        True,
    ),
    Key(
        "spark.sql.streaming.stopActiveRunOnRestart",
        "true",
        "a query left running by a killed client is stopped by the next run with its checkpoint",
        True,
    ),
    Key(
        "spark.sql.streaming.numRecentProgressUpdates",
        "10000",
        "a run's report counts every batch of it",
        True,
    ),
    Key(
        "spark.sql.streaming.pollingDelay",
        "500ms",
        "a stream without a pause between its batches lists the bucket twice a second while idle, not 50 times",
        True,
    ),
    Key(
        "spark.sql.streaming.stopTimeout",
        "60s",
        "a query that cannot be stopped becomes an error; by default whoever stops it waits for ever",
        True,
    ),
    Key(
        "spark.sql.codegen.cache.maxEntries",
        "2000",
        "compiled code of past queries is found again: one run of all tables alone makes more than the default of 100",
    ),
    Key(
        "spark.sql.streaming.metricsEnabled",
        "false",
        "progress is read from the query, not from a metrics sink",
        True,
    ),
)

_ENDLESS = (Key("spark.sql.streaming.numRecentProgressUpdates", "200", "a service reports batches as they come", True),)

_SHARED = (
    Key(
        "spark.sql.artifact.isolation.enabled",
        "false",
        "a session has no class loader and no daemons of Python of its own: an engine of ours has one user",
        True,
    ),
    Key(
        "spark.sql.artifact.isolation.alwaysApplyClassloader",
        "false",
        "the same where no artifact was added",
        True,
    ),
)

_ENGINE = (
    Key("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension", "Delta's SQL"),
    Key("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog", "Delta's tables"),
    Key(
        "spark.sql.catalogImplementation",
        "in-memory",
        "the lake itself is the catalogue: sessions register its tables",
    ),
    Key("spark.driver.host", "127.0.0.1", "never reachable from outside"),
    Key("spark.driver.bindAddress", "127.0.0.1", "never reachable from outside"),
    Key("spark.ui.host", "127.0.0.1", "the pages, when asked for, are for this machine only"),
    Key("spark.ui.showConsoleProgress", "false", "the log file is no terminal"),
    Key("spark.redaction.regex", "(?i)secret|password|token|access[.]?key|session", "wider than Spark's own"),
    Key("spark.cleaner.periodicGC.interval", "5min", "a warm engine drops finished batches' blocks while idle"),
    Key("spark.hadoop.fs.s3a.path.style.access", "true", "bucket names are no host names on a local server"),
    Key(
        "spark.hadoop.fs.s3a.aws.credentials.provider",
        "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider",
        "credentials come from the engine's environment: never in a plan, an option or a process list",
    ),
    Key(
        "spark.hadoop.fs.s3a.input.stream.type",
        "classic",
        "files are small JSON and Parquet, which gain nothing from the prefetching of 'analytics'",
    ),
    Key(
        "spark.hadoop.fs.s3a.connection.maximum",
        "64",
        "enough for 2 cores; the default of 500 is for a fleet",
    ),
    Key("spark.hadoop.fs.s3a.threads.max", "32", "the same"),
    Key(
        "spark.hadoop.fs.s3a.attempts.maximum",
        "3",
        "a dead store is an error within a minute, not in a quarter of an hour",
    ),
    Key("spark.hadoop.fs.s3a.retry.limit", "4", "the same"),
    Key("spark.hadoop.fs.s3a.connection.establish.timeout", "5s", "the same"),
    Key("spark.hadoop.fs.s3a.connection.timeout", "60s", "the same"),
    # spark.hadoop.delta.enableFastS3AListFrom stays off: Delta 4.4.0 calls a method that Hadoop 3.5.0 does not have.
    # spark.hadoop.fs.s3a.performance.flags stays unset for good: "create" turns Delta's "write if absent" into an
    # overwrite without a probe. The checkpoint file manager stays Spark's default: the abortable manager for object
    # stores reports a failed write of an offset as done.
)

_CONNECT = (
    Key("spark.connect.grpc.binding.address", "127.0.0.1", "never reachable from outside"),
    Key(
        "spark.connect.execute.reattachable.senderMaxStreamDuration",
        "2m",
        "long results survive a broken connection",
    ),
    Key("spark.connect.session.manager.defaultSessionTimeout", "60m", "sessions of dead clients go away"),
)


TRANSACTION = {
    "txnAppId": "spark.databricks.delta.write.txnAppId",
    "txnVersion": "spark.databricks.delta.write.txnVersion",
    "userMetadata": "spark.databricks.delta.commitInfo.userMetadata",
}
"""Options of a Delta write, and what a session sets in their place for a MERGE, which takes no options."""


def session_conf() -> dict[str, str]:
    """What every session sets for itself, wherever it runs."""
    return {key.name: key.value for key in _EVERYWHERE if key.session}


def frozen_conf() -> dict[str, str]:
    """Settings that every batch of a checkpoint has to record with the same values: else Spark refuses it."""
    name = "spark.sql.shuffle.partitions"
    return {name: session_conf()[name]}


def endless_conf() -> dict[str, str]:
    """Settings of a session before it starts a query that does not end by itself."""
    return {key.name: key.value for key in _ENDLESS}


def shared_conf() -> dict[str, str]:
    """Settings that an engine of ours reads when a session begins."""
    return {key.name: key.value for key in _SHARED}


def engine_identity(settings: Settings, endpoint: StoreEndpoint) -> dict[str, str]:
    """The settings in which two engines differ. The lake is none of them: one engine serves many lakes."""
    wanted = engine_conf(settings, endpoint, master="")
    return {name: value for name, value in wanted.items() if name != "spark.sql.warehouse.dir"}


def engine_conf(
    settings: Settings, endpoint: StoreEndpoint, *, master: str, connect_port: int | None = None
) -> dict[str, str]:
    """What an engine of ours is started with. Holds no secret."""
    return {
        **({"spark.connect.grpc.binding.port": str(connect_port)} if connect_port else {}),
        **{key.name: key.value for key in (*_EVERYWHERE, *_ENGINE, *_CONNECT)},
        "spark.master": master,
        "spark.app.name": f"lakehouse-{settings.user}",
        "spark.driver.memory": settings.engine_memory,
        "spark.ui.enabled": str(settings.spark_ui).lower(),
        "spark.local.dir": str(settings.home / "engine" / settings.user / "scratch"),
        "spark.sql.warehouse.dir": f"{settings.lake_uri}/default",
        "spark.hadoop.fs.s3a.endpoint": endpoint.url,
        "spark.hadoop.fs.s3a.endpoint.region": endpoint.region,
        "spark.hadoop.fs.s3a.connection.ssl.enabled": str(endpoint.secure).lower(),
    }

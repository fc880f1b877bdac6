"""Bronze: order files as they came, each row with where it came from and when.

``bronze.orders_streaming_basic`` is Spark's own file source: the plain beginning, with an explicit schema.
``bronze.orders_autoloader`` is ``cloudFiles``: inferred columns, a journal of files, and what feeds silver.
``bronze.orders_trigger_availablenow`` is ``cloudFiles`` with nothing but its defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.autoloader.formats.rows import CORRUPT_RECORD, RESCUED_DATA
from lakehouse.autoloader.location import SourcePath
from lakehouse.autoloader.opened import source_id
from lakehouse.autoloader.options import METADATA
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

ORDERS_STREAMING_BASIC = "bronze.orders_streaming_basic"
ORDERS_AUTOLOADER = "bronze.orders_autoloader"
ORDERS_TRIGGER_AVAILABLENOW = "bronze.orders_trigger_availablenow"

ORDER_FIELDS = (
    "order_id STRING, customer_id STRING, order_date STRING, total_amount DOUBLE, "
    "payment_method STRING, product_id STRING, quantity INT"
)
ORDER_COLUMNS = tuple(name.split()[0] for name in ORDER_FIELDS.split(", "))
SEQUENCE = "_source_sequence"
ORDER_FILES = "orders_stream_*.json"
MAX_FILES_PER_TRIGGER = 2


def orders_streaming_basic(spark: SparkSession, landing_uri: str) -> DataFrame:
    """The order files under ``landing_uri`` as a stream.

    Returns:
        The order's seven columns (NULL where a line has no such field), and
        ``_corrupt_record`` STRING: the whole line when it is no valid order, else NULL;
        ``_processing_timestamp`` TIMESTAMP: start of the micro-batch that read it, UTC;
        ``_source_file`` STRING: full path of its file.
    """
    orders = (
        spark.readStream.format("json")
        .schema(f"{ORDER_FIELDS}, {CORRUPT_RECORD} STRING")
        .option("columnNameOfCorruptRecord", CORRUPT_RECORD)
        .option("pathGlobFilter", ORDER_FILES)
        .option("maxFilesPerTrigger", MAX_FILES_PER_TRIGGER)
        # the source forgets files that are older than its newest by this much: never, for a lake that must lose nothing
        .option("maxFileAge", "36500d")
        .load(landing_uri)
    )
    return orders.withColumn("_processing_timestamp", F.current_timestamp()).withColumn(
        "_source_file", F.col("_metadata.file_path")
    )


def autoloader_options(settings: Settings, table: str = ORDERS_AUTOLOADER) -> dict[str, str]:
    """What the stream into ``table`` asks of ``cloudFiles``; ``path`` is the argument of ``load``."""
    return {
        "path": settings.landing_uri,
        "cloudFiles.format": "json",
        "cloudFiles.schemaLocation": settings.schema_uri(table),
        "cloudFiles.journalLocation": f"{settings.journal_root}/{source_id(SourcePath.parse(settings.landing_uri))}",
        "cloudFiles.inferColumnTypes": "true",
        # a batch of bad lines at the first start must not decide the types of what silver adds up
        "cloudFiles.schemaHints": ORDER_FIELDS,
        "cloudFiles.schemaEvolutionMode": settings.schema_evolution_mode,
        "cloudFiles.maxFilesPerTrigger": str(settings.bronze_max_files_per_trigger),
        "cloudFiles.allowOverwrites": settings.allow_overwrites,
        "pathGlobFilter": ORDER_FILES,
    }


def trigger_options(settings: Settings) -> dict[str, str]:
    """What ``bronze.orders_trigger_availablenow`` asks of ``cloudFiles``: the least that it needs.

    The journal is the landing folder's, which ``bronze.orders_autoloader`` has too.
    """
    return {
        "path": settings.landing_uri,
        "cloudFiles.format": "json",
        "cloudFiles.schemaLocation": settings.schema_uri(ORDERS_TRIGGER_AVAILABLENOW),
        "cloudFiles.journalLocation": f"{settings.journal_root}/{source_id(SourcePath.parse(settings.landing_uri))}",
    }


def orders_trigger_availablenow(spark: SparkSession, settings: Settings) -> DataFrame:
    """The same files as a stream of ``cloudFiles`` with default options.

    Returns:
        The columns found in the files, STRING without ``cloudFiles.inferColumnTypes``; ``_rescued_data`` STRING.
    """
    return _cloud_files(spark, trigger_options(settings)).drop(METADATA)


def _cloud_files(spark: SparkSession, options: dict[str, str]) -> DataFrame:
    reader = spark.readStream.format("cloudFiles")
    for name, value in options.items():
        reader = reader.option(name, value) if name != "path" else reader
    return reader.load(options["path"])


def orders_autoloader(spark: SparkSession, settings: Settings, table: str = ORDERS_AUTOLOADER) -> DataFrame:
    """The order files as a stream of ``cloudFiles`` into ``table``.

    Returns:
        The order's columns as inferred; ``_rescued_data`` STRING: JSON of what did not fit them, else NULL;
        ``_processing_time`` TIMESTAMP: start of the micro-batch that read it, UTC;
        ``_source_file`` STRING: full path of its file;
        ``_source_sequence`` BIGINT: the file's number in the journal;
        ``_source_record`` BIGINT: number of the record in the file. The last two together are unique.
    """
    return (
        _cloud_files(spark, autoloader_options(settings, table))
        .withColumn("_processing_time", F.current_timestamp())
        .withColumn("_source_file", F.col(f"{METADATA}.file_path"))
        .withColumn(SEQUENCE, F.col(f"{METADATA}.sequence"))
        .withColumn("_source_record", F.col(f"{METADATA}.record_index"))
        .drop(METADATA)
    )


def evidence_column(orders: DataFrame) -> str:
    """The column of a bronze table that keeps what did not fit."""
    return RESCUED_DATA if RESCUED_DATA in orders.columns else CORRUPT_RECORD


def is_invalid(orders: DataFrame) -> Column:
    """Whether a row is no whole order: its line is broken, or a value is not of its column's type.

    A field that the schema does not have yet is rescued as well, and does not make an order invalid.
    """
    evidence = F.col(evidence_column(orders))
    if evidence_column(orders) == CORRUPT_RECORD:
        return evidence.isNotNull()
    wrong = F.array(*map(F.lit, [*ORDER_COLUMNS, CORRUPT_RECORD]))
    return F.coalesce(F.arrays_overlap(F.json_object_keys(evidence), wrong), F.lit(False))

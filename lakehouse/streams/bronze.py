"""Bronze: order files as they came, each row with where it came from and when.

``bronze.orders_streaming_basic`` is Spark's own file source: the plain beginning, with an explicit schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ORDERS_STREAMING_BASIC = "bronze.orders_streaming_basic"

ORDER_FIELDS = (
    "order_id STRING, customer_id STRING, order_date STRING, total_amount DOUBLE, "
    "payment_method STRING, product_id STRING, quantity INT"
)
CORRUPT_RECORD = "_corrupt_record"
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

"""Orders from files into tables, with the code of a pipeline on Databricks."""

import dlt
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col

spark = SparkSession.active()


@dlt.table(comment="Each line of each file once")
def orders_bronze() -> DataFrame:
    """A row for each line."""
    return (
        spark.readStream.format("cloudFiles")
        .option("cloudFiles.format", "json")
        .option("cloudFiles.inferColumnTypes", "true")
        .load("dbfs:/landing/orders/")
        .select("*", col("_metadata.file_name").alias("source_file"))
        .drop("_metadata")
    )


@dlt.table(comment="Orders that have an amount")
@dlt.expect_or_drop("an amount", "total_amount > 0")
def orders_silver() -> DataFrame:
    """Without orders that have no amount, or none above zero."""
    return dlt.read_stream("orders_bronze").select("order_id", "payment_method", "total_amount", "source_file")

"""The job: everything from the landing folder to silver, in one process on the warm engine."""

import dagster as dg

from assets.names import BRONZE_KEY, SILVER_KEY

ingest_orders = dg.define_asset_job(
    "ingest_orders",
    selection=dg.AssetSelection.assets(BRONZE_KEY, SILVER_KEY),
    executor_def=dg.in_process_executor,
    description="Loads new order files into bronze, checks it, brings silver up to date, checks it.",
)

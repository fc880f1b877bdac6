"""The jobs: everything from the landing folder to gold, and maintenance, each in one process on the warm engine."""

import dagster as dg

from assets.names import BRONZE_KEY, DAILY_REVENUE_KEY, ORDERS_KEY, PROMOTE_KEY, REPLAY_LATE_KEY, SILVER_KEY

ingest_orders = dg.define_asset_job(
    "ingest_orders",
    selection=dg.AssetSelection.assets(BRONZE_KEY, SILVER_KEY, ORDERS_KEY, DAILY_REVENUE_KEY),
    executor_def=dg.in_process_executor,
    description="Loads new order files into bronze, checks it, brings silver and gold up to date, checks them.",
)

maintenance = dg.define_asset_job(
    "maintenance",
    selection=dg.AssetSelection.assets(PROMOTE_KEY, REPLAY_LATE_KEY),
    executor_def=dg.in_process_executor,
    description="Fills columns that joined the schema from what was rescued, and closed windows from late orders.",
)

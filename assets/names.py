"""Names that several definitions share."""

import dagster as dg

from lakehouse.orders.tables import AVAILABLE_NOW_TABLE, BASIC, BRONZE, DAILY_REVENUE, ORDERS, SILVER

LANDING_KEY = dg.AssetKey(["landing", "orders"])
BASIC_KEY = dg.AssetKey(BASIC.split("."))
AVAILABLE_NOW_KEY = dg.AssetKey(AVAILABLE_NOW_TABLE.split("."))
BRONZE_KEY = dg.AssetKey(BRONZE.split("."))
SILVER_KEY = dg.AssetKey(SILVER.split("."))
ORDERS_KEY = dg.AssetKey(ORDERS.split("."))
DAILY_REVENUE_KEY = dg.AssetKey(DAILY_REVENUE.split("."))
PROMOTE_KEY = dg.AssetKey(["maintenance", "promote_rescued_data"])
REPLAY_LATE_KEY = dg.AssetKey(["maintenance", "replay_late_orders"])
OWNERS = ["team:data"]


def pool(table: str) -> str:
    """One pool for each checkpoint, with one place: the one-writer rule in Dagster's words."""
    return f"checkpoint/{table}"

"""The names of the orders' tables, as ``lakehouse.yaml`` declares them."""

BASIC = "bronze.orders_streaming_basic"
"""What Spark's own file source makes of the files."""
BRONZE = "bronze.orders_autoloader"
AVAILABLE_NOW_TABLE = "bronze.orders_trigger_availablenow"
"""What ``cloudFiles`` makes of the files with its defaults."""
SILVER = "silver.orders_windowed_aggregates"
ORDERS = "silver.orders"
DAILY_REVENUE = "gold.daily_revenue"

TABLES = (BRONZE, SILVER, ORDERS, DAILY_REVENUE)
"""The pipeline, in the order of the data."""
ALL_TABLES = (BASIC, AVAILABLE_NOW_TABLE, *TABLES)
COMPUTED = (SILVER, ORDERS, DAILY_REVENUE)

ORDER_FILES = "orders_stream_*.json"

FIRST_ROWS = {SILVER: (6, ("window_start", "payment_method")), DAILY_REVENUE: (8, ("day", "payment_method"))}
"""What the demo shows of a table: how many of its first rows, by which columns."""

"""The names of the orders' tables, as ``lakehouse.yaml`` declares them."""

BASIC = "bronze.orders_streaming_basic"
"""What Spark's own file source makes of the files."""
BRONZE = "bronze.orders_autoloader"
AVAILABLE_NOW_TABLE = "bronze.orders_trigger_availablenow"
"""What ``cloudFiles`` makes of the files with its defaults."""
CHECKPOINT_DEMO = "bronze.orders_checkpoint_demo"
"""Three files a micro-batch, to stop and to go on."""
SILVER = "silver.orders_windowed_aggregates"
ORDERS = "silver.orders"
DAILY_REVENUE = "gold.daily_revenue"

TABLES = (BRONZE, SILVER, ORDERS, DAILY_REVENUE)
"""The pipeline, in the order of the data."""
TOUR = (BASIC, BRONZE, AVAILABLE_NOW_TABLE, SILVER, CHECKPOINT_DEMO)
"""In the order in which they are taught: a first stream, cloudFiles, triggers, windows, checkpoints."""

ORDER_FILES = "orders_stream_*.json"

FIRST_ROWS = {SILVER: (6, ("window_start", "payment_method")), DAILY_REVENUE: (8, ("day", "payment_method"))}
"""What the demo shows of a table: how many of its first rows, by which columns."""

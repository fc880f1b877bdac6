"""The code location: everything Dagster loads."""

import dagster as dg

from assets.bronze import orders_autoloader, orders_streaming_basic, orders_trigger_availablenow
from assets.checks import (
    bronze_basic_checks,
    bronze_checks,
    bronze_trigger_checks,
    gold_checks,
    orders_checks,
    silver_checks,
)
from assets.gold import daily_revenue
from assets.jobs import ingest_orders, maintenance
from assets.landing import landing_orders
from assets.maintenance import promote_rescued_data, replay_late_orders
from assets.schedules import hourly_ingest, nightly_maintenance
from assets.sensors import new_order_files
from assets.silver import orders, orders_windowed_aggregates
from resources.lake import LakeResource
from resources.spark import SparkResource


@dg.definitions
def defs() -> dg.Definitions:
    """Assets, checks, job, sensor and schedule, on resources configured by ``LAKEHOUSE_*`` variables."""
    lake = LakeResource()
    return dg.Definitions(
        assets=[
            landing_orders,
            orders_autoloader,
            orders_streaming_basic,
            orders_trigger_availablenow,
            orders_windowed_aggregates,
            orders,
            daily_revenue,
            promote_rescued_data,
            replay_late_orders,
        ],
        asset_checks=[
            bronze_checks,
            bronze_basic_checks,
            bronze_trigger_checks,
            silver_checks,
            orders_checks,
            gold_checks,
        ],
        jobs=[ingest_orders, maintenance],
        sensors=[new_order_files],
        schedules=[hourly_ingest, nightly_maintenance],
        resources={"lake": lake, "spark": SparkResource(lake=lake)},
        # one process for each run, also for those started by "Materialize": steps share the session
        executor=dg.in_process_executor,
    )

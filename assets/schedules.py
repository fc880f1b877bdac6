"""The safety net behind the sensor."""

import dagster as dg

from assets.jobs import ingest_orders

hourly_ingest = dg.ScheduleDefinition(
    name="hourly_ingest",
    target=ingest_orders,
    cron_schedule="0 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Runs whatever the sensor says: what a tick missed is loaded within the hour.",
)

"""The safety net behind the sensor, and the nightly maintenance."""

import dagster as dg

from assets.jobs import ingest_orders, maintenance

hourly_ingest = dg.ScheduleDefinition(
    name="hourly_ingest",
    target=ingest_orders,
    cron_schedule="0 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Runs whatever the sensor says: what a tick missed is loaded within the hour.",
)

nightly_maintenance = dg.ScheduleDefinition(
    name="nightly_maintenance",
    target=maintenance,
    cron_schedule="30 3 * * *",
    description="Off until it is switched on: it changes rows of bronze and of silver, and none is lost.",
)

"""The landing folder: written by others, observed here."""

import dagster as dg

from assets.names import LANDING_KEY, OWNERS

landing_orders = dg.AssetSpec(
    LANDING_KEY,
    group_name="landing",
    kinds={"minio", "s3", "json"},
    owners=OWNERS,
    description="Order files as their senders put them into the bucket. The sensor looks here and says what waits.",
)

"""Makes the landing bucket and the bucket of the tables when they are missing; safe to run again."""

import sys

from lakehouse.errors import ConfigurationError, LakehouseError
from lakehouse.settings import Settings
from lakehouse.storage import StoreEndpoint, open_store


def make_buckets(settings: Settings) -> None:
    """Makes both buckets on the store that ``LAKEHOUSE_S3_ENDPOINT`` names.

    Raises:
        ConfigurationError: no store is named.
        LakehouseError: the store cannot be reached or refuses.
    """
    if settings.s3_endpoint is None or settings.s3_access_key is None or settings.s3_secret_key is None:
        raise ConfigurationError(
            "no store is named", state="nothing was made", next_command="set LAKEHOUSE_S3_ENDPOINT and its two keys"
        )
    store = open_store(
        StoreEndpoint(settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key, settings.s3_region)
    )
    for bucket in (settings.landing_bucket, settings.bucket):
        store.ensure_bucket(bucket)
        print(f"bucket {bucket} is there")


if __name__ == "__main__":
    try:
        make_buckets(Settings.load())
    except LakehouseError as error:
        sys.exit(str(error))

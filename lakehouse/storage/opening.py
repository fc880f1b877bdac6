"""From settings to a store that answers."""

from __future__ import annotations

from collections.abc import Callable

from lakehouse.settings import Settings
from lakehouse.storage.conditional import prove_once
from lakehouse.storage.embedded import ensure_embedded
from lakehouse.storage.minio_store import MinioStore
from lakehouse.storage.s3_errors import bucket_missing
from lakehouse.storage.store import ObjectStore, StoreEndpoint


def open_store(endpoint: StoreEndpoint) -> ObjectStore:
    """A client for ``endpoint``."""
    return MinioStore(endpoint)


def ensure_store(settings: Settings, say: Callable[[str], None] = lambda text: None) -> StoreEndpoint:
    """The store of these settings, reachable and with both buckets.

    The embedded server is started when needed and its buckets are made. Of somebody else's server
    (``LAKEHOUSE_S3_ENDPOINT``) nothing is changed: a missing bucket is an error. Once, it is asked for its conditional
    writes.

    Raises:
        StoreUnavailable: the server cannot be reached or started.
        AccessDenied: it refuses the credentials.
        BucketMissing: it lacks the bucket of the tables or of the landing files.
        ConfigurationError: it ignores the conditions of writes.
    """
    buckets = sorted({settings.bucket, settings.landing_bucket})
    if settings.s3_endpoint is None or settings.s3_access_key is None or settings.s3_secret_key is None:
        endpoint = ensure_embedded(settings, say)
        store = open_store(endpoint)
        for bucket in buckets:
            store.ensure_bucket(bucket)
        return endpoint
    endpoint = StoreEndpoint(
        settings.s3_endpoint.rstrip("/"), settings.s3_access_key, settings.s3_secret_key, settings.s3_region
    )
    store = open_store(endpoint)
    missing = [bucket for bucket in buckets if not store.bucket_exists(bucket)]
    if missing:
        raise bucket_missing(" and no bucket ".join(missing), endpoint.url)
    prove_once(store, settings, endpoint.url)
    return endpoint

"""Opening the store that the settings name; the embedded server is started when it is needed."""

from __future__ import annotations

from collections.abc import Callable

from lakehouse.errors import StoreUnavailable
from lakehouse.settings import Settings
from lakehouse.storage.by_place import PlacedStore
from lakehouse.storage.conditional import prove_once
from lakehouse.storage.embedded import embedded_endpoint, ensure_embedded, store_server
from lakehouse.storage.s3_errors import KEYS, bucket_missing
from lakehouse.storage.store import ObjectStore, StoreEndpoint


def open_store(endpoint: StoreEndpoint) -> ObjectStore:
    """A client for ``endpoint``, which has local paths, too: files may land on this machine."""

    def client() -> ObjectStore:  # made when it is needed: Dagster's definitions ask for nothing
        from lakehouse.storage.fast_store import FastStore

        return FastStore(endpoint, keys=KEYS)

    return PlacedStore(client)


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
    endpoint = find_store(settings)
    prove_once(open_store(endpoint), settings, endpoint.url)
    return endpoint


def find_store(settings: Settings) -> StoreEndpoint:
    """Finds the store of the settings, and starts, makes or writes nothing.

    Raises:
        StoreUnavailable: the embedded server does not run, or does not answer.
        AccessDenied: it refuses the credentials.
        BucketMissing: it lacks the bucket of the tables or of the landing files.
    """
    store: ObjectStore
    if settings.s3_endpoint is None or settings.s3_access_key is None or settings.s3_secret_key is None:
        found = embedded_endpoint(settings)
        if found is None:
            raise StoreUnavailable(
                "the embedded object store does not run, or does not answer",
                where=str(store_server(settings).log),
                state="nothing was started",
                next_command="lakehouse up",
            )
        endpoint, store = found, open_store(found)
    else:
        endpoint = StoreEndpoint(
            settings.s3_endpoint.rstrip("/"), settings.s3_access_key, settings.s3_secret_key, settings.s3_region
        )
        from lakehouse.storage.minio_store import MinioStore

        store = PlacedStore(lambda: MinioStore(endpoint))  # the SDK says best what is wrong with an address
    missing = [
        bucket for bucket in sorted({settings.bucket, settings.landing_bucket}) if not store.bucket_exists(bucket)
    ]
    if missing:
        raise bucket_missing(" and no bucket ".join(missing), endpoint.url)
    return endpoint

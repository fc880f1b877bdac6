"""The object store: a client, the embedded server, and leases. Everything above it sees only ``ObjectStore``.

Names are loaded on first use: Spark's Python workers need the client alone, and start for every stream.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.storage.embedded import StoreStatus, stop_store, store_status
    from lakehouse.storage.leases import Lease, Takeover, hold_lease
    from lakehouse.storage.minio_binary import ensure_minio_binary
    from lakehouse.storage.minio_store import MinioStore
    from lakehouse.storage.opening import ensure_store, find_store, open_store
    from lakehouse.storage.store import (
        BucketMissing,
        ObjectExists,
        ObjectInfo,
        ObjectMissing,
        ObjectStore,
        StoreEndpoint,
    )

_HOMES = {
    "store": ("BucketMissing", "ObjectExists", "ObjectInfo", "ObjectMissing", "ObjectStore", "StoreEndpoint"),
    "embedded": ("StoreStatus", "stop_store", "store_status"),
    "leases": ("Lease", "Takeover", "hold_lease"),
    "minio_binary": ("ensure_minio_binary",),
    "minio_store": ("MinioStore",),
    "opening": ("ensure_store", "find_store", "open_store"),
}

__all__ = [
    "BucketMissing",
    "Lease",
    "MinioStore",
    "ObjectExists",
    "ObjectInfo",
    "ObjectMissing",
    "ObjectStore",
    "StoreEndpoint",
    "StoreStatus",
    "Takeover",
    "ensure_minio_binary",
    "ensure_store",
    "find_store",
    "hold_lease",
    "open_store",
    "stop_store",
    "store_status",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"lakehouse.storage.{module}"), name)
    raise AttributeError(f"module 'lakehouse.storage' has no attribute {name!r}")

"""Whether the name of a role means anything to the store that is asked.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

import os

NO_ROLE = (
    "the store is not Amazon's, which knows that role, and cloudFiles.stsEndpoint names nobody else who hands out keys"
)


def role_counts(sts_url: str | None, store_url: str | None = None) -> bool:
    """Whether a role is taken on: on Amazon's store, or where somebody else hands out its keys.

    Args:
        sts_url: Who is named by an option.
        store_url: The store; None for that of the environment.
    """
    store = store_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    sts = sts_of(sts_url)
    return _is_amazon(store) or not store or bool(sts and not _is_amazon(sts))


def sts_of(sts_url: str | None) -> str | None:
    """Who hands out keys; None for Amazon's own address."""
    return sts_url or os.environ.get("AWS_ENDPOINT_URL_STS")


def _is_amazon(url: str) -> bool:
    return ".amazonaws.com" in url

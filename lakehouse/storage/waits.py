"""How long ``obstore``'s clients wait, and how often they try again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

RETRIES: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
IDLE_SECONDS = 15
"""Servers close a connection that was idle for some 20 seconds (S3) or 30 (MinIO). A client that uses one just then
loses the request, and each further attempt may meet another such connection: so the client closes them first."""


def client_options(allow_http: bool, timeout_seconds: float = 60) -> Any:
    """``client_options`` of a store.

    Args:
        allow_http: Whether the server may be asked without TLS.
        timeout_seconds: How long one request may take.
    """
    return {
        "allow_http": allow_http,
        "timeout": timedelta(seconds=timeout_seconds),
        "connect_timeout": timedelta(seconds=5),
        "pool_idle_timeout": timedelta(seconds=IDLE_SECONDS),
    }

"""How long ``obstore``'s clients wait, how often they try again, and how their waiting is interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, TypeVar

from lakehouse.storage.certificates import read_bundle_alone

T = TypeVar("T")

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
    read_bundle_alone()
    return {
        "allow_http": allow_http,
        "timeout": timedelta(seconds=timeout_seconds),
        "connect_timeout": timedelta(seconds=5),
        "pool_idle_timeout": timedelta(seconds=IDLE_SECONDS),
    }


def interruptible(ask: Callable[[], T]) -> T:
    """What ``ask`` returns or raises, waited for so that Ctrl-C is heard.

    A client in Rust keeps the main thread from hearing signals until the server answers. So another thread asks, and
    this one waits for it. Other threads hear no signals anyway, and ask themselves.
    """
    if threading.current_thread() is not threading.main_thread():
        return ask()
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    try:
        threading.Thread(target=run, name="asks the store", daemon=True).start()
    except RuntimeError:  # at the end of the process there are no new threads
        return ask()
    return answer.result()

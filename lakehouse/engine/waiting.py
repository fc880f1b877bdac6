"""A server of Spark Connect that is silent: a client says that it waits, and for what, and does not wait for ever.

Spark's client has no deadline, for nobody can tell how long a query may take. A server that works at one answers a new
connection at once all the same, and the pings of an old one. A server that is frozen does neither.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import grpc
import psutil
from pyspark.sql.connect.client import DefaultChannelBuilder

from lakehouse.errors import EngineUnavailable

_ASK_AFTER_SECONDS = 30.0
_ANSWER_SECONDS = 30.0
_CONNECT_SECONDS = 60.0
_PING_SECONDS = 310.0  # a server of gRPC for Java ends connections that are pinged within five minutes
_PONG_SECONDS = 60.0
_log = logging.getLogger(__name__)


def watched(remote: str, pid: int, *, ping_seconds: float = _PING_SECONDS, pong_seconds: float = _PONG_SECONDS) -> Any:
    """The way to a server, whose requests say that they wait, and end as ``UNAVAILABLE`` when it answers no ping.

    Args:
        remote: Its ``sc://`` address.
        pid: Its process, where that is an engine of ours; else 0.
        ping_seconds: An open connection is pinged when nothing came for so long.
        pong_seconds: A connection whose ping is not answered for so long counts as broken.
    """
    options = [
        ("grpc.keepalive_time_ms", round(ping_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", round(pong_seconds * 1000)),
        ("grpc.http2.ping_timeout_ms", round(pong_seconds * 1000)),  # else a minute, whatever the line above says
        ("grpc.http2.max_pings_without_data", 0),  # else it stops after two of them
    ]
    builder = DefaultChannelBuilder(remote, options)
    builder.add_interceptor(Watch(lambda seconds: is_silent(remote, seconds), remote.split("/;")[0], pid))
    return builder


def is_silent(remote: str, seconds: float) -> bool:
    """Whether a server neither answers nor refuses a new connection within a time; nothing is asked of it."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),  # else it is the connection that this process has
        ("grpc.min_reconnect_backoff_ms", round(seconds * 1000) + 60_000),  # no attempt ends before that time
    ]
    known = threading.Event()

    def see(state: grpc.ChannelConnectivity) -> None:
        if state in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
            known.set()

    with DefaultChannelBuilder(remote, options).toChannel() as channel:
        channel.subscribe(see, try_to_connect=True)
        return not known.wait(seconds)


def require_answer(remote: str, pid: int, seconds: float | None = None) -> None:
    """Makes sure that a server which lets itself be connected to is not frozen.

    Raises:
        EngineUnavailable: it does not answer.
    """
    seconds = _CONNECT_SECONDS if seconds is None else seconds
    if is_silent(remote, seconds):
        raise EngineUnavailable(
            f"the Spark Connect server does not answer within {seconds:g} s{state_of(pid)}",
            where=remote.split("/;")[0],
            state="nothing was read or written",
            next_command="lakehouse down   (ends it; then the same again starts another)"
            if pid
            else "start that server, or unset LAKEHOUSE_SPARK_REMOTE to use the engine on this machine",
        )


def state_of(pid: int) -> str:
    """What the system says of an engine of ours, where that explains its silence."""
    try:
        stopped = bool(pid) and psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return ""
    return f": its process is stopped; kill -CONT {pid} lets it go on" if stopped else ""


class Watch(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Notices requests that wait, asks whether their server answers at all, and says so when it does not.

    Args:
        is_silent: Whether the server answers no new connection within so many seconds.
        name: What the server is called.
        pid: Its process, where that is an engine of ours; else 0.
        after_seconds: How long a request has to wait.
    """

    def __init__(
        self, is_silent: Callable[[float], bool], name: str, pid: int, after_seconds: float = _ASK_AFTER_SECONDS
    ) -> None:
        self._is_silent, self._name, self._pid, self._after_seconds = is_silent, name, pid, after_seconds
        self._waiting: dict[int, tuple[str, float]] = {}
        self._numbers, self._changed = count(), threading.Condition()
        self._thread: threading.Thread | None = None

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """A request with one answer."""
        with self._waits(details.method):
            return continuation(details, request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        """A request with many answers: each is waited for."""
        return _Answers(continuation(details, request), lambda: self._waits(details.method))

    def __deepcopy__(self, memo: object) -> Watch:
        """A clone of a session has the same server, and this same watch."""
        return self

    @contextmanager
    def _waits(self, method: str) -> Iterator[None]:
        number = next(self._numbers)
        with self._changed:
            self._waiting[number] = (method.rpartition("/")[2], time.monotonic())
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="waits for Spark", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._waiting[number]

    def _look(self) -> None:
        silent = False
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                method, since = min(self._waiting.values(), key=lambda waiting: waiting[1])
            left_seconds = since + self._after_seconds - time.monotonic()
            if left_seconds > 0:
                time.sleep(left_seconds)
                continue
            silent = self._told(method, since, silent)
            time.sleep(self._after_seconds)

    def _told(self, method: str, since: float, silent: bool) -> bool:
        """Says what has changed; returns whether the server is silent."""
        if not self._is_silent(_ANSWER_SECONDS):
            if silent:
                _log.warning("Spark at %s answers again", self._name)
            return False
        if not silent:
            waited = f"{time.monotonic() - since:.0f} s for an answer to {method}"
            cure = "; to give up: Ctrl-C, then lakehouse down" if self._pid else ""
            who = f"Spark at {self._name}" + (f" (pid {self._pid})" if self._pid else "")
            _log.warning("%s is silent; waiting since %s%s%s", who, waited, state_of(self._pid), cure)
        return True


class _Answers:
    """The answers of a request, each of which is waited for."""

    def __init__(self, call: Any, waits: Callable[[], Any]) -> None:
        self._call, self._waits = call, waits

    def __iter__(self) -> _Answers:
        return self

    def __next__(self) -> Any:
        with self._waits():
            return next(self._call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

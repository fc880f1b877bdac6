"""A bell: it wakes a run that waits for new files, as soon as an event is in the inbox."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lakehouse.events.inbox import Inbox

_STEP_SECONDS = 0.2
"""How long a request to stop may go unnoticed."""


class Bell:
    """Of one inbox.

    Args:
        inbox: Where events come.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._heard = 0

    def listen(self) -> None:
        """From now on an event rings."""
        self._heard = self._inbox.last_number()

    def wait(self, stop: threading.Event, seconds: float, now: Callable[[], float] = time.monotonic) -> bool:
        """Waits for an event after ``listen``, for ``stop``, or until the time is over; returns whether to stop."""
        deadline = now() + seconds
        while not stop.is_set() and (left := deadline - now()) > 0:
            if self._inbox.wait(self._heard, min(_STEP_SECONDS, left)):
                break
        return stop.is_set()

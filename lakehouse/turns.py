"""Which tables of a run are brought up to date at the same time."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Collection, Sequence

_AT_ONCE = 2
"""A stream of Spark keeps one core busy for half of its time."""
_WAKES_SECONDS = 0.5
"""A signal that another thread receives is handled when the main thread wakes."""


class Turns:
    """Runs tables in their order; those that have nothing to do with each other side by side.

    Args:
        tables: Their names, in the order in which related ones follow each other.
        related: Whether one of two tables is computed from the other.
        beside: Whether a table may run beside those others.
        run: Brings a table up to date; what it raises ends all of it.
        stop: Asks those that run to end after their batch; asked again, at once.
    """

    def __init__(
        self,
        tables: Sequence[str],
        *,
        related: Callable[[str, str], bool],
        beside: Callable[[str, Collection[str]], bool],
        run: Callable[[str], None],
        stop: Callable[[], None],
    ) -> None:
        self._waiting, self._running = list(tables), list[str]()
        self._related, self._beside, self._run, self._stop = related, beside, run, stop
        self._changed, self._problem = threading.Condition(), list[BaseException]()

    def take(self) -> None:
        """Runs all of them. Where nothing may run beside a table the caller's own thread runs it.

        Raises:
            BaseException: what a run raised first; the others have ended.
        """
        try:
            with self._changed:
                while (self._waiting or self._running) and not self._problem:
                    at = self._next(self._running)
                    if at is None:
                        self._changed.wait(_WAKES_SECONDS)
                    else:
                        self._begin(self._waiting.pop(at))
        except BaseException as problem:  # Ctrl-C
            self._problem.append(problem)
        self._end_all()
        if self._problem:
            raise self._problem[0]

    def _next(self, running: Sequence[str]) -> int | None:
        """Where the first table waits that may run beside those; None when there is none."""
        if len(running) >= _AT_ONCE:
            return None
        for at, table in enumerate(self._waiting):
            before = [*self._waiting[:at], *running]
            if not any(self._related(table, other) for other in before) and self._beside(table, running):
                return at
        return None

    def _begin(self, table: str) -> None:
        if not self._running and self._next([table]) is None:
            self._run(table)
            return
        self._running.append(table)
        context = contextvars.copy_context()  # spans of the run stay below the command's
        threading.Thread(target=context.run, args=(self._go, table), name=table).start()

    def _go(self, table: str) -> None:
        try:
            self._run(table)
        except BaseException as problem:
            self._problem.append(problem)
        finally:
            with self._changed:
                self._running.remove(table)
                self._changed.notify()

    def _end_all(self) -> None:
        asked = False
        while True:
            try:
                with self._changed:
                    if not self._running:
                        return
                    if not asked:
                        asked = True
                        self._stop()
                    self._changed.wait(_WAKES_SECONDS)
            except KeyboardInterrupt:
                self._stop()

"""What a command does while it prints nothing: one line, written over, on a terminal; a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self, TextIO

from lakehouse.plain_text import printable

SILENT_SECONDS = 2.0
"""How long a command may print nothing."""
PLAIN_SECONDS = 15.0
"""Time between two lines where lines are not written over: in a file, a log, a pipe."""


class LiveLine:
    """Says on standard error what is under way, and for how long.

    Args:
        stream: Standard error.
        silent_seconds: How long a command may be silent on a terminal.
        plain_seconds: How long it may be silent elsewhere, and between two lines.
    """

    def __init__(
        self, stream: TextIO, *, silent_seconds: float = SILENT_SECONDS, plain_seconds: float = PLAIN_SECONDS
    ) -> None:
        self._stream, self._terminal = stream, stream.isatty()
        self._silent = silent_seconds if self._terminal else plain_seconds
        self._pause = min(0.5, silent_seconds) if self._terminal else plain_seconds
        self._text, self._since, self._quiet_since = "", 0.0, 0.0
        self._drawn = False
        self._end, self._lock = threading.Event(), threading.RLock()
        self._thread = threading.Thread(target=self._run, name="live line", daemon=True)

    def doing(self, text: str) -> None:
        """What is under way from now on; empty for nothing that is worth a line."""
        with self._lock:
            self.clear()
            self._text, self._since = text, time.monotonic()

    def clear(self) -> None:
        """Makes room for what is printed now."""
        with self._lock:
            self._quiet_since = time.monotonic()
            if self._drawn:
                self._write("\r\x1b[2K")
                self._drawn = False

    def __enter__(self) -> Self:
        self._since = self._quiet_since = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        with self._lock:
            self.clear()
            self._text = ""

    def _run(self) -> None:
        wait = self._silent
        while not self._end.wait(wait):
            with self._lock:
                now = time.monotonic()
                wait = self._quiet_since + self._silent - now
                if wait <= 0:
                    if self._text:
                        self._say(f" {printable(self._text)}, {now - self._since:.0f} s")
                    wait = self._pause

    def _say(self, line: str) -> None:
        if self._terminal:
            self._write(f"\r\x1b[2K{line}")
            self._drawn = True
        else:
            self._write(f"{line}\n")
            self._quiet_since = time.monotonic()

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads any more: the command goes on
            self._end.set()

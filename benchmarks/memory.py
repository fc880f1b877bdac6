"""Peak resident memory by role, sampled while something runs."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import psutil

_SAMPLE_SECONDS = 0.2


class PeakMemory:
    """Samples this process's children and the servers of one lakehouse home.

    Resident memory is added over processes, so pages shared by a parent and its fork count twice: an upper bound.
    """

    def __init__(self, home: Path) -> None:
        self._home = str(home)
        self._peaks: dict[str, int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def megabytes(self) -> dict[str, float]:
        """Peak of each role and of their sum at one moment."""
        return {f"peak_{role}_megabytes": round(peak / 1e6) for role, peak in sorted(self._peaks.items())}

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            now: dict[str, int] = {}
            for process in psutil.process_iter(["pid", "cmdline"]):
                role = self._role(process)
                if role:
                    with suppress(psutil.Error):
                        now[role] = now.get(role, 0) + process.memory_info().rss
            now["total"] = sum(now.values())
            for role, size in now.items():
                self._peaks[role] = max(size, self._peaks.get(role, 0))

    def _role(self, process: psutil.Process) -> str | None:
        with suppress(psutil.Error):
            command = " ".join(process.info["cmdline"] or [])
            if self._home in command and "SparkSubmit" in command:
                return "spark"
            if self._home in command and ("minio" in command or "weed" in command):
                return "store"
            parents = process.parents()
            ours = os.getpid() in (parent.pid for parent in parents)
            if "pyspark.daemon" in command or "pyspark/daemon" in command:  # another lake's engine has some, too
                return (
                    "workers"
                    if ours or any(self._home in " ".join(ancestor.cmdline()) for ancestor in parents)
                    else None
                )
            if ours:
                return "client"
        return None

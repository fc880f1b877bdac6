"""How the engine starts processes of Python: by a launcher, beside a parent that has imported what they need."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shlex import quote

from lakehouse.processes import write_private

PROCESSES = (
    "pyspark.daemon",
    "pyspark.sql.streaming.python_streaming_source_runner",
    "pyspark.sql.connect.streaming.worker.foreach_batch_worker",
)
"""What Spark starts: parents of workers, and for each stream the planner of its source and its ``foreachBatch``."""

_WITH_PARENT = (
    "import os, sys; python, folder, *engine = sys.argv[1:]; "
    "os.fork() or os.execv(python, [python, '-m', 'lakehouse.engine.worker_parent', folder]); "
    "os.execvp(engine[0], engine)"
)


def launcher(folder: Path) -> str:
    """What the engine of this folder takes for ``python``: a script, written anew.

    Python itself where none can fork, or where nothing in the folder may be run.
    """
    if not _can_fork():
        return sys.executable
    script, asking = folder / "python", Path(__file__).with_name("worker_launcher.py")
    asked = " ".join(map(quote, (sys.executable, "-I", "-S", str(asking), sys.executable, str(folder))))
    write_private(
        script,
        f"""#!/bin/sh
case "$2" in
  {"|".join(PROCESSES)}) exec {asked} "$@" ;;
  *) exec {quote(sys.executable)} "$@" ;;
esac
""",
    )
    script.chmod(0o700)
    return str(script) if os.access(script, os.X_OK) else sys.executable


def with_parent(folder: Path, python: str, engine: list[str]) -> list[str]:
    """The command that becomes the engine, with the parent of its processes as a child where ``python`` asks for it."""
    if python == sys.executable:
        return engine
    return [sys.executable, "-I", "-S", "-c", _WITH_PARENT, sys.executable, str(folder), *engine]


def _can_fork() -> bool:
    """Elsewhere a process with the system's own libraries must not go on after a fork."""
    return sys.platform == "linux" and hasattr(os, "fork")

"""A process that reads parts of batches. Parts come as pickles on its standard input, results go to standard output.

It is a program of its own: ``multiprocessing`` would import the user's script again.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from queue import SimpleQueue
from threading import Thread
from typing import IO, Any

from lakehouse.arrow_alone import keep_pandas_out
from lakehouse.direct.part import Part, Written, write_parts
from lakehouse.storage.store import StoreEndpoint


class WorkerDied(Exception):
    """The process ended without an answer; the text says how."""


class Worker:
    """The caller's side of such a process. One thread uses it at a time."""

    def __init__(self, endpoint: StoreEndpoint) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", __name__]
        # in a session of its own: Ctrl-C reaches the command alone, which lets the running batch finish
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True, env=_variables())
        self._send(endpoint)  # keys go through the pipe: neither the command line nor a log shows them

    def write(self, part: Part) -> Written:
        """See ``write_parts``.

        Raises:
            WorkerDied: the process was killed, or what it read killed it.
        """
        self._send(part)
        assert self._process.stdout is not None
        try:
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            raise WorkerDied(f"exit code {self._process.wait()}") from None
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Written)
        return answer

    def close(self) -> None:
        """Ends the process, also in the middle of a part."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _send(self, what: Any) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(what, self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerDied(f"exit code {self._process.wait()}") from None


def _variables() -> dict[str, str]:
    # Arrow's own allocator keeps freed blocks: 20 to 40 MB more at the peak for a large file, for no less CPU time
    # and glibc's, with an arena for each thread of the clients, up to 90 MB more
    return {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1", **os.environ}


def _answer(part: Part, endpoint: StoreEndpoint) -> Written | BaseException:
    try:
        return write_parts([part], endpoint)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return RuntimeError(f"{type(error).__name__}: {error}")
        return error


def _main() -> None:
    asked: IO[bytes] = os.fdopen(os.dup(0), "rb")
    answers: IO[bytes] = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not be taken for a result
    keep_pandas_out()
    parts: SimpleQueue[Part] = SimpleQueue()
    endpoint = pickle.load(asked)
    Thread(target=_listen, args=(asked, parts), daemon=True).start()
    while True:
        pickle.dump(_answer(parts.get(), endpoint), answers)
        answers.flush()


def _listen(asked: IO[bytes], parts: SimpleQueue[Part]) -> None:
    """Reads parts, and ends this process when the caller is gone: else it would write while the next run does."""
    while True:
        try:
            parts.put(pickle.load(asked))
        except (EOFError, pickle.UnpicklingError):
            os._exit(1)


if __name__ == "__main__":
    _main()

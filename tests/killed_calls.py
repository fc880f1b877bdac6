"""A process that is killed at its n-th call of the file system: at once, with nothing tidied up."""

import os
import signal
from pathlib import Path

FAILED = 3
_CALLS = ("open", "write", "fsync", "link")


def run_and_die(body, at):
    """Runs ``body`` in a child that dies before its call number ``at``; True when it came to its end before."""
    child = os.fork()
    if child == 0:
        code = FAILED
        try:
            _count_down(at)
            body()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"it failed of itself: {code}"
    return code == 0


def run_together(*bodies):
    """Runs each in a process of its own, at the same time; what each returned must be a number below 200."""
    children = []
    for body in bodies:
        child = os.fork()
        if child == 0:
            code = 255
            try:
                code = body()
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert all(0 <= code < 200 for code in codes), codes
    return codes


def _count_down(left):
    state = [left]

    def dying(real):
        def call(*args, **kwargs):
            state[0] -= 1
            if state[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in _CALLS:
        setattr(os, name, dying(getattr(os, name)))
    for name in ("mkdir", "replace", "unlink"):
        setattr(Path, name, dying(getattr(Path, name)))

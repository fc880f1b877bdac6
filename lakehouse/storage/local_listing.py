"""Listing the files below a local folder in the order of keys, as an S3 server lists. No file is ever waited for.

Links are followed, but none that leads back to where it stands. A socket, a pipe, a device and a name that is not UTF-8
are left out, each said once in the log.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from lakehouse.storage.store import ObjectInfo

HIDDEN = re.compile(r"\.~[0-9a-f]{32}")
"""The name of a file that is being written."""

_log = logging.getLogger(__name__)
_logged: set[str] = set()
_MOST_LOGGED = 1_000
_MOST_LINKS = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Identity = tuple[int, int]


def info_of(key: str, found: os.stat_result) -> ObjectInfo | None:
    """What a listing says of a regular file; None for anything else. The ETag is its size, time and inode."""
    if not stat.S_ISREG(found.st_mode):
        return None
    e_tag = f"{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ino:x}"
    try:
        modified = _EPOCH + timedelta(microseconds=found.st_mtime_ns // 1000)
    except OverflowError:
        modified = _EPOCH
    return ObjectInfo(key, found.st_size, e_tag, modified)


def listed(prefix: str, start_after: str | None = None) -> Iterator[ObjectInfo]:
    """All files whose key begins with ``prefix``, in key order; folders that are not there have none.

    Raises:
        PermissionError: a folder may not be read: its files would be missed.
        OSError: ``ELOOP`` where links lead from folder to folder to folder, on ways without end.
    """
    links = 0
    top = prefix[: prefix.rfind("/") + 1]
    try:
        stack = [(_names(top), _identity(top))]
    except (FileNotFoundError, NotADirectoryError):
        return
    while stack:
        key = next(stack[-1][0], None)
        if key is None:
            stack.pop()
        elif not (key.startswith(prefix) or prefix.startswith(key)):
            continue
        elif key.endswith("/"):
            passed = start_after is not None and key <= start_after and not start_after.startswith(key)
            if passed or (inner := _inner(key, [identity for _, identity in stack])) is None:
                continue
            links += os.path.islink(f"/{key[:-1]}")  # noqa: PTH114
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, "links from folder to folder, more than can be followed", f"/{key}")
            stack.append(inner)
        elif start_after is None or key > start_after:
            try:
                found = info_of(key, os.stat(f"/{key}"))  # noqa: PTH116
            except OSError as error:
                if not _gone(error):
                    raise
                continue
            if found is not None:
                yield found
            else:
                _log_once(key, "it is a socket, a pipe or a device")


def folders_in(prefix: str) -> list[str]:
    """Names of the folders directly below ``prefix``."""
    try:
        return [key[len(prefix) : -1] for key in _names(prefix) if key.endswith("/")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _names(folder: str) -> Iterator[str]:
    """Keys in a folder, in the order of keys: a folder's has a slash at its end, which sorts like any character."""
    names = []
    with os.scandir(f"/{folder}") as entries:
        for entry in entries:
            try:
                entry.name.encode()
            except UnicodeEncodeError:
                _log_once(f"{folder}{entry.name}", "its name is not UTF-8")
                continue
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link that leads to itself
                _log_once(f"{folder}{entry.name}", "it is a link that leads nowhere")
                continue
            if is_folder:
                names.append(f"{folder}{entry.name}/")
            elif not HIDDEN.fullmatch(entry.name):
                names.append(f"{folder}{entry.name}")
    return iter(sorted(names))


def _inner(key: str, above: list[_Identity]) -> tuple[Iterator[str], _Identity] | None:
    """A folder below others; None when it is gone, or is one of those folders again."""
    try:
        identity = _identity(key)
        if identity in above:
            _log_once(key, "it leads back to a folder above it")
            return None
        return _names(key), identity
    except OSError as error:
        if _gone(error):
            return None
        raise


def _identity(folder: str) -> _Identity:
    found = os.stat(f"/{folder}")  # noqa: PTH116
    return found.st_dev, found.st_ino


def _gone(error: OSError) -> bool:
    return isinstance(error, FileNotFoundError | NotADirectoryError)


def _log_once(key: str, why: str) -> None:
    if key not in _logged and len(_logged) < _MOST_LOGGED:
        _logged.add(key)
        _log.warning("left out, because %s: %s", why, ascii(f"/{key}"))

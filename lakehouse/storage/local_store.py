"""``ObjectStore`` over folders of this machine: a key is a path, and writes keep what an S3 server promises of them.

An object appears whole or not at all, and is on the disk when ``write`` returns: it is written beside its place under a
name that no listing shows, flushed, and then linked (``if_absent``) or renamed. What takes the place of a file, or
removes it, holds a lock on the folder, so that processes exclude each other, too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lakehouse.errors import AccessDenied, StoreUnavailable, TerminalError
from lakehouse.storage.local_listing import HIDDEN, folders_in, info_of, listed
from lakehouse.storage.store import UNCHANGED, ObjectExists, ObjectInfo, ObjectMissing, ObjectStore

_BATCH_FOLDER = re.compile(r"[0-9]{20}")  # only journals have such: left empty, they would grow many
_LOCK_SECONDS = 30.0
_TRIES = 20
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES)


class LocalStore(ObjectStore):
    """See the module. Of the arguments ``bucket`` there is only ``local_paths.LOCAL``."""

    def list(self, bucket: str, prefix: str = "", start_after: str | None = None) -> Iterator[ObjectInfo]:
        """See ``ObjectStore.list``; what ``local_listing`` says is no file is left out."""
        with _explained(_path(prefix)):
            yield from listed(prefix, start_after)

    def folders(self, bucket: str, prefix: str) -> Sequence[str]:
        """See ``ObjectStore.folders``."""
        with _explained(_path(prefix)):
            return folders_in(prefix)

    def info(self, bucket: str, key: str) -> ObjectInfo | None:
        """See ``ObjectStore.info``."""
        with _explained(path := _path(key)), suppress(FileNotFoundError, NotADirectoryError):
            return info_of(key, path.stat())
        return None

    def read(self, bucket: str, key: str) -> bytes:
        """See ``ObjectStore.read``."""
        with _explained(path := _path(key)), opened(path) as file:
            return _whole(file)

    def write(self, bucket: str, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``ObjectStore.write``; in the folder nothing is left of a write that did not take place."""
        if if_absent and if_match is not None:
            raise ValueError("if_absent and if_match exclude each other")
        path = _path(key)
        with _explained(path):
            for again in reversed(range(_TRIES)):
                try:
                    return _write(path, data, if_absent, if_match)
                except FileNotFoundError:  # the folder was empty, and went meanwhile
                    if not again:
                        raise
        raise AssertionError("unreachable")

    def copy(self, bucket: str, key: str, to_key: str, *, if_match: str) -> None:
        """See ``ObjectStore.copy``. Where it can the copy is the same file under a second name, with the same ETag."""
        path, to = _path(key), _path(to_key)
        with _explained(path):
            _refuse_other(path, if_match)
            _make(to.parent)
            fresh = _hidden_beside(to)
            try:
                _link_or_copy(path.resolve(), fresh)  # of a link what it leads to
                _refuse_other(path, if_match)
                with _locked(to.parent):
                    fresh.replace(to)
            finally:
                fresh.unlink(missing_ok=True)  # a rename between two names of one file does nothing
            _flush(to.parent)

    def delete(self, bucket: str, key: str) -> None:
        """See ``ObjectStore.delete``. A folder stays, but for the folder of a batch."""
        path = _path(key)
        with _explained(path), suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            with _locked(path.parent):
                path.unlink()
            if _BATCH_FOLDER.fullmatch(path.parent.name):
                with suppress(OSError):
                    path.parent.rmdir()

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """See ``ObjectStore.delete_prefix``; the folders go, too. A link is removed, not what it leads to."""
        top, count = _path(prefix[: prefix.rfind("/") + 1]), 0
        with _explained(top):
            for root, folders, names in os.walk(top, topdown=False):
                links = [name for name in folders if Path(root, name).is_symlink()]
                for path in (Path(root, name) for name in (*names, *links)):
                    if str(path)[1:].startswith(prefix):
                        path.unlink(missing_ok=True)
                        count += not HIDDEN.fullmatch(path.name)
                if f"{root}/"[1:].startswith(prefix):
                    with suppress(OSError):
                        Path(root).rmdir()
        return count

    def bucket_exists(self, bucket: str) -> bool:
        """See ``ObjectStore.bucket_exists``."""
        return True

    def ensure_bucket(self, bucket: str) -> None:
        """See ``ObjectStore.ensure_bucket``."""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A regular file, open for reading; what would keep its reader waiting is refused, as if it were not there.

    Raises:
        FileNotFoundError: there is none.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise FileNotFoundError(errno.ENOENT, "not a file", str(path)) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a file", str(path))
        yield file
    finally:
        os.close(file)


def _path(key: str) -> Path:
    if "\0" in key or ".." in key.split("/"):
        raise TerminalError("not a path of a file", where=repr(f"/{key}"), state=UNCHANGED)
    return Path(f"/{key}")


def _whole(file: int) -> bytes:
    pieces = []
    while piece := os.read(file, 1 << 24):
        pieces.append(piece)
    return b"".join(pieces)


def _write(path: Path, data: bytes, if_absent: bool, if_match: str | None) -> str:
    _make(path.parent)
    fresh = _hidden_beside(path)
    try:
        e_tag = _write_fresh(fresh, data)
        if not (if_absent and _linked(fresh, path)):
            with _locked(path.parent):
                if if_absent and path.exists():
                    raise FileExistsError(errno.EEXIST, "there", str(path))
                if if_match is not None:
                    _refuse_other(path, if_match)
                fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
        _flush(path.parent)  # of a name that another writer had first, too: who lost relies on it
    return e_tag


def _linked(fresh: Path, path: Path) -> bool:
    """Whether the file system links; then of two writers it lets one have the name."""
    try:
        os.link(fresh, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def _link_or_copy(path: Path, fresh: Path) -> None:
    if not _linked(path, fresh):
        shutil.copy2(path, fresh)
        with opened(fresh) as file:
            os.fsync(file)


def _write_fresh(fresh: Path, data: bytes) -> str:
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
        found = info_of("", os.fstat(file))
        assert found is not None
        return found.e_tag
    finally:
        os.close(file)


def _refuse_other(path: Path, e_tag: str) -> None:
    there = info_of("", path.stat())
    if there is None or there.e_tag != e_tag:
        raise FileExistsError(errno.EEXIST, "another version", str(path))


def _hidden_beside(path: Path) -> Path:
    return path.parent / f".~{uuid.uuid4().hex}"


def _make(folder: Path) -> None:
    """Makes a folder and those above it, durably."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        _make(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file", str(folder)) from None
    _flush(folder.parent)


def _flush(folder: Path) -> None:
    """Makes names in the folder durable."""
    with suppress(FileNotFoundError):  # it was a batch's, and is gone with what was in it
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + _LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        yield
    finally:
        os.close(file)  # which lets the lock go, too


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    where = f"file://{path}"
    try:
        yield
    except FileExistsError:
        raise ObjectExists("another version of the file is there", where=where, state=UNCHANGED) from None
    except FileNotFoundError:
        raise ObjectMissing("there is no such file", where=where, state=UNCHANGED) from None
    except OSError as error:
        raise explanation(error, where) from None


def explanation(error: OSError, where: str) -> Exception:
    """What is wrong with a path or its disk, in our words."""
    at = f"file://{error.filename}" if isinstance(error.filename, str) else where
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return AccessDenied(
                f"this process may not read or write here ({error.strerror})",
                where=at,
                state=UNCHANGED,
                next_command="give the user of Spark's processes the rights, or name another folder",
            )
        case errno.ENOTDIR | errno.EISDIR:
            stands = "a file stands where a folder" if error.errno == errno.ENOTDIR else "a folder stands where a file"
            return TerminalError(
                f"{stands} is needed", where=at, state=UNCHANGED, next_command="remove it, or name another folder"
            )
        case errno.ELOOP | errno.ENAMETOOLONG:
            return TerminalError(f"no path that can be followed ({error.strerror})", where=at, state=UNCHANGED)
        case errno.ENOSPC | errno.EDQUOT:
            cure = "make room on the disk, then run the same again"
        case errno.EAGAIN:
            cure = "another process holds this folder: see what it waits for, then run the same again"
        case _:
            cure = "see whether the disk is well, then run the same again"
    return StoreUnavailable(
        f"the disk does not do what it should ({error.strerror or type(error).__name__})",
        where=at,
        state="this call may or may not have taken effect: it is safe to repeat",
        next_command=cure,
    )

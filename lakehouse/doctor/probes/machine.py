"""This machine: room in ``LAKEHOUSE_HOME``, and libraries of the versions that were tested together."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Ward, some
from lakehouse.plain_text import sized

ABOUT, OF, ORDER = "room on the disk, tested versions", "lake", 80
_LITTLE_BYTES, _NOTHING_BYTES = 2 << 30, 200 << 20
_LOCK = Path(__file__).resolve().parents[3] / "requirements.lock"
_CHECKED = ("pyspark", "deltalake", "delta-spark", "minio", "obstore", "pyarrow", "fastavro", "numpy", "pydantic")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)

DISK = Sign(
    "disk_full",
    Verdict.WARN,
    "the embedded store refuses writes, Spark ends with No space left on device",
    "the disk of LAKEHOUSE_HOME, or that of temporary files, is almost full",
    "free room there, or name a folder on another disk in LAKEHOUSE_HOME or TMPDIR; then: lakehouse doctor",
)
VERSIONS = Sign(
    "versions_differ",
    Verdict.WARN,
    "errors that nobody else has",
    "libraries have other versions than those that were tested together",
    "python -m pip install --no-deps --require-hashes -r {lock}",
)
SIGNS = (DISK, VERSIONS)


def examine(ward: Ward) -> Iterator[Seen]:
    """Asks the file system and the environment; nothing of the store."""
    import tempfile

    home = ward.lake.settings.home
    for folder in {_there(home), Path(tempfile.gettempdir())}:
        free = shutil.disk_usage(folder).free
        evidence = {"free_bytes": free}
        if free < _LITTLE_BYTES:
            verdict = Verdict.FAIL if free < _NOTHING_BYTES else Verdict.WARN
            yield Seen(DISK, f"{sized(free)} are free", str(folder), evidence, verdict=verdict)
        else:
            yield Seen(None, f"{sized(free)} are free", str(folder), evidence)
    if not _LOCK.is_file():  # the installed library: its requirements are the installer's care
        return
    pinned = {name.lower(): wanted for name, wanted in _PINNED.findall(_LOCK.read_text())}
    differing = {}
    for name in _CHECKED:
        has = _version(name)
        if has is not None and name in pinned and pinned[name] != has:
            differing[name] = f"{has}, not {pinned[name]}"
    if differing:
        filled = {"lock": shlex.quote(str(_LOCK))}
        yield Seen(VERSIONS, f"other versions than tested: {some(differing)}", str(_LOCK), differing, filled)
    else:
        yield Seen(None, "libraries have the tested versions", str(_LOCK), {"checked": len(_CHECKED)})


def _there(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

"""Reading which files a stream elsewhere has loaded: Spark's file source, or Auto Loader's ``cloud_files_state``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.errors import ConfigurationError
from lakehouse.storage.store import ObjectMissing, ObjectStore

_KINDS = (".csv", ".json", ".jsonl", ".ndjson")
_NULLS = ("", "null", "NULL", "None")


@dataclass(frozen=True)
class Elsewhere:
    """Files that a stream has loaded.

    Attributes:
        what: Whose books these are, for people.
        paths: The files as they are written there, in the order in which they were loaded.
        not_loaded: How many more it knew of and had not finished.
        escaped: Whether paths are written there with the escapes of a URI.
    """

    what: str
    paths: tuple[str, ...]
    not_loaded: int = 0
    escaped: bool = False


def read_elsewhere(store: ObjectStore, source: str) -> Elsewhere:
    """Reads such books.

    Args:
        store: Of the checkpoint, or of the file.
        source: A checkpoint of Spark's file source; or a file with the rows of ``cloud_files_state``: ``.csv`` with a
            header, ``.json`` (an array, or a row a line), in the store or on this machine.

    Raises:
        ConfigurationError: it is neither, or does not say what was loaded.
    """
    if source.lower().endswith(_KINDS):
        return _from_state(_text(store, source), source)
    return _from_checkpoint(store, source.rstrip("/") + "/")


def _from_checkpoint(store: ObjectStore, folder: str) -> Elsewhere:
    bucket, prefix = split_uri(folder)

    def numbers(name: str) -> dict[str, str]:
        at = f"{prefix}{name}/"
        found = (info.key.removeprefix(at) for info in store.list(bucket, at))
        return {file: at + file for file in found if file.removesuffix(".compact").isdigit()}

    offsets, commits, entries = numbers("offsets"), numbers("commits"), numbers("sources/0")
    if not entries:
        known = next(iter(store.list(bucket, prefix)), None) is not None
        what = "a checkpoint, but not one of Spark's file source" if known else "no checkpoint"
        raise _refused(
            folder,
            f"there is {what}: it has no sources/0 with names of files",
            "name the folder given as checkpointLocation; of Auto Loader save SELECT * FROM "
            "cloud_files_state('<checkpoint>') as .csv or .json, and name that",
        )
    if numbers("sources/1"):
        raise _refused(folder, "the stream has more than one source", "a table here is of one: name its own checkpoint")
    planned, finished = (max((int(batch) for batch in batches), default=None) for batches in (offsets, commits))
    if finished is None or str(finished) not in offsets:
        raise _refused(folder, "no batch of the stream is finished", "load all files here: lakehouse ingest TABLE")
    if planned != finished:
        raise _refused(
            folder,
            f"batch {planned} is planned and not finished: whether its rows are in the table only its stream can tell",
            "let the old stream run until it is done, and stop it then",
        )
    with _readable(f"{folder}offsets/{finished}"):
        upto = json.loads(_lines(store, bucket, offsets[str(finished)])[1])
    if not isinstance(upto, dict) or "logOffset" not in upto:
        raise _refused(
            f"{folder}offsets/{finished}", "its offsets are not those of Spark's file source", "name another checkpoint"
        )
    log = dict[int, list[str]]()
    newest = max((int(file.removesuffix(".compact")) for file in entries if file.endswith(".compact")), default=-1)
    for name, key in entries.items():
        if name != f"{newest}.compact" and not (name.isdigit() and int(name) > newest):
            continue  # what is repeated in the newest such entry
        with _readable(f"{folder}sources/0/{name}"):
            for line in _lines(store, bucket, key):
                entry = json.loads(line)
                log.setdefault(int(entry["batchId"]), []).append(str(entry["path"]))
    loaded = [path for number in sorted(log) if number <= upto["logOffset"] for path in log[number]]
    return Elsewhere("Spark's file source", tuple(loaded), sum(map(len, log.values())) - len(loaded), escaped=True)


def _lines(store: ObjectStore, bucket: str, key: str) -> list[str]:
    """The lines of an object of a checkpoint, without the first, which names the version of its format."""
    version, *lines = store.read(bucket, key).decode().splitlines()
    if version != "v1":
        raise ValueError(version)
    return lines


@contextmanager
def _readable(where: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, TypeError):
        raise _refused(
            where,
            "it is empty, cut off or damaged: what was loaded is not known",
            "name a whole copy of the checkpoint",
        ) from None


def _from_state(text: str, source: str) -> Elsewhere:
    rows = [{name.lower(): value for name, value in row.items()} for row in _rows(text, source)]
    names = {name for row in rows for name in row}  # Spark leaves out of a line of JSON what is NULL
    if rows and not {"path", "commit_time"} <= names:
        raise _refused(
            source,
            "its rows have no path and commit_time",
            "save all columns of SELECT * FROM cloud_files_state('<checkpoint>')",
        )
    loaded, waiting = [], 0
    for row in rows:
        if row.get("path") in (None, *_NULLS):
            continue
        if row.get("commit_time") in (None, *_NULLS):
            waiting += 1
        else:
            loaded.append((str(row["commit_time"]), str(row["path"])))
    return Elsewhere("cloud_files_state", tuple(path for _, path in sorted(loaded)), waiting)


def _rows(text: str, source: str) -> Iterator[dict[str, Any]]:
    if source.lower().endswith(".csv"):
        yield from csv.DictReader(io.StringIO(text))
        return
    try:
        array = text.lstrip().startswith("[")
        whole = json.loads(text) if array else map(json.loads, filter(str.strip, text.split("\n")))
        yield from (dict(row) for row in whole)
    except (ValueError, TypeError) as error:
        raise _refused(source, f"it is no JSON of rows: {error}", "save the rows as JSON, one a line") from None


def _text(store: ObjectStore, source: str) -> str:
    try:
        data = store.read(*split_uri(source)) if "://" in source else Path(source).read_bytes()
        return data.decode("utf-8-sig")
    except (ObjectMissing, OSError) as error:
        raise _refused(source, f"it cannot be read: {error}", "name a file that is there") from None
    except UnicodeDecodeError:
        raise _refused(source, "it is not UTF-8", "save it as UTF-8") from None


def _refused(where: str, what: str, next_command: str) -> ConfigurationError:
    return ConfigurationError(what, where=where, state="nothing was changed", next_command=next_command)

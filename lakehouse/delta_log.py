"""A Delta log read object by object: what a commit says, and which commit is newest; not the state of the table.

To open a table takes requests for each commit since its last checkpoint. These functions take only their own.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.errors import LakehouseError
from lakehouse.storage import ObjectMissing, ObjectStore
from lakehouse.storage.delta_paths import commit_uri, log_uri

CHECKPOINT_INTERVAL = {"delta.checkpointInterval": "10"}
"""Spark's own interval, in commits. That of ``deltalake`` is 100, and whoever opens the table reads all since then."""
_COMMIT = re.compile(r"(\d{20})\.json")


def newest_version(store: ObjectStore, uri: str) -> int | None:
    """The newest version of a table, or None when there is none: two requests, whatever the table's age.

    Args:
        store: Where it is.
        uri: Its folder.
    """
    bucket, log = split_uri(log_uri(uri))
    checkpoint = _last_checkpoint(store, bucket, log)
    after = None if checkpoint is None else f"{log}{checkpoint:020d}"
    newest = checkpoint
    for info in store.list(bucket, log, start_after=after):
        found = _COMMIT.fullmatch(info.key.removeprefix(log))
        if found:
            newest = max(int(found[1]), newest or 0)
    return newest


def commits_from(store: ObjectStore, uri: str, version: int) -> dict[int, str]:
    """The commits of a table from ``version`` on, each with what tells its object from any other: one request."""
    bucket, log = split_uri(log_uri(uri))
    found = {}
    for info in store.list(bucket, log, start_after=f"{log}{version:020d}.j"):  # behind the commit's checkpoint
        commit = _COMMIT.fullmatch(info.key.removeprefix(log))
        if commit:
            found[int(commit[1])] = f"{info.e_tag} {info.last_modified.isoformat()}"
    return found


def commit_entries(store: ObjectStore, uri: str, first: int, last: int) -> list[dict[str, Any]]:
    """What commits say of themselves, the newest first, as ``DeltaTable.history`` gives it; a request a commit.

    Args:
        store: Where the table is.
        uri: Its folder.
        first: The oldest version; those before that the log has lost are left out.
        last: The newest version.
    """
    found = []
    for version in range(last, first - 1, -1):
        try:
            info = next(
                (action["commitInfo"] for action in _actions(store, uri, version) if "commitInfo" in action), None
            )
        except ObjectMissing:
            break
        if info is not None:
            found.append({**info, "version": version})
    return found


def told_by_commit(store: ObjectStore, uri: str, version: int) -> list[dict[str, Any]]:
    """What a commit tells of itself and of transactions (``commitInfo``, ``txn``); nothing where it cannot be read.

    Lines of data files, of which there can be very many, are not parsed.
    """
    try:
        lines = store.read(*split_uri(commit_uri(uri, version))).splitlines()
        return [json.loads(line) for line in lines if line.startswith((b'{"commitInfo"', b'{"txn"'))]
    except (LakehouseError, ValueError):  # whoever opens the table says what is wrong with its log
        return []


def takes_rows_out(store: ObjectStore, uri: str, version: int) -> bool:
    """Whether a commit takes rows out, with their files; True for a commit that the log has lost."""
    try:
        removed = [action["remove"] for action in _actions(store, uri, version) if "remove" in action]
    except ObjectMissing:
        return True
    return any(action.get("dataChange", True) for action in removed)


def removed_paths(store: ObjectStore, uri: str, version: int) -> set[str]:
    """Paths of the data files that a commit takes out of a table, below the table's folder.

    Raises:
        ObjectMissing: the log has lost the commit.
    """
    return {unquote(action["remove"]["path"]) for action in _actions(store, uri, version) if "remove" in action}


def _actions(store: ObjectStore, uri: str, version: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in store.read(*split_uri(commit_uri(uri, version))).splitlines() if line.strip()]


def _last_checkpoint(store: ObjectStore, bucket: str, log: str) -> int | None:
    try:
        return int(json.loads(store.read(bucket, f"{log}_last_checkpoint"))["version"])
    except (ObjectMissing, ValueError, KeyError, TypeError):
        return None

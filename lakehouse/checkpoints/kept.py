"""Changes of its source that a table did not follow: it keeps what it had computed from the rows."""

from __future__ import annotations

import json

from lakehouse.checkpoints.agreement import CheckpointUnreadable, object_key, readable
from lakehouse.lake import Lake
from lakehouse.storage import ObjectMissing

JUDGED = "judged.json"
"""The object of a checkpoint that says up to which version of its source all changes were looked at."""


def note_kept(lake: Lake, table: str, versions: list[int]) -> None:
    """Remembers that ``table`` keeps what it computed from rows that its source lost in these versions."""
    known = kept_removals(lake, table)
    if set(versions) - set(known):
        content = json.dumps({"versions": sorted({*known, *versions})}).encode()
        lake.store.write(lake.settings.bucket, kept_key(lake, table), content)


def kept_removals(lake: Lake, table: str) -> list[int]:
    """Versions of its source whose removals the table did not follow; it cannot be computed again without a loss.

    Raises:
        CheckpointUnreadable: the object that says so is damaged.
    """
    try:
        text = lake.store.read(lake.settings.bucket, kept_key(lake, table))
    except ObjectMissing:
        return []
    with readable(lake, table, f"{table}.kept.json", f"s3a://{lake.settings.bucket}/{kept_key(lake, table)}"):
        return [int(version) for version in json.loads(text)["versions"]]


def unreadable_kept(lake: Lake, table: str) -> str:
    """What is wrong with the object that says which removals the table did not follow; empty when nothing is."""
    try:
        kept_removals(lake, table)
    except CheckpointUnreadable as error:
        return error.what
    return ""


def keep_again(lake: Lake, table: str) -> None:
    """Writes anew that the table keeps rows: of which versions nobody knows, and version 0 stands for them."""
    lake.store.write(lake.settings.bucket, kept_key(lake, table), json.dumps({"versions": [0]}).encode())


def forget_kept(lake: Lake, table: str) -> None:
    """The table is computed anew, from what its source has."""
    lake.store.delete(lake.settings.bucket, kept_key(lake, table))


def kept_key(lake: Lake, table: str) -> str:
    """The object with the versions of its source whose removals a table did not follow."""
    return f"{lake.settings.user}/_checkpoints/{table}.kept.json"


def note_judged(lake: Lake, table: str, version: int) -> None:
    """Remembers that all changes of its source up to this version were looked at, and ``table`` may leave them out."""
    content = json.dumps({"version": version}).encode()
    lake.store.write(lake.settings.bucket, object_key(lake, table, JUDGED), content)


def judged_up_to(lake: Lake, table: str) -> int | None:
    """Up to which version of its source all changes were looked at; None when nobody said so, or it is damaged."""
    try:
        return int(json.loads(lake.store.read(lake.settings.bucket, object_key(lake, table, JUDGED)))["version"])
    except (ObjectMissing, ValueError, KeyError, TypeError):
        return None

"""Tables whose next run does what somebody asked for: an object for each, which whoever starts runs can list.

The objects are written over and never removed: each version of an object asks for one run.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

from lakehouse.lake import Lake


def ask_for_run(lake: Lake, table: str, what: str) -> None:
    """Says that a run of the table is waited for. Called after what the run shall find is written.

    Args:
        lake: Where the table is.
        table: ``layer.name``.
        what: What was asked for, in a word; for people.
    """
    said = {"what": what, "at": datetime.now(UTC).isoformat(timespec="seconds"), "id": uuid.uuid4().hex}
    lake.store.write(lake.settings.bucket, _folder(lake) + table, json.dumps(said).encode())


def asked_runs(lake: Lake) -> dict[str, str]:
    """The tables for which a run was asked, each with the ETag of its object: one listing, however many tables."""
    folder = _folder(lake)
    return {info.key.removeprefix(folder): info.e_tag for info in lake.store.list(lake.settings.bucket, folder)}


def _folder(lake: Lake) -> str:
    return f"{lake.settings.user}/_asked/"

"""The definition with which a stateful stream began. Its state is made by that definition, so it must not change."""

from __future__ import annotations

import json
from typing import Any

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import ConfigurationError
from lakehouse.lake import Lake
from lakehouse.storage import ObjectMissing

_NAME = "definition.json"


def keep_definition(lake: Lake, table: str, definition: dict[str, Any]) -> None:
    """Writes the definition beside a new checkpoint, and compares later ones with it.

    Spark itself would mix windows of two lengths. What an older version did not write is added as it is now, and
    compared from then on.

    Raises:
        ConfigurationError: the checkpoint was begun with another definition.
        CheckpointUnreadable: what it was begun with is damaged.
    """
    bucket, key = lake.settings.bucket, checkpoints.object_key(lake, table, _NAME)
    try:
        text = lake.store.read(bucket, key)
    except ObjectMissing:
        lake.store.write(bucket, key, json.dumps(definition).encode())
        return
    with checkpoints.readable(lake, table, _NAME, cure="restart"):  # nothing else says how the state was made
        begun: dict[str, Any] = dict(json.loads(text))
    changed = [name for name in sorted(begun) if begun[name] != definition.get(name)]
    state = checkpoints.read_checkpoint(lake, table)
    if changed and (state is None or state.last_offset is None):  # no batch was planned by that definition
        lake.store.write(bucket, key, json.dumps(definition).encode())
        return
    if changed:
        differences = "; ".join(f"{name} was {begun.get(name)}, now it is {definition.get(name)}" for name in changed)
        raise ConfigurationError(
            f"the state of {table} belongs to another definition: {differences}",
            where=lake.settings.checkpoint_uri(table),
            state="nothing was read or written",
            next_command=f"set it back, or compute the table anew: lakehouse checkpoint restart {table}"
            "   (says what it would do; --yes does it)",
        )
    if definition.keys() - begun.keys():
        lake.store.write(bucket, key, json.dumps(definition).encode())

"""Names that several definitions share."""

import dagster as dg


def key_of(table: str) -> dg.AssetKey:
    """``layer.name`` as ``[layer, name]``."""
    return dg.AssetKey(table.split("."))


def pool(table: str) -> str:
    """One pool for each checkpoint, with one place: the one-writer rule in Dagster's words."""
    return f"checkpoint/{table}"

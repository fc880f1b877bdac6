"""Names that several definitions share."""

import dagster as dg

LEVER_TAG = "lakehouse/lever"
"""Of runs that a person asked for, with the lever that was pulled."""

DAY_AGAIN = "load_day_again"
"""Of that tag: a run that loads a day of source files again."""

TRACE_PARENT = "lakehouse/traceparent"
"""Of runs that a sensor asked for, with its span in W3C's words; where traces are on."""


def key_of(table: str) -> dg.AssetKey:
    """``layer.name`` as ``[layer, name]``."""
    return dg.AssetKey(table.split("."))


def step_of(table: dg.AssetKey) -> str:
    """The step that brings a table up to date."""
    return "__".join(table.path)


def check_step_of(table: dg.AssetKey) -> str:
    """The step that checks a table."""
    return f"{step_of(table)}__checks"


def pool(table: str) -> str:
    """One pool for each checkpoint, with one place: the one-writer rule in Dagster's words."""
    return f"checkpoint/{table}"


def turn_tags(turn: int) -> dict[str, str]:
    """Tags of a step: of the steps that could run, the step with the highest turn is first."""
    return {"dagster/priority": str(turn)} if turn else {}

"""One tick's look at all landing folders: bounded in time, and a folder that cannot be listed hides no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from lakehouse.dagster import arrivals
from lakehouse.dagster.arrivals import Look
from lakehouse.dagster.cursor import Cursor
from lakehouse.dagster.landing import Folder
from lakehouse.dagster.loaded import loaded_by_all
from lakehouse.dagster.notified import UNKNOWN, look_by_events
from lakehouse.errors import LakehouseError, StoreUnavailable
from lakehouse.lake import Lake

LOOK_SECONDS = 20.0
"""After so long a tick looks at no further folder: Dagster gives a tick 60 seconds, and the next one goes on there."""


@dataclass
class Looked:
    """What a tick found.

    Attributes:
        found: The folders that were looked at, with what was found.
        problems: Why a folder could not be listed.
        left: Folders that the next tick begins with.
    """

    found: list[tuple[Folder, Look]] = field(default_factory=list)
    problems: dict[str, LakehouseError] = field(default_factory=dict)
    left: list[Folder] = field(default_factory=list)


def look_around(
    lake: Lake, folders: Sequence[Folder], cursor: Cursor, *, now: datetime, in_a_hurry: Callable[[Folder], bool]
) -> Looked:
    """Looks at each folder once, beginning where the last tick ended.

    Args:
        lake: Where they are.
        folders: All of them.
        cursor: What is remembered.
        now: The moment of this tick.
        in_a_hurry: Whether no run for that folder would start anyway.

    Raises:
        StoreUnavailable: nothing can be listed.
        LakehouseError: no folder can be listed.
    """
    names = [folder.name for folder in folders]
    start = names.index(cursor.first) if cursor.first in names else 0
    looked, began = Looked(), time.monotonic()
    for number, folder in enumerate(turned := [*folders[start:], *folders[:start]]):
        if number and time.monotonic() - began > LOOK_SECONDS:
            looked.left = turned[number:]
            break
        try:
            hurry = in_a_hurry(folder)
            by_events = look_by_events(lake.settings, folder, cursor.of(folder), now, in_a_hurry=hurry)
            # a listing in place of events that were read, or are forgotten, is of the whole folder
            seconds = folder.listing_interval_seconds() if by_events.upto == UNKNOWN else 0.0
            found = by_events.look or arrivals.look(
                lake.store,
                folder.bucket,
                folder.root,
                folder.takes(),
                cursor.of(folder),
                now=now,
                interval_seconds=seconds,
                in_a_hurry=hurry,
                loaded=loaded_by_all(lake, folder),
            )
        except StoreUnavailable:
            raise
        except LakehouseError as problem:
            looked.problems[folder.name] = problem
        else:
            looked.found.append((folder, replace(found, after=replace(found.after, told=by_events.upto))))
    if looked.problems and not looked.found:
        raise next(iter(looked.problems.values()))
    return looked

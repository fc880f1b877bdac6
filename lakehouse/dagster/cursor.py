"""The sensor's cursor: what runs were asked for, and which folder comes first in the next tick."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from lakehouse.dagster.arrivals import Seen
from lakehouse.dagster.landing import Folder

_VERSION = 3


@dataclass(frozen=True)
class Cursor:
    """What the sensor remembers.

    Attributes:
        seen: By name of a folder, for which tables it was looked at, and what was found.
        first: The folder that the next tick begins with; empty for the first of the declaration.
        asked: By table, the version of its object in the lake for which a run was asked, see ``look_for_asked``.
    """

    seen: Mapping[str, tuple[str, Seen]] = field(default_factory=dict)
    first: str = ""
    asked: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> Cursor:
        """A cursor that cannot be read (typed by hand, of another release) counts as none: that costs first looks."""
        try:
            document = json.loads(text or "{}")
            if document["v"] != _VERSION:
                return cls()
            seen = {name: (str(entry["of"]), Seen.read(entry["seen"])) for name, entry in document["folders"].items()}
            asked = {str(table): str(version) for table, version in document.get("asked", {}).items()}
            return cls(seen, str(document["first"]), asked)
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def write(self) -> str:
        """The cursor's text."""
        folders = {name: {"of": of, "seen": seen.write()} for name, (of, seen) in self.seen.items()}
        return json.dumps({"v": _VERSION, "first": self.first, "folders": folders, "asked": dict(self.asked)})

    def of(self, folder: Folder) -> Seen:
        """What is remembered of a folder; nothing when it feeds other tables now: a new table may lack its files."""
        of, seen = self.seen.get(folder.name, ("", Seen()))
        return seen if of == _tables(folder) else Seen()

    def after(self, folder: Folder, seen: Seen) -> Cursor:
        """With what is remembered of that folder from now on."""
        return replace(self, seen={**self.seen, folder.name: (_tables(folder), seen)})


def _tables(folder: Folder) -> str:
    """Names the tables that a folder feeds, and where it is."""
    text = "\n".join([folder.uri, *sorted(table.name for table in folder.fed)])
    return sha256(text.encode()).hexdigest()[:12]

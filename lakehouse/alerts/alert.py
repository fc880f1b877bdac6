"""The data of alerts: an ``Alert`` is a fault, a ``Round`` is a look at some tables and the faults it found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["run failed", "check failed", "stale", "backlog grows", "service down", "damaged", "test"]
"""What is told of, in words."""
LAKE = ""
"""In place of a table, for what concerns all of them."""


@dataclass(frozen=True)
class Alert:
    """Something that goes wrong.

    Attributes:
        kind: In which way.
        table: ``layer.name``, or ``LAKE``.
        group: Who found it, with a colon at the end: ``check:silver.orders:unique:``. It is well again when it is
            looked at again and nothing is found.
        detail: What was found, where a group can find several things: while it changes, it is no news that it is bad.
        what: A sentence.
        where: The object, file or address.
        why: What it means.
        command: What mends it.
        blocks: Whether it stops something; else it is a warning.
        seen_by: What the doctor finds beside it, and who looked.
    """

    kind: Kind
    table: str
    group: str
    what: str
    detail: str = ""
    where: str = ""
    why: str = ""
    command: str = ""
    blocks: bool = True
    seen_by: tuple[str, ...] = ()

    @property
    def cause(self) -> str:
        """The name of the fault: the same fault is told once."""
        return f"{self.group}{self.detail}"

    @property
    def title(self) -> str:
        """``FAIL silver.orders: check failed``."""
        return f"{'FAIL' if self.blocks else 'WARN'} {self.table or 'the lake'}: {self.kind}"

    def lines(self) -> list[str]:
        """For people, below the title."""
        named = {"where": self.where, "why": self.why, "run": self.command}
        return [self.what, *(f"{name}: {text}" for name, text in named.items() if text), *self.seen_by]

    def as_dict(self) -> dict[str, Any]:
        """For the state, ``--json`` and channels that are files."""
        return asdict(self)

    @classmethod
    def of_dict(cls, entry: dict[str, Any]) -> Alert:
        """From ``as_dict``."""
        return cls(**{**entry, "seen_by": tuple(entry.get("seen_by", ()))})


@dataclass(frozen=True)
class Round:
    """A look at some tables.

    Attributes:
        alerts: What goes wrong.
        looked: Beginnings of the groups that were looked at: what is in none of ``alerts`` is well.
    """

    alerts: tuple[Alert, ...] = ()
    looked: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, alerts: Iterable[Alert], looked: Iterable[str]) -> Round:
        """What was found, with each cause once."""
        found = {alert.cause: alert for alert in alerts}
        return cls(tuple(found.values()), frozenset(looked) | {alert.group for alert in found.values()})

    def __add__(self, other: Round) -> Round:
        """Both rounds together."""
        return Round.of((*self.alerts, *other.alerts), self.looked | other.looked)

    def covers(self, group: str) -> bool:
        """Whether it was looked at."""
        return any(group.startswith(prefix) for prefix in self.looked)

"""What a probe reports: a sign is a kind of fault, a finding is a fault at its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How bad it is: ``warn`` goes away by itself or can wait, ``fail`` stops a run or loses something."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        probe: Name of the probe that looked.
        sign: What was found; empty when all is well.
        verdict: How bad it is.
        table: ``layer.name``; empty for what all tables share.
        what: A sentence.
        where: The object, file or address.
        why: What it means.
        evidence: Figures, with their unit in the name.
        command: What mends it; empty when nothing has to be mended.
    """

    probe: str
    sign: str
    verdict: Verdict
    table: str
    what: str
    where: str = ""
    why: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""

    def lines(self) -> list[str]:
        """The finding for people: the first line says what, the others where, why, how much, and what to run."""
        evidence = "  ".join(f"{name} {value}" for name, value in self.evidence.items() if value is not None)
        parts = {"where": self.where, "why": self.why, "evidence": evidence, "run": self.command}
        head = f"{self.verdict.upper():4}  {self.table + ': ' if self.table else ''}{self.what}"
        head += f"  [{self.sign or self.probe}]"
        return [head, *(f"      {name:8}  {text}" for name, text in parts.items() if text)]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "verdict": self.verdict.value, "evidence": dict(self.evidence)}


@dataclass(frozen=True)
class Sign:
    """Something that can be wrong.

    Attributes:
        name: Stable, for programs.
        verdict: How bad it is.
        symptom: How a user notices it.
        why: What it means.
        command: What mends it; ``{table}`` and other names in braces are filled in.
    """

    name: str
    verdict: Verdict
    symptom: str
    why: str
    command: str


@dataclass(frozen=True)
class Seen:
    """What a probe found: a sign, or with ``sign`` None that all is well.

    Attributes:
        sign: What it is.
        what: A sentence.
        where: The object, file or address.
        evidence: Figures.
        filled: Values for the names in braces in the sign's command.
        command: Replaces the sign's; empty for the sign's own. So do ``verdict`` and ``why``.
    """

    sign: Sign | None
    what: str
    where: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    filled: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    verdict: Verdict | None = None
    why: str = ""

    def finding(self, probe: str, table: str) -> Finding:
        """The finding for a table; ``table`` is empty for what all tables share."""
        sign = self.sign
        if sign is None:
            return Finding(probe, "", Verdict.PASS, table, self.what, self.where, "", self.evidence)
        command = self.command or sign.command.format(**{"table": table, **self.filled})
        verdict, why = self.verdict or sign.verdict, self.why or sign.why
        return Finding(probe, sign.name, verdict, table, self.what, self.where, why, self.evidence, command)

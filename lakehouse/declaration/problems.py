"""What is wrong with a declaration: collected, so that whoever wrote it sees all of it at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from lakehouse.errors import ConfigurationError

_SHOWN = 10


@dataclass(frozen=True, order=True)
class Problem:
    """One problem.

    Attributes:
        line: Where it stands in the file, from 1; 0 for the file as a whole.
        what: A sentence.
    """

    line: int
    what: str


class DeclarationInvalid(ConfigurationError):
    """The declaration cannot be used.

    Attributes:
        problems: All of them, in the order of the lines.
    """

    def __init__(self, problems: Iterable[Problem], where: str, next_command: str = "") -> None:
        self.problems = tuple(sorted(set(problems)))
        first = self.problems[0]
        what = first.what
        if len(self.problems) > 1:
            lines = [f"  line {problem.line}: {problem.what}" for problem in self.problems[:_SHOWN]]
            more = len(self.problems) - _SHOWN
            lines += [f"  and {more:,} more"] if more > 0 else []
            what = "\n".join([f"{len(self.problems):,} problems in {where}", *lines])
        super().__init__(
            what,
            where=f"{where}:{first.line}" if first.line else where,
            state="nothing was read or written",
            next_command=next_command or "correct the file, then: lakehouse validate",
        )


class Problems:
    """Collects what is wrong with one file.

    Attributes:
        where: The file, as people know it.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._found: list[Problem] = []

    def add(self, line: int, what: str) -> None:
        """Notes a problem."""
        self._found.append(Problem(line, what))

    def __len__(self) -> int:
        return len(self._found)

    def stop(self, line: int, what: str, next_command: str = "") -> DeclarationInvalid:
        """The error for a problem after which nothing more can be read."""
        return DeclarationInvalid([*self._found, Problem(line, what)], self.where, next_command)

    def raise_if_any(self) -> None:
        """Ends the reading when something is wrong.

        Raises:
            DeclarationInvalid: with every problem that was noted.
        """
        if self._found:
            raise DeclarationInvalid(self._found, self.where)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was meant, most likely; None when there is none like it."""
    names = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return names[found[0]] if found else None


def meant(name: str, known: Iterable[str]) -> str:
    """``: did you mean X?``, or the list of what there is."""
    names = list(known)
    near = nearest(name, names)
    if near is not None:
        return f": did you mean {near}?"
    return f": known are {', '.join(names)}" if names else ""


def shown(path: Path) -> str:
    """A file for messages: from the working directory where it is below it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)

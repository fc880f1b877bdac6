"""What becomes of an option that is documented elsewhere and read nowhere here.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

SUPPORTED = "supported"
ACCEPTED = "accepted"
WARNING = "accepted with a warning"
REFUSED = "refused"
VERDICTS = (SUPPORTED, ACCEPTED, WARNING, REFUSED)
"""Every documented name has a verdict. Single values of it may have another verdict."""

ANY = "*"


@dataclass(frozen=True)
class Elsewhere:
    """A documented option without a reader here.

    Attributes:
        name: As it is documented; ``.*`` at its end stands for any ending.
        why: Why it is without effect or refused, and what to use.
        same: Values, in lower case, that ask for what is done anyway; ``*`` for all of them.
        other: The verdict on all other values.
        words: The verdict in words, where it hangs on other options too.
    """

    name: str
    why: str
    same: tuple[str, ...] = ()
    other: str = WARNING
    words: str = ""

    def of(self, value: str) -> str:
        """The verdict on a value."""
        return ACCEPTED if ANY in self.same or value.strip().lower() in self.same else self.other

    @property
    def verdict(self) -> str:
        """The verdict in words, for all values."""
        if ANY in self.same or not self.same:
            return self.words or (ACCEPTED if self.same else self.other)
        return f"{', '.join(f'`{text}`' if text else 'empty' for text in self.same)} {ACCEPTED}, others {self.other}"

    def is_called(self, lower: str) -> bool:
        """Whether it is meant by a name in lower case."""
        known = self.name.lower()
        return lower.startswith(known[:-1]) if known.endswith(ANY) else lower == known


def by_name(*options: Elsewhere) -> dict[str, Elsewhere]:
    """Options by their names, as documented."""
    return {option.name: option for option in options}


def warned(why: str, *names: str, same: tuple[str, ...] = ()) -> tuple[Elsewhere, ...]:
    """Options without effect, for one reason."""
    return tuple(Elsewhere(name, why, same) for name in names)


def refused(why: str, *names: str, same: tuple[str, ...] = ()) -> tuple[Elsewhere, ...]:
    """Options that are refused for one reason."""
    return tuple(Elsewhere(name, why, same, REFUSED) for name in names)

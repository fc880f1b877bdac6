"""A lever: a command of ``lakehouse`` with a form for the launchpad, and what pulling it tells."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, create_model

from lakehouse.dagster.names import key_of
from lakehouse.errors import LakehouseError
from lakehouse.lake import Lake
from lakehouse.table import Catalogue

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NAMED = 12
SPARK, STORE = "Spark", "the object store"
"""What a lever needs beside the lake's declaration."""


class LeverConfig(dg.Config):
    """What every lever can be told.

    Attributes:
        apply: Do it.
    """

    apply: bool = Field(False, description="true does it; false only says what would be done, and changes nothing")


@dataclass(frozen=True)
class Pull:
    """One pull at a lever.

    Attributes:
        lake: Where all of it is.
        config: As the launchpad has it.
        session: Opens the Spark session; only levers that need it call it.
    """

    lake: Lake
    config: Any
    session: Callable[[], SparkSession]

    @property
    def really(self) -> bool:
        """Whether to do it."""
        return bool(self.config.apply)

    @property
    def table(self) -> str:
        """The table that was chosen."""
        return str(self.config.table.value)

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that were chosen; empty for all."""
        return tuple(choice.value for choice in self.config.tables)

    @cached_property
    def catalogue(self) -> Catalogue:
        """All declared tables, as they are declared now."""
        from lakehouse.declaration import read_catalogue

        return read_catalogue(self.lake.settings)

    @property
    def yes(self) -> tuple[str, ...]:
        """The option of most commands that makes them do it."""
        return ("--yes",) if self.really else ()


@dataclass(frozen=True)
class Pulled:
    """What a pull did, or would do.

    Attributes:
        lines: What it did or would do, a sentence each.
        done: Whether it was done.
        arguments: What follows the lever's words in the command that does the same.
        numbers: By asset that it concerns: counts whose names, with units, stay for ever.
        rows: Details, shown as a table.
        error: Why the run fails, though there is something to tell.
    """

    lines: Sequence[str]
    done: bool
    arguments: Sequence[str]
    numbers: Mapping[dg.AssetKey, Mapping[str, int | float]]
    rows: Sequence[Mapping[str, Any]] = field(default=())
    error: LakehouseError | None = None

    def totals(self) -> dict[str, int | float]:
        """The numbers of all assets."""
        sums: dict[str, int | float] = {}
        for counts in self.numbers.values():
            for name, count in counts.items():
                sums[name] = sums.get(name, 0) + count
        return sums


def of_table(table: str, **numbers: int | float) -> dict[dg.AssetKey, dict[str, int | float]]:
    """Numbers of one table."""
    return {key_of(table): numbers}


@dataclass(frozen=True)
class Lever:
    """A command of ``lakehouse`` that can be run from Dagster's pages.

    Attributes:
        command: Its words behind ``lakehouse``, with those options that make it this lever.
        does: What it does, in a sentence.
        needs: What has to be there.
        config: The form.
        pull: Does it, or says what it would do.
        name: Of its step; default the words of the command.
    """

    command: str
    does: str
    needs: str
    config: type[LeverConfig]
    pull: Callable[[Pull], Pulled]
    name: str = ""

    @property
    def step(self) -> str:
        """Name of its step."""
        return self.name or self.command.replace(" ", "_").replace("-", "_")

    @property
    def job(self) -> str:
        """Name of its job."""
        return f"lever_{self.step}"

    def command_line(self, arguments: Sequence[str]) -> str:
        """The command that does the same, for a shell."""
        return shlex.join(["lakehouse", *self.command.split(), *arguments])


def choosing(
    base: type[LeverConfig], lever: str, tables: Sequence[str], what: str, *, several: bool = False
) -> type[LeverConfig]:
    """A form in which a table is chosen from those that the lever is for: the launchpad refuses any other.

    Args:
        base: The rest of the form.
        lever: Whose form it is.
        tables: Those that can be chosen; the first is the default.
        what: Said of them.
        several: Any number can be chosen; none is all.
    """
    title = lever.title().replace(" ", "").replace("_", "").replace("-", "")
    choices: Any = Enum(f"TableTo{title}", {name: name for name in tables})  # type: ignore[misc]
    more = f" and {len(tables) - _NAMED} more" if len(tables) > _NAMED else ""
    named = f"{what}: {', '.join(tables[:_NAMED])}{more}"
    fields: dict[str, Any] = (
        {"tables": (list[choices], Field(default_factory=list, description=f"{named}. None is all of them"))}
        if several
        else {"table": (choices, Field(choices[tables[0]], description=named))}
    )
    return create_model(f"{title}Config", __base__=base, __doc__=base.__doc__, **fields)

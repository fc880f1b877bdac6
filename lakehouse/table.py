"""The nouns of a declaration: a ``Table`` has one ``Flow`` and its ``Check``s; a ``Catalogue`` is all tables together.

The kinds are in ``lakehouse.flows`` and ``lakehouse.checks``, a module each. ``lakehouse.declaration`` makes them from
``lakehouse.yaml``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from lakehouse.counting import SAMPLE_ROWS
from lakehouse.errors import ConfigurationError
from lakehouse.settings import Length
from lakehouse.table_names import written

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.lake import Lake
    from lakehouse.settings import Settings
    from lakehouse.streams.progress import StreamReport
    from lakehouse.streams.run import Run

T = TypeVar("T")


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _as_reaction(given: Any) -> Any:
    return "warn" if given == "drop" else given  # what comes after leaves duplicates out by itself


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list, json_schema_input_type=str | tuple[str, ...])]
"""Names of columns: a list, or a single name."""
Duration = Length
Reaction = Annotated[Literal["block", "warn", "off"], BeforeValidator(_as_reaction)]


class Declared(BaseModel):
    """A part of a declaration: frozen, and without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, coerce_numbers_to_str=True)


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: Its name, as in Dagster.
        table: The table that was examined, whole.
        passed: True when the table is as it must be.
        numbers: Counts and shares, with their unit in the name.
        sample: At most ``SAMPLE_ROWS`` offending rows.
        next_command: What mends it; empty when passed.
        blocks: Whether its failure stops what comes after the table.
    """

    check: str
    table: str
    passed: bool
    numbers: dict[str, int | float]
    sample: tuple[dict[str, Any], ...] = ()
    next_command: str = ""
    blocks: bool = False

    def line(self) -> str:
        """``PASS  unique on bronze.x  duplicate_keys 0  ...``; a failure that stops nothing is ``WARN``."""
        numbers = "  ".join(f"{name} {value:,}" for name, value in self.numbers.items())
        cure = f"  next: {self.next_command}" if self.next_command else ""
        verdict = "PASS" if self.passed else "FAIL" if self.blocks else "WARN"
        return f"{verdict}  {self.check} on {self.table}  {numbers}{cure}"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


@dataclass(frozen=True)
class At:
    """Where a flow runs, or a check looks.

    Attributes:
        session: A session, or a function that opens it: flows and checks that need no Spark never ask for it.
        lake: Where the tables are.
        table: Whose flow or check it is.
        catalogue: All tables.
        memo: What several checks of one table share.
        full: Whether checks count all rows again, and hold what they kept of earlier counts against it.
    """

    session: SparkSession | Callable[[], SparkSession]
    lake: Lake
    table: Table
    catalogue: Catalogue
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    full: bool = False

    @cached_property
    def spark(self) -> SparkSession:
        """The session."""
        session: Any = self.session
        opened: SparkSession = session() if callable(session) else session
        return opened

    def once(self, name: str, make: Callable[[], T]) -> T:
        """The value under ``name``, made by whichever check asks first."""
        if name not in self.memo:
            self.memo[name] = make()
        found: T = self.memo[name]
        return found

    def of(self, table: str) -> At:
        """The same place for another table."""
        return At(self.session, self.lake, self.catalogue[table], self.catalogue, full=self.full)


class Flow(Declared, ABC):
    """How a table gets its rows. A subclass is one key of a table in ``lakehouse.yaml``.

    Attributes:
        kind: That key.
    """

    kind: ClassVar[str] = ""

    def __init_subclass__(cls, **more: Any) -> None:
        """Makes the kind known to ``lakehouse.declaration``."""
        super().__init_subclass__(**more)
        if cls.kind:
            _register(FLOWS, cls.kind, cls)

    @field_validator("of", mode="before", check_fields=False)
    @classmethod
    def _of_the_lake(cls, given: Any, info: ValidationInfo) -> Any:
        """Names of elsewhere are those of the lake, where the validation's context is ``Settings``."""
        if isinstance(given, list | tuple):
            return [cls._of_the_lake(name, info) for name in given]
        try:
            return info.context.table_name(given) if info.context and isinstance(given, str) else given
        except ConfigurationError as error:
            raise ValueError(f"{error.what}, where {error.where}: {error.next_command}") from None

    @property
    def reads(self) -> tuple[str, ...]:
        """The tables that the rows come from; empty for files."""
        return ()

    @property
    def refills(self) -> bool:
        """Whether a run fills an emptied table from its source again, so that it may be emptied."""
        return True

    def needs_spark(self, settings: Settings) -> bool:
        """Whether a run asks for a session; a flow that does without may still need it for what it meets."""
        return True

    def default_checks(self) -> tuple[Check, ...]:
        """Checks that every table of this kind has; a declared check of the same kind takes the place of its own."""
        return ()

    @abstractmethod
    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Reads what is new in the source and commits it.

        Raises:
            LeaseHeld, CheckpointMismatch, StreamFailed, EngineUnavailable: see ``streams.run.run_stream``.
        """


class Check(Declared, ABC):
    """What must be true of a table. A subclass is one key of a table's ``checks`` in ``lakehouse.yaml``.

    Attributes:
        kind: That key.
        main: The field that stands beside the key when there is nothing else: ``unique: id``.
        blocks: What a failure does when ``on_failure`` says nothing.
        about: What it proves, in a sentence.
        flows: The kinds of flows whose tables it can examine; none for every table.
        name: As findings and Dagster show it; the kind where nothing is given.
        on_failure: ``block`` stops what comes after the table, ``warn`` does not, ``off`` switches the check off.
        description: One sentence for those who read the check.
    """

    kind: ClassVar[str] = ""
    main: ClassVar[str] = ""
    blocks: ClassVar[bool] = True
    about: ClassVar[str] = ""
    flows: ClassVar[tuple[str, ...]] = ()

    name: str = ""
    on_failure: Reaction | None = None
    description: str = ""

    def __init_subclass__(cls, **more: Any) -> None:
        """Makes the kind known to ``lakehouse.declaration``."""
        super().__init_subclass__(**more)
        if cls.kind:
            _register(CHECKS, cls.kind, cls)

    @property
    def called(self) -> str:
        """Its name."""
        return self.name or self.kind

    @property
    def blocking(self) -> bool:
        """Whether a failure stops what comes after the table."""
        return self.blocks if self.on_failure is None else self.on_failure == "block"

    @property
    def summary(self) -> str:
        """What it proves, in a sentence."""
        return self.description or self.about

    @abstractmethod
    def examine(self, at: At) -> Finding | None:
        """Looks at the table; None when there is nothing to examine.

        The table exists. ``blocks`` of the finding is set by the caller.
        """

    def finding(
        self,
        at: At,
        passed: bool,
        numbers: Mapping[str, int | float],
        sample: tuple[dict[str, Any], ...] = (),
        cure: str = "",
    ) -> Finding:
        """The finding of this check; a cure is told only when it failed."""
        return Finding(
            self.called,
            at.table.name,
            passed,
            dict(numbers),
            () if passed else sample[:SAMPLE_ROWS],
            "" if passed else cure,
            self.blocking,
        )


FLOWS: dict[str, type[Flow]] = {}
CHECKS: dict[str, type[Check]] = {}


def _register(known: dict[str, Any], kind: str, cls: type) -> None:
    if kind in known and known[kind].__module__ != cls.__module__:
        raise TypeError(f"{kind} is there twice: in {known[kind].__module__} and {cls.__module__}")
    known[kind] = cls


class Retention(Declared):
    """How long a table of files keeps its rows: ``lakehouse maintain retention`` removes older ones.

    Attributes:
        column: A TIMESTAMP or DATE; a row without a value stays.
        keep: For how long, such as ``90 days``.
        then: What tables computed from it do: ``keep`` what they have, ``follow`` (computed again), ``ask``.
    """

    column: str
    keep: Annotated[Duration, Field(gt=timedelta())]
    then: Literal["ask", "follow", "keep"] = "keep"


@dataclass(frozen=True)
class Table:
    """A declared table.

    Attributes:
        name: ``layer.name``.
        flow: How it gets its rows.
        checks: What must be true of it, also what its flow asks for by itself; each name once.
        description: For people.
        owners: Who answers for it: mail addresses, or ``team:name``.
        freshness: How old its newest data may be; None for any age.
        after_removals: What becomes of it when rows are removed from its source; None for the setting's choice.
        on_demand: Whether it is brought up to date only when it is named.
        retention: How long its rows are kept; None for ever.
        line: Where it stands in the file; 0 for a table made in Python.
    """

    name: str
    flow: Flow
    checks: tuple[Check, ...] = ()
    description: str = ""
    owners: tuple[str, ...] = ()
    freshness: timedelta | None = None
    after_removals: Literal["ask", "follow", "keep"] | None = None
    on_demand: bool = False
    retention: Retention | None = None
    line: int = 0

    @property
    def layer(self) -> str:
        """``bronze``, ``silver`` or ``gold``."""
        return self.name.split(".")[0]


def _variable_name(given: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", given):
        raise ValueError("write the name of a variable of the environment, such as SALES_ALERTS: addresses hold keys")
    return given


class Alerting(Declared):
    """Who is told when something goes wrong, beside the channels in ``LAKEHOUSE_ALERTS``.

    Attributes:
        owners: For an owner of tables, the variable of the environment that has the addresses of its channels. What
            concerns its tables goes there; what concerns others goes to ``LAKEHOUSE_ALERTS``.
        most_an_hour: So many notifications a channel gets in an hour; what is more waits, and comes together.
    """

    owners: dict[str, Annotated[str, AfterValidator(_variable_name)]] = {}
    most_an_hour: Annotated[int, Field(ge=1)] = 20


@dataclass(frozen=True)
class Catalogue:
    """All declared tables, in the order of the data: whoever is read comes before its readers.

    Attributes:
        tables: In that order.
        where: The file, for messages.
        variables: Names of the environment's variables that the file asks for.
        alerts: Who is told when something goes wrong.
    """

    tables: tuple[Table, ...] = ()
    where: str = "lakehouse.yaml"
    variables: frozenset[str] = frozenset()
    alerts: Alerting = field(default_factory=Alerting)

    def __iter__(self) -> Iterator[Table]:
        """The tables, in the order of the data."""
        return iter(self.tables)

    def __contains__(self, name: object) -> bool:
        """Whether a table of that name is declared."""
        return any(table.name == name for table in self.tables)

    def __getitem__(self, name: str) -> Table:
        """The table of that name.

        Raises:
            ConfigurationError: nobody declared it.
        """
        for table in self.tables:
            if table.name == name:
                return table
        known = ", ".join(table.name for table in self.tables)
        raise ConfigurationError(
            f"no table {name} is declared",
            where=self.where,
            state="nothing was read or written",
            next_command=written(name)
            if name.count(".") == 2
            else f"name one of: {known}"
            if known
            else "lakehouse init   (writes a first lakehouse.yaml)",
        )

    @property
    def names(self) -> tuple[str, ...]:
        """``layer.name`` of each table."""
        return tuple(table.name for table in self.tables)

    def readers(self, name: str) -> tuple[Table, ...]:
        """The tables that are computed from ``name``, directly."""
        return tuple(table for table in self.tables if name in table.flow.reads)

"""``sql`` and ``python``: a table that a query or a function makes of others, recomputed or streamed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from lakehouse.table import At, Flow, Names

if TYPE_CHECKING:
    from lakehouse.progress import StreamReport
    from lakehouse.streams.run import Run


def _module_and_function(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", given):
        raise ValueError(f"{given!r} names no function: write module:function, such as my_project.tables:customers")
    return given


class _Computed(Flow):
    """What both have.

    Attributes:
        of: The tables that are read.
        mode: ``recompute``: the whole table anew, in a single commit, when a source has changed; ``stream``: rows that
            are new in the source are handed on, each once, with a checkpoint of the table's own.
    """

    of: Names = Field(min_length=1)
    mode: Literal["recompute", "stream"] = "recompute"

    @property
    def reads(self) -> tuple[str, ...]:
        """The tables that are read."""
        return self.of

    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Computes the table, or what is new of it."""
        raise NotImplementedError


class Sql(_Computed):
    """A query.

    Attributes:
        query: Spark SQL; it names the tables of ``of`` by their names.
    """

    kind: ClassVar[str] = "sql"

    query: str


class Python(_Computed):
    """A function of Python.

    Attributes:
        function: ``module:function``; called with a DataFrame for each table of ``of``, in that order; returns a
            DataFrame.
    """

    kind: ClassVar[str] = "python"

    function: Annotated[str, AfterValidator(_module_and_function)]

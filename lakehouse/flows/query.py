"""``sql`` and ``python``: a table that a query or a function makes of others, recomputed or streamed."""

from __future__ import annotations

import re
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from lakehouse.flows.following import refused
from lakehouse.flows.sql_tables import in_lake
from lakehouse.flows.sql_text import defines, tables_read, with_tables_named
from lakehouse.table import At, Flow, Names

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.streams.progress import StreamReport
    from lakehouse.streams.run import Run

_VIEW = "computed_from_"


def _module_and_function(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", given):
        raise ValueError(f"{given!r} names no function: write module:function, such as my_project.tables:customers")
    return given


class Computed(Flow):
    """What both have.

    Attributes:
        of: The tables that are read.
        mode: ``recompute``: the whole table anew, in a single commit, when a source has changed; ``stream``: rows that
            are new in the first source are handed on, each once, with a checkpoint of the table's own; further sources
            are read whole in each batch.
    """

    of: Names = Field(min_length=1)
    mode: Literal["recompute", "stream"] = "recompute"

    @property
    def reads(self) -> tuple[str, ...]:
        """The tables that are read."""
        return self.of

    @abstractmethod
    def text(self, at: At) -> str:
        """What the rows depend on beside the sources: the table is computed again when it has changed."""

    @abstractmethod
    def result(self, at: At, frames: Mapping[str, DataFrame]) -> AbstractContextManager[DataFrame]:
        """The rows of the table; they can be read until the context ends.

        Args:
            at: Where.
            frames: The tables of ``of`` by their names; in ``stream`` mode the first is a stream.
        """

    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Computes the table, or what is new of it."""
        from lakehouse.flows.recomputing import hand_on, recompute

        return recompute(at, run, self) if self.mode == "recompute" else hand_on(at, run, self)


class Sql(Computed):
    """A query.

    Attributes:
        query: Spark SQL; it names the tables of ``of``, also as ``LAKEHOUSE_CATALOGS`` has them elsewhere.
    """

    kind: ClassVar[str] = "sql"

    query: str

    @field_validator("query")
    @classmethod
    def _with_names_of_the_lake(cls, query: str, info: ValidationInfo) -> str:
        return in_lake(query, info.context) if info.context else query

    @model_validator(mode="after")
    def _names_its_tables(self) -> Sql:
        unknown = sorted(tables_read(self.query) - {name.lower() for name in self.of})
        if unknown:
            raise ValueError(f"the query reads {', '.join(unknown)}, which stands not in of: [{', '.join(self.of)}]")
        return self

    def text(self, at: At) -> str:
        """The query."""
        return self.query

    @contextmanager
    def result(self, at: At, frames: Mapping[str, DataFrame]) -> Iterator[DataFrame]:
        """What the query gives."""
        views: dict[str, str] = {}
        try:
            for name, frame in frames.items():
                view = _VIEW + uuid.uuid4().hex
                frame.createOrReplaceTempView(view)
                views[name] = view
            yield at.spark.sql(self.over(views))
        finally:
            for view in views.values():
                at.spark.catalog.dropTempView(view)

    def over(self, views: Mapping[str, str]) -> str:
        """The query over other tables.

        One engine serves many lakes, so that the names of tables mean nothing to it. In the query each gets the last
        part of its own: ``orders.id`` then is a column of ``silver.orders``, as Spark has it.

        Args:
            views: ``layer.name`` to the view that is read in its place.
        """
        last = [name.split(".")[1].lower() for name in views]
        names = {}
        for name in views:
            short = name.split(".")[1]
            taken = last.count(short.lower()) > 1 or defines(self.query, short)
            names[name] = f"`{name.replace('.', '__') if taken else short}`"
        given = ", ".join(f"{names[name]} AS (SELECT * FROM `{view}`)" for name, view in views.items())
        query = with_tables_named(self.query.strip().rstrip(";"), names)
        return f"WITH {given}\nSELECT * FROM (\n{query}\n)"


class Python(Computed):
    """A function of Python.

    Attributes:
        function: ``module:function``; called with a DataFrame for each table of ``of``, in that order; returns a
            DataFrame. The module is looked for in the folder of ``lakehouse.yaml``, too.
    """

    kind: ClassVar[str] = "python"

    function: Annotated[str, AfterValidator(_module_and_function)]

    def text(self, at: At) -> str:
        """The text of the function's module: what the function calls is mostly in it, too."""
        from lakehouse.flows.user_code import load, text_of

        self._found(at)
        return f"{self.function}\n{text_of(load(at.lake.settings.declaration.parent, self.function.split(':')[0]))}"

    @contextmanager
    def result(self, at: At, frames: Mapping[str, DataFrame]) -> Iterator[DataFrame]:
        """What the function gives."""
        from lakehouse.flows.user_code import with_plain_text

        made = self._found(at)(*frames.values())
        if not (hasattr(made, "write") and hasattr(made, "schema")):
            raise refused(at, f"{self.function} returned a {type(made).__name__}", "return a DataFrame")
        yield with_plain_text(made)

    def _found(self, at: At) -> Callable[..., Any]:
        from lakehouse.flows.user_code import load

        module, _, name = self.function.partition(":")
        folder = at.lake.settings.declaration.parent
        try:
            found = getattr(load(folder, module), name, None)
        except Exception as error:
            what = f"{module} cannot be imported: {type(error).__name__}: {error}"
            raise refused(at, what, f"correct it; modules are looked for in {folder}, too") from error
        if not callable(found):
            raise refused(at, f"{module} has no function {name}", "name a function of that module")
        return found

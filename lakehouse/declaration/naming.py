"""What a declaration names outside of itself: functions of Python, and types that Spark knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lakehouse.declaration.problems import DeclarationInvalid, Problem
from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.flows.query import Python
from lakehouse.table import Catalogue, Table


def check_names(catalogue: Catalogue, folder: Path) -> None:
    """Imports the functions that tables are made by, and reads the types of columns: reading alone does neither.

    Args:
        catalogue: Whose tables are looked at.
        folder: Where the declaration is; modules beside it are found.

    Raises:
        DeclarationInvalid: with every function that cannot be imported, and every type that there is not.
    """
    problems = [Problem(table.line, sentence) for table in catalogue for sentence in _wrong_names(table, folder)]
    if problems:
        raise DeclarationInvalid(problems, catalogue.where)


def _wrong_names(table: Table, folder: Path) -> Iterator[str]:
    flow = table.flow
    if isinstance(flow, Python):
        yield from _wrong_function(table.name, flow.function, folder)
    if isinstance(flow, Files):
        from lakehouse.autoloader.schema.hints import parse_hints

        for key, text in (("schema", flow.columns), ("hints", flow.hints)):
            try:
                parse_hints(text) if text else None
            except ConfigurationError as error:
                yield f"{key} of {table.name}: {error.what}; {error.next_command}"


def _wrong_function(table: str, named: str, folder: Path) -> Iterator[str]:
    from lakehouse.flows.user_code import load

    module, _, name = named.partition(":")
    try:
        found = getattr(load(folder, module), name, None)
    except Exception as error:  # a module may raise anything when it is imported
        yield f"{table}: the module {module} of {named} cannot be imported: {type(error).__name__}: {error}"
        return
    if found is None:
        yield f"{table}: the module {module} has no {name}"
    elif not callable(found):
        yield f"{table}: {named} is no function, but {type(found).__name__}"

"""Names of tables, ``layer.name``: which names are valid, and how other names are to be written."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from lakehouse.errors import ConfigurationError
from lakehouse.settings import LAYERS


def _table_name(given: str) -> str:
    layer, _, name = given.partition(".")
    if layer not in LAYERS:
        raise ValueError(f"{given!r} is no table name: it has to begin with {', '.join(part + '.' for part in LAYERS)}")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,127}", name):
        raise ValueError(f"{given!r} is no table name: after the layer, letters, digits and _ are allowed")
    return given


def require_name(given: str) -> None:
    """Makes sure that a text names a table.

    Raises:
        ConfigurationError: it does not.
    """
    try:
        _table_name(given)
    except ValueError as error:
        raise ConfigurationError(
            str(error), where=given, state="nothing was read or written", next_command=written(given)
        ) from None


def written(given: str) -> str:
    """How a name is to be written that is none."""
    if given.count(".") != 2:
        return "write it as bronze.customers"
    catalog, schema, name = given.split(".")
    entry = catalog if schema in LAYERS else f"{catalog}.{schema}=bronze"
    return f"name it as bronze.{name}; or add {entry} to LAKEHOUSE_CATALOGS"


TableName = Annotated[str, AfterValidator(_table_name)]

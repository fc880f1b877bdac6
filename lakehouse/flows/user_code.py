"""Modules of Python that a declaration names: from the folder of ``lakehouse.yaml``, as they are on the disk now."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from lakehouse.spark_sql import named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_loaded: dict[str, str] = {}


def load(folder: Path, name: str) -> ModuleType:
    """The module; loaded again when its file has changed since.

    Args:
        folder: Where modules are looked for first.
        name: Of the module, ``package.module``.

    Raises:
        Exception: whatever its import raises.
    """
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    known = sys.modules.get(name)
    if known is not None and _loaded.get(name, _hash(known)) != _hash(known):
        del sys.modules[name]  # importlib.reload would keep functions that are not in it any more
        known = None
    if known is None:
        importlib.invalidate_caches()
        known = importlib.import_module(name)
        _travels_by_value(folder, known)
    _loaded[name] = _hash(known)
    return known


def text_of(module: ModuleType) -> str:
    """The text of a module; empty where it has none."""
    file = getattr(module, "__file__", None)
    return Path(file).read_text() if file and file.endswith(".py") else ""


def with_plain_text(rows: DataFrame) -> DataFrame:
    """The same rows, without the collation that Spark Connect gives to the text that a function of Python returns.

    All text has that collation anyway. But Spark writes it out in the table's log, and then nobody but Spark can
    open the table.
    """
    from lakehouse.autoloader.schema.hints import written

    if not any("string" in field.dataType.simpleString() for field in rows.schema.fields):
        return rows
    columns = []
    for field in rows.schema.fields:
        column = named(field.name)
        has_text = "string" in field.dataType.simpleString()
        columns.append(column.cast(written(field.dataType)).alias(field.name) if has_text else column)
    return rows.select(*columns)


def _hash(module: ModuleType) -> str:
    return hashlib.sha256(text_of(module).encode()).hexdigest()


def _travels_by_value(folder: Path, module: ModuleType) -> None:
    """Functions that run in Spark's workers take the module along: the workers do not look into that folder."""
    from pyspark import cloudpickle

    file = getattr(module, "__file__", None)
    if file and Path(file).is_relative_to(folder):
        cloudpickle.register_pickle_by_value(module)

"""Removing rows of a declared table on purpose: which rows may go, and what computed tables do about it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast, get_args

from lakehouse.checks.unique import Unique
from lakehouse.counting.data_files import OnlySpark
from lakehouse.declaration import read_catalogue
from lakehouse.direct.reasons import NotDirect
from lakehouse.engine.conf import TRANSACTION
from lakehouse.lake import Lake
from lakehouse.maintenance.forget import Forgotten, Then, accept_removals, append_only, forget, no_forgetting
from lakehouse.maintenance.forget_here import forget_here

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = logging.getLogger(__name__)


def require_named_rows(where: str | None, duplicates: bool, already_removed: bool) -> None:
    """Raises ConfigurationError unless rows to be forgotten are named in exactly one way."""
    if [where is not None, duplicates, already_removed].count(True) != 1:
        raise no_forgetting("say which rows", "give one of --where CONDITION, --duplicates, --already-removed")


def forget_rows(
    session: Callable[[], SparkSession],
    lake: Lake,
    table: str,
    *,
    where: str | None = None,
    duplicates: bool = False,
    already_removed: bool = False,
    then: str | None = None,
    really: bool = False,
) -> tuple[Forgotten, str]:
    """Removes rows on purpose, and records it; without ``really`` only counts them. See ``maintenance.forget``.

    Args:
        session: Opens a session, where rows are to be looked for and the engine is not local.
        lake: Where the table is.
        table: A table of files.
        where: SQL's condition: the rows that it names.
        duplicates: All but the newest copy of each key.
        already_removed: Records what somebody else's DELETE has removed, and removes nothing.
        then: What tables computed from it do: ``ask``, ``follow`` or ``keep``; default as the settings say.
        really: Do it.

    Returns:
        What was removed, and the choice for the tables computed from it.

    Raises:
        LeaseHeld: a stream writes the table now.
        ConfigurationError: the rows are not named, or the table is computed from another table.
    """
    require_named_rows(where, duplicates, already_removed)
    table_ = read_catalogue(lake.settings)[table]
    if table_.flow.reads:
        raise no_forgetting(
            f"{table} is computed from another table, and would have the rows again",
            "remove them from the bronze table, with --then follow",
        )
    choice = then or ("follow" if duplicates else lake.settings.after_removals)
    if choice not in get_args(Then):
        raise no_forgetting(f"--then {choice} is no choice", "give one of ask, follow, keep")
    if already_removed:
        return accept_removals(lake, table, really=really), choice
    opened = lake.delta(table)
    if opened is not None and (why := append_only(opened)):
        allow = f"ALTER TABLE delta.`{lake.settings.table_uri(table)}` SET TBLPROPERTIES (delta.appendOnly = false)"
        raise no_forgetting(f"{table} is not to lose rows: {why}", f"in Spark: {allow}; then the same again")
    key = next((check.columns for check in table_.checks if isinstance(check, Unique)), ())
    how: dict[str, Any] = {"unique": key, "then": cast("Then", choice), "really": really}
    if not table_.flow.needs_spark(lake.settings):
        try:
            return forget_here(lake, table, where, **how), choice
        except (NotDirect, OnlySpark) as reason:
            _log.info("rows of %s are removed by Spark: %s", table, reason)
    return forget(session(), lake, table, where, TRANSACTION, **how), choice

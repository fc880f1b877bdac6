"""Removing rows of a declared table on purpose: which rows may go, and what computed tables do about it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast, get_args

from lakehouse.autoloader.outcomes.bad_records_table import QuarantineTable
from lakehouse.checks.unique import Unique
from lakehouse.counting.data_files import OnlySpark
from lakehouse.declaration import read_catalogue
from lakehouse.direct.reasons import NotDirect
from lakehouse.engine.conf import TRANSACTION
from lakehouse.errors import ConfigurationError, TerminalError
from lakehouse.flows.files import Files
from lakehouse.flows.windows import Windows
from lakehouse.lake import Lake
from lakehouse.maintenance.forget import (
    NO_ROW,
    Forgotten,
    Quarantined,
    Then,
    accept_removals,
    append_only,
    count_rows,
    forget,
    no_forgetting,
)
from lakehouse.maintenance.forget_here import count_rows_here, forget_here
from lakehouse.table import Catalogue

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
    catalogue = read_catalogue(lake.settings)
    table_ = catalogue[table]
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
    found: Forgotten | None = None
    used: SparkSession | None = None
    try:
        if not table_.flow.needs_spark(lake.settings):
            try:
                found = forget_here(lake, table, where, **how)
            except (NotDirect, OnlySpark) as reason:
                _log.info("rows of %s are removed by Spark: %s", table, reason)
        if found is None:
            used = session()
            found = forget(used, lake, table, where, TRANSACTION, **how)
    except ConfigurationError as error:
        if where is not None and error.what == NO_ROW and (left := _quarantined(lake, catalogue, table, where, used)):
            raise no_forgetting(f"no row of {table} fits; {'; '.join(map(str, left))}", left[0].cure) from None
        raise
    if where is not None:
        found = replace(found, quarantined=_quarantined(lake, catalogue, table, where, used, choice))
    return found, choice


def _quarantined(
    lake: Lake, catalogue: Catalogue, table: str, where: str, spark: SparkSession | None, then: str = ""
) -> tuple[Quarantined, ...]:
    """Where rows that a condition names are, or may be, in quarantines of the table and of those computed from it."""
    found = []
    flow = catalogue[table].flow
    bad_records = flow.cloud_files(lake.settings, table).bad_records_path if isinstance(flow, Files) else None
    if bad_records and _has_bad_records(lake, bad_records):
        look = f"lakehouse quarantine --records {bad_records} --table {table}"
        delete = f"DELETE FROM delta.`{bad_records}` WHERE raw LIKE '%...%'"
        found.append(Quarantined(table, bad_records, None, f"{look}; then in Spark: {delete}"))
    behind = {table}
    for reader in catalogue:  # in the order of the data
        if not behind & set(reader.flow.reads):
            continue
        behind.add(reader.name)
        uri = lake.settings.quarantine_uri(reader.name)
        rows = _fitting(lake, uri, reader.name, where, spark) if isinstance(reader.flow, Windows) else 0
        if rows != 0:
            again = f"lakehouse checkpoint restart {reader.name} --yes && lakehouse ingest {reader.name}"
            cure = f"lakehouse ingest {reader.name}" if then == "follow" else again
            found.append(Quarantined(reader.name, uri, rows, f"{cure}   (computed again)"))
    return tuple(found)


def _fitting(lake: Lake, uri: str, table: str, where: str, spark: SparkSession | None) -> int | None:
    """How many rows of a quarantine fit; None where that cannot be told without a session, or at all."""
    if lake.version_at(uri) is None:
        return 0
    from lakehouse.streams.set_aside import kept_name  # it needs PySpark

    if any(kept_name(word) != word for word in re.findall(r"\w+", where)):
        return None  # the quarantine has a column of that name itself
    try:
        return count_rows_here(lake, uri, f"the quarantine of {table}", where)
    except OnlySpark:
        return None if spark is None else count_rows(spark, uri, where)


def _has_bad_records(lake: Lake, uri: str) -> bool:
    try:
        return bool(QuarantineTable(uri, lambda: lake.endpoint).newest(1))
    except TerminalError:  # there is no such table yet
        return False

"""The calls by which commands, services and Dagster tell what they found. None of them makes a run fail."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from lakehouse.alerts.alert import Round
from lakehouse.alerts.channels import Channels
from lakehouse.alerts.telling import Outcome, tell
from lakehouse.declaration import read_catalogue
from lakehouse.declaration.problems import DeclarationInvalid
from lakehouse.errors import ConfigurationError, LakehouseError
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.table import Catalogue, Finding

if TYPE_CHECKING:
    from lakehouse.pipeline import Ingested

_log = logging.getLogger(__name__)
_LOOK_SECONDS, _DOCTOR_LOOKS, _QUIET_SECONDS = 60.0, 5, 120.0


def tell_safely(settings: Settings, find: Callable[[Catalogue], Round], lake: Lake | None) -> Outcome:
    """Tells what ``find`` finds, if there is anybody to tell; else it is not called. Never raises.

    Args:
        settings: Name channels and the declaration.
        find: Given the tables, looks.
        lake: Where the state is kept; None when it could not be opened.
    """
    outcome = Outcome()
    try:
        catalogue, readable = Catalogue(), False
        with suppress(LakehouseError):  # the wrong declaration may be the very fault of the alert
            catalogue, readable = read_catalogue(settings), True
        if Channels.of(settings, catalogue).every():
            from lakehouse.alerts.finding import with_doctor  # with the doctor and all that it knows

            found = find(catalogue)
            if lake is not None and found.alerts:
                with suppress(LakehouseError):
                    found = with_doctor(lake, catalogue, found)
            outcome = tell(settings, catalogue, found, lake, readable=readable)
    except Exception as error:
        what = error.what if isinstance(error, LakehouseError) else type(error).__name__
        _log.warning("alerts could not be told: %s", what)
        outcome.problems.append(f"alerts could not be told: {what}")
    return outcome


class Watch:
    """What a command notes while it runs.

    Attributes:
        lake: Once it is open.
        find: What is looked at in the end; None when an error came before.
    """

    def __init__(self) -> None:
        self.lake: Lake | None = None
        self.find: Callable[[Catalogue], Round] | None = None


@contextmanager
def alerted(settings: Settings, warn: Callable[[str], None]) -> Iterator[Watch]:
    """Tells what a command found when it ends; what it could not tell is a warning.

    An error that the command ends with before it has found anything is told as such; a slip of who called it is not.
    """
    watch = Watch()
    try:
        yield watch
    except LakehouseError as error:
        if watch.find is None and _is_news(error):
            watch.find = partial(_of_error, error)
        raise
    finally:
        if watch.find is not None:
            for problem in tell_safely(settings, watch.find, watch.lake).problems:
                warn(problem)


def _of_error(error: LakehouseError, catalogue: Catalogue) -> Round:
    from lakehouse.alerts.finding import of_error

    return of_error(error)


def _is_news(error: LakehouseError) -> bool:
    return isinstance(error, DeclarationInvalid) or not isinstance(error, ConfigurationError)


def run_and_doctor(lake: Lake, catalogue: Catalogue, done: Ingested, tables: Sequence[str]) -> Round:
    """What a run found, and what a quick look at its tables finds."""
    from lakehouse.alerts.finding import of_doctor, of_run

    return of_run(catalogue, done) + of_doctor(lake, catalogue, tables)


def checks_and_doctor(
    lake: Lake,
    catalogue: Catalogue,
    tables: Sequence[str],
    findings: Sequence[Finding],
    errors: Mapping[str, LakehouseError],
) -> Round:
    """What checks without a run found, and what a quick look at their tables finds."""
    from lakehouse.alerts.finding import of_checking, of_doctor

    return of_checking(catalogue, tables, findings, errors) + of_doctor(lake, catalogue, tables)


@contextmanager
def watched(
    lake: Lake,
    health: Callable[[], list[dict[str, object]]],
    warn: Callable[[str], None],
    *,
    every_seconds: float = _LOOK_SECONDS,
) -> Iterator[None]:
    """Looks at a service while it runs, and once when it has ended.

    Args:
        lake: Of its tables.
        health: What ``StreamHealth.as_dict`` says of each stream.
        warn: Told what could not be told.
        every_seconds: Between two looks; the doctor looks each fifth time.
    """
    end = threading.Event()

    def look(with_backlog: bool) -> None:
        def find(catalogue: Catalogue) -> Round:
            from lakehouse.alerts.finding import of_doctor, of_stream

            streams, found = health(), Round()
            for stream in streams:
                found += of_stream(stream, _QUIET_SECONDS)
            if with_backlog:
                names = [str(stream["table"]) for stream in streams]
                found += of_doctor(lake, catalogue, names, ("backlog", "following"))
            return found

        for problem in tell_safely(lake.settings, find, lake).problems:
            warn(problem)

    def run() -> None:
        looks = 0
        while not end.wait(every_seconds):
            looks += 1
            look(looks % _DOCTOR_LOOKS == 0)

    thread = threading.Thread(target=run, name="alerts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(every_seconds)
        look(False)

"""``${NAME}`` and ``${NAME:-default}`` in the values of a declaration."""

from __future__ import annotations

import os
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr

from lakehouse.autoloader.options.locations import ROOT
from lakehouse.declaration.problems import Problems, nearest
from lakehouse.durations import spark_interval
from lakehouse.settings import Settings
from lakehouse.storage.local_paths import PATHS
from lakehouse.table import Catalogue

PREFIX = "LAKEHOUSE_"

_ANY = re.compile(r"\$?\$\{[^}]*(?:\}|$)?")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SECRET = re.compile(r"SECRET|PASSWORD|CREDENTIAL|PRIVATE_KEY", re.IGNORECASE)


class Variables:
    """The values that a file asks for.

    Attributes:
        asked: For each name, its value without the default; None for a variable that is not set.
    """

    def __init__(self, settings: Settings, problems: Problems) -> None:
        self._settings, self._problems = settings, problems
        self.asked: dict[str, str | None] = {}

    def fill(self, text: str, line: int) -> str:
        """The text with values in place of variables; ``$${`` is a ``${`` that stays."""
        return _ANY.sub(lambda found: self._value(found[0], line), text)

    def _value(self, written: str, line: int) -> str:
        if written.startswith("$$"):
            return written[1:]
        found = _VARIABLE.fullmatch(written)
        if not found or "${" in (found[2] or ""):
            self._problems.add(
                line, f"{written} is no variable: write ${{NAME}} or ${{NAME:-default}}, and $${{ for the signs"
            )
            return ""
        name, default = found[1], found[2]
        if is_secret(name):
            self._problems.add(line, f"{name} is a secret, and a declaration is no place for one: it is shown and kept")
            return ""
        if name not in self.asked:
            self.asked[name] = value_of(name, self._settings)
        value = self.asked[name]
        if value is not None:
            return value
        if default is None:
            self._problems.add(line, f"{name} is not set and has no default: set it, or write ${{{name}:-default}}")
        return default or ""


def value_of(name: str, settings: Settings) -> str | None:
    """The value of a variable: from ``settings.variables``, a setting of that name, the environment; None for none.

    As in a shell, a variable of the environment that is empty counts as not set.
    """
    if name in settings.variables:
        return settings.variables[name]
    field = setting_of(name)
    own = _text(getattr(settings, field)) if field is not None else None
    return own if own is not None else os.environ.get(name) or None


def setting_of(name: str) -> str | None:
    """The field of the settings that a variable is; None for any other variable."""
    field = name.removeprefix(PREFIX).lower()
    return field if name.startswith(PREFIX) and name.isupper() and field in Settings.model_fields else None


def is_secret(name: str) -> bool:
    """Whether a variable's value must not be seen."""
    field = setting_of(name)
    if field is None:
        return _SECRET.search(name) is not None
    type_ = Settings.model_fields[field].annotation
    return type_ is SecretStr or SecretStr in get_args(type_)


def _text(value: Any) -> str | None:
    match value:
        case bool():
            return str(value).lower()
        case str() | int() | float() | Path():
            return str(value)
        case timedelta():
            return spark_interval(value)
        case date():
            return value.isoformat()
    return None


def unknown_variables(settings: Settings, catalogue: Catalogue) -> list[tuple[str, str | None]]:
    """Variables that look like ours and that nobody reads: a typing error goes unnoticed otherwise.

    Args:
        settings: The settings; ``settings.variables`` counts as part of the environment.
        catalogue: Whose file may ask for variables.

    Returns:
        The name of each in the environment, and the known name that is most like it.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | catalogue.variables | {PATHS, ROOT}
    known |= set(catalogue.alerts.owners.values())
    given = {*settings.variables, *(name for name in os.environ if name.startswith(PREFIX))}
    bare = {name.removeprefix(PREFIX): name for name in sorted(known)}
    likely = {name: nearest(name.removeprefix(PREFIX), bare) for name in sorted(given - known)}
    return [(name, bare[near] if near else None) for name, near in likely.items()]


_MOVED = {
    "SCHEMA_EVOLUTION_MODE": ("files", "options", "cloudFiles.schemaEvolutionMode"),
    "BRONZE_MAX_FILES_PER_TRIGGER": ("files", "options", "cloudFiles.maxFilesPerTrigger"),
    "ALLOW_OVERWRITES": ("files", "options", "cloudFiles.allowOverwrites"),
    "SILVER_SOURCE": ("windows", "source"),
    "SILVER_WATERMARK": ("windows", "watermark"),
    "SILVER_WINDOW": ("windows", "window"),
    "SILVER_SLIDE": ("windows", "slide"),
    "SILVER_SESSION_GAP": ("windows", "session_gap"),
    "SILVER_OUTPUT_MODE": ("windows", "output_mode"),
    "SILVER_MAX_FILES_PER_TRIGGER": ("windows", "max_files_per_trigger"),
    "SILVER_EARLIEST_DATE": ("event_time", "earliest"),
    "SILVER_FUTURE_LIMIT": ("event_time", "future_limit"),
    "SILVER_AMOUNT_LIMIT": ("refuse",),
    "DUPLICATE_ORDERS": ("checks", "unique", "on_failure"),
    "SCHEMA_CONTRACT": ("checks", "schema", "on_failure"),
    "RESCUED_SHARE": ("checks", "rescue_rate", "max_share"),
    "CORRUPT_SHARE": ("checks", "no_invalid_rows", "max_share"),
}
"""Variables that were settings of an older release, and where a declaration says the same."""


def warnings_of_variables(settings: Settings, catalogue: Catalogue) -> list[str]:
    """What people are told about variables: those that nobody reads, and old names that the declaration still hears.

    Args:
        settings: The settings.
        catalogue: Whose file may ask for variables.
    """
    heard = [f"{PREFIX}{name}" for name in sorted(_MOVED) if os.environ.get(f"{PREFIX}{name}")]
    return [
        *(_warning_of(name, near) for name, near in unknown_variables(settings, catalogue)),
        *(
            f"{name} is an old name, heard because {catalogue.where} asks for it: its place is there, {_place_of(name)}"
            for name in heard
            if name in catalogue.variables
        ),
    ]


def _place_of(name: str) -> str:
    """Where a declaration says what an old setting said; empty for any other variable."""
    return ": ".join(_MOVED.get(name.removeprefix(PREFIX), ()))


def _warning_of(name: str, near: str | None) -> str:
    if place := _place_of(name):
        return f"{name} is set, and is no setting any more: its place is the declaration, {place}: ${{{name}}}"
    asked = f"; did you mean {near}?" if near else ""
    return f"{name} is set, and neither a setting nor asked for by the declaration{asked}"

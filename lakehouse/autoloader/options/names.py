"""Names of options: those of the formats' readers, and the known names that are closest to an unknown name.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.options.elsewhere import (
    DATABRICKS_OPTIONS,
    KEYS,
    OF_FORMATS,
    REGION,
    SPARK_OPTIONS,
)
from lakehouse.autoloader.options.verdict import ACCEPTED, REFUSED, WARNING, Elsewhere

READER_OPTIONS = {entry.name.lower(): entry.reader_options for entry in FORMATS}
"""The options of each format's reader, as Spark 4.2 spells them (``readerCaseSensitive`` is Databricks')."""

READER_NAMES = {format_: {name.lower(): name for name in names} for format_, names in READER_OPTIONS.items()}
"""The same, found by their names in lower case."""

FLAGS = frozenset(name.lower() for entry in FORMATS for name in entry.flags)
"""Reader options that are true or false, in lower case."""

MODES = ("PERMISSIVE", "DROPMALFORMED", "FAILFAST")

SECRET = re.compile(r"secret|passw|token|credential|connection.?string|(^|[._-])key|key(.?id)?$", re.IGNORECASE)
"""Names whose values are secret."""

_OWNERS = {
    **{kind: {*names, *(name.lower() for name in OF_FORMATS.get(kind, {}))} for kind, names in READER_NAMES.items()},
}
_MEANT = {
    "cloudfiles.schemahint": "cloudFiles.schemaHints",
    "cloudfiles.includepattern": "pathGlobFilter",
}


def is_readers(lower: str, format_: str | None) -> bool:
    """Whether this is an option of the format's reader; of any reader while the format is not known."""
    return lower in READER_NAMES[format_] if format_ else any(lower in names for names in _OWNERS.values())


def has_no_prefix(lower: str, format_: str | None) -> bool:
    """Whether an option of a reader or of Spark is documented by this name, without ``cloudFiles.`` before it."""
    tables = (OF_FORMATS.get(format_ or "", {}), SPARK_OPTIONS)
    return any(known.is_called(lower) for table in tables for known in table.values()) or any(
        lower in names for names in _OWNERS.values()
    )


def judge(lower: str, name: str, value: str, format_: str | None) -> tuple[str, str] | None:
    """The verdict on an option that is documented and not read here, and the sentence to say; None where it is unknown.

    Args:
        lower: Its name in lower case.
        name: Its name as it was written.
        value: Its value, which no sentence repeats.
        format_: ``cloudFiles.format``, None when that is missing or wrong itself.
    """
    own = OF_FORMATS.get(format_ or "", {})
    for owner, table in ((f"the format {format_}", own), ("Databricks", DATABRICKS_OPTIONS), ("Spark", SPARK_OPTIONS)):
        for known in table.values():
            if known.is_called(lower):
                return _judge_known(known, name if known.name.endswith("*") else known.name, owner, value)
    if owners := [format_name for format_name, names in _OWNERS.items() if lower in names]:
        of = " or ".join(owners)
        return (
            WARNING,
            f"{name} is without effect: it is an option of the format {of}, and cloudFiles.format is {format_}.",
        )
    if SECRET.search(name):
        return REFUSED, (
            f"{name} looks like a credential, and options are no place for one because Spark shows them in plans and "
            f"logs: {KEYS}."
        )
    if lower.startswith("fs."):
        return REFUSED, f"{name} is a setting of Hadoop, not an option of cloudFiles: {REGION}."
    if lower.startswith("spark."):
        return WARNING, f"{name} is without effect: it is a setting of the session, and no option."
    return None


def _judge_known(known: Elsewhere, name: str, owner: str, value: str) -> tuple[str, str]:
    verdict = known.of(value)
    if verdict == REFUSED:
        return verdict, f"{name} is an option of {owner}, not had here: {known.why}."
    return verdict, "" if verdict == ACCEPTED else f"{name} is without effect: {known.why}."


def nearest(lower: str, ours: Iterable[str], format_: str | None) -> list[str]:
    """Known names that an unknown name was perhaps meant for, with or without ``cloudFiles.`` before them."""
    from difflib import get_close_matches  # only errors need it

    if meant := _MEANT.get(lower):
        return [meant]
    known: Mapping[str, str] = {name.lower().removeprefix("cloudfiles."): name for name in _candidates(ours, format_)}
    bare = lower.removeprefix("cloudfiles.")
    near = [known[key] for key in get_close_matches(bare, known, n=2, cutoff=0.75)]
    return near[:1] if near and near[0].lower().removeprefix("cloudfiles.") == bare else near


def _candidates(ours: Iterable[str], format_: str | None) -> list[str]:
    return [*DATABRICKS_OPTIONS, *ours, *READER_OPTIONS.get(format_ or "", ())]

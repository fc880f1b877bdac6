"""The options of ``format("cloudFiles")``: strings in, one checked object out.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.options.paths import SourcePath, glob_regex, split_uri
from lakehouse.autoloader.options.refused import (
    FLAGS,
    MODES,
    READER_NAMES,
    SECRET,
    is_readers,
    refusal,
    unknown,
)
from lakehouse.errors import ConfigurationError

METADATA = "_metadata"
"""The column that tells where a row came from."""
INFERRED = "cloudFiles.inferred"
"""Marks, in the metadata of that column, a schema that came from the schema location and may grow there."""
HEADER = "cloudFiles.header"
"""Beside it, for CSV: whether the files of such a schema begin with a header, where no option says so."""

WIDENING = "addNewColumnsWithTypeWidening"

_DAY = 86_400.0
_BYTE_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_SECONDS = {"week": 7 * _DAY, "day": _DAY, "hour": 3600, "minute": 60, "second": 1, "millisecond": 1e-3}
_FORMATS = ", ".join(FORMATS.names())
_PLACE = re.compile(r"s3[an]?://[A-Za-z0-9][A-Za-z0-9._-]*(/.*)?", re.DOTALL)


@dataclass(frozen=True)
class CloudFilesOptions:
    """What one stream was told; ``docs/options.md`` describes each option.

    Attributes:
        format: In lower case; ``binaryfile`` for ``binaryFile``.
        path: The argument of ``load()``: ``s3a://bucket/folder/``, ``s3://`` or ``s3n://``.
        sample_files: Inference looks at so many of the newest files, or at ``sample_bytes``, whichever comes first.
        schema_evolution_mode: In Databricks' spelling; None was not given.
        clean_source: ``OFF``, ``MOVE`` or ``DELETE``.
        allow_overwrites: ``replace`` also takes the older version's rows out, see ``streams.replacing``.
        partition_columns: None was not given; empty drops them.
        modified_after: In UTC, as ``modified_before`` is.
        bad_records_path: The table for records that are malformed; without one they have rows.
        use_notifications: New files come from the inbox of events; ``use_managed_file_events`` says the same.
        events_inbox: The inbox's file on the driver's machine; None asks its environment.
        reader: Options of the format's reader as they were given, their names in lower case.
    """

    format: str
    path: str
    schema_location: str | None = None
    infer_column_types: bool = False
    sample_files: int = 1000
    sample_bytes: int = 64 << 20
    schema_evolution_mode: str | None = None
    schema_hints: str | None = None
    include_existing_files: bool = True
    max_files_per_trigger: int = 1000
    max_bytes_per_trigger: int | None = None
    allow_overwrites: bool | Literal["replace"] = False
    clean_source: str = "OFF"
    clean_source_retention_seconds: float = 30 * _DAY
    clean_source_move_destination: str | None = None
    partition_columns: tuple[str, ...] | None = None
    use_strict_globber: bool = False
    validate_options: bool = True
    backfill_interval_seconds: float = 3600.0
    use_notifications: bool = False
    use_managed_file_events: bool = False
    list_on_start: bool = False
    events_inbox: str | None = None
    path_glob_filter: str | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    ignore_missing_files: bool = False
    ignore_corrupt_files: bool = False
    rescued_data_column: str | None = None
    bad_records_path: str | None = None
    journal_location: str | None = None
    profile: str | None = None
    min_partitions: int = 2
    max_partition_bytes: int = 32 << 20
    max_decompressed_bytes: int = 8 << 30
    max_line_bytes: int = 64 << 20
    max_record_bytes: int = 256 << 20
    max_columns: int = 10_000
    reader: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> CloudFilesOptions:
        """Checks the options as Spark hands them over: names in any case, values as strings.

        Raises:
            ConfigurationError: with every problem there is, a line each, and no secret.
        """
        problems: list[str] = []
        given: dict[str, tuple[str, str]] = {}
        for name, value in options.items():
            if given.setdefault(name.lower(), (name, value))[1] != value:
                problems.append(f"{name} is given twice, in different cases and with different values.")
        values: dict[str, Any] = {}
        for option in OPTIONS:
            if (found := given.pop(option.name.lower(), None)) is None:
                continue
            values[option.name] = None
            try:
                values[option.name] = option.read(found[1])
            except ValueError as error:
                problems.append(f"{option.name} is {_shown(option.name, found[1])}: {error}.")
        problems += [f"{name} is missing: {hint}." for name, hint in _REQUIRED.items() if name not in values]
        format_ = values.get("cloudFiles.format")
        for lower, (name, value) in given.items():
            if is_readers(lower, format_):
                problems += _reader_problem(lower, value, format_)
            elif sentence := refusal(lower, name, format_):
                problems.append(sentence)
            elif not (lower.startswith("cloudfiles.") and values.get("cloudFiles.validateOptions") is False):
                problems.append(unknown(lower, name, (one.name for one in OPTIONS), format_))
        problems += _contradictions(values)
        if "badRecordsPath" in values:
            problems += _bad_records_problems(format_, given.get("mode", ("mode", ""))[1])
        if "singlevariantcolumn" in given:
            problems += _variant_problems(given["singlevariantcolumn"][1], values)
        if problems:
            raise ConfigurationError(
                "\n".join(problems),
                where="cloudFiles options",
                state="nothing was read or written",
                next_command="correct the options; docs/options.md lists all of them",
            )
        fields = {one.field: values[one.name] for one in OPTIONS if one.field and one.name in values}
        if fields.get("use_notifications") or fields.get("use_managed_file_events"):
            fields.setdefault("backfill_interval_seconds", _DAY)
        reader = {lower: value for lower, (_, value) in given.items() if is_readers(lower, format_)}
        return cls(**fields, reader=reader)

    @property
    def by_events(self) -> bool:
        """Whether new files come from the inbox of events."""
        return self.use_notifications or self.use_managed_file_events


@dataclass(frozen=True)
class Option:
    """One option: its documented name, the field it fills ("" for none), and what makes a value of its text."""

    name: str
    field: str
    read: Callable[[str], Any]


def _flag(text: str) -> bool:
    if text.strip().lower() not in ("true", "false"):
        raise ValueError("write true or false")
    return text.strip().lower() == "true"


def _overwrites(text: str) -> bool | Literal["replace"]:
    if text.strip().lower() == "replace":
        return "replace"
    if text.strip().lower() not in ("true", "false"):
        raise ValueError("write true, false or replace")
    return _flag(text)


def _only_true(text: str) -> None:
    if not _flag(text):
        raise ValueError("folders are always read with all that is below them; a glob in the path can narrow that")


def _count(text: str) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,9}", text.strip()) or int(text) >= 1 << 31:
        raise ValueError("write a whole number from 1 to 2147483647")
    return int(text)


def _bytes(text: str) -> int:
    found = re.fullmatch(r"0*([1-9][0-9]{0,18})([kmgtp]?b?)", text.strip().lower())
    size = int(found[1]) << _BYTE_UNITS[found[2].removesuffix("b")] if found else 0
    if not 0 < size < 1 << 63:
        raise ValueError("write a whole number of bytes above 0, or one with a unit such as 512k, 64m or 10g")
    return size


def _seconds(text: str) -> float:
    words = text.lower().split()
    words = words[1:] if words[:1] == ["interval"] else words
    total = 0.0
    for number, unit in zip(words[::2], words[1::2], strict=False):
        if unit.removesuffix("s") in ("month", "year"):
            raise ValueError("months and years differ in length, so count weeks or days")
        if unit.removesuffix("s") not in _SECONDS or not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", number):
            break
        total += float(number) * _SECONDS[unit.removesuffix("s")]
    else:
        if words and len(words) % 2 == 0 and total <= 36_500 * _DAY:
            return total
    raise ValueError("write an interval of at most 100 years such as '7 days', '12 hours' or '1 week 2 days'")


def _positive_seconds(text: str) -> float:
    if not (seconds := _seconds(text)):
        raise ValueError("it must be longer than 0 seconds")
    return seconds


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("write a time such as 2020-06-01T13:00:00 (UTC) or 2020-06-01T13:00:00+02:00") from None


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty, so give it a value or leave it out")
    return text


def _place(text: str) -> str:
    if not _PLACE.fullmatch(text):
        raise ValueError("it must be on the object store, written as s3a://bucket/folder/ (or s3://, s3n://)")
    return text


def _path(text: str) -> str:
    _checked_glob(_place(text), SourcePath.parse)
    return text


def _glob(text: str) -> str:
    _checked_glob(_text(text), lambda glob: re.compile(glob_regex(glob)))
    return text


def _checked_glob(text: str, compiled: Callable[[str], object]) -> None:
    try:
        compiled(text)
    except (ConfigurationError, re.error):
        raise ValueError("its glob has a brace or a bracket that does not fit") from None


def _columns(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
    if "" in names or len({name.lower() for name in names}) < len(names):
        raise ValueError("write different names with commas between them, or nothing to have no partition columns")
    return names


def _one_of(*spellings: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        for one in spellings:
            if one.lower() == text.strip().lower():
                return one
        raise ValueError("write one of " + ", ".join(spellings))

    return read


def _format(text: str) -> str:
    if text.strip().lower() == "xml":
        raise ValueError("XML is not read here, so have it converted to one of " + _FORMATS)
    return _one_of(*FORMATS.names())(text).lower()


OPTIONS: tuple[Option, ...] = (
    Option("cloudFiles.format", "format", _format),
    Option("path", "path", _path),
    Option("cloudFiles.schemaLocation", "schema_location", _place),
    Option("cloudFiles.inferColumnTypes", "infer_column_types", _flag),
    Option(
        "cloudFiles.schemaEvolutionMode",
        "schema_evolution_mode",
        _one_of("addNewColumns", "addNewColumnsWithTypeWidening", "inline", "rescue", "failOnNewColumns", "none"),
    ),
    Option("cloudFiles.schemaHints", "schema_hints", _text),
    Option("cloudFiles.includeExistingFiles", "include_existing_files", _flag),
    Option("cloudFiles.maxFilesPerTrigger", "max_files_per_trigger", _count),
    Option("cloudFiles.maxBytesPerTrigger", "max_bytes_per_trigger", _bytes),
    Option("cloudFiles.allowOverwrites", "allow_overwrites", _overwrites),
    Option("cloudFiles.cleanSource", "clean_source", _one_of("OFF", "MOVE", "DELETE")),
    Option("cloudFiles.cleanSource.retentionDuration", "clean_source_retention_seconds", _seconds),
    Option("cloudFiles.cleanSource.moveDestination", "clean_source_move_destination", _place),
    Option("cloudFiles.partitionColumns", "partition_columns", _columns),
    Option("cloudFiles.useStrictGlobber", "use_strict_globber", _flag),
    Option("cloudFiles.validateOptions", "validate_options", _flag),
    Option("cloudFiles.backfillInterval", "backfill_interval_seconds", _positive_seconds),
    Option("cloudFiles.useNotifications", "use_notifications", _flag),
    Option("cloudFiles.useManagedFileEvents", "use_managed_file_events", _flag),
    Option("cloudFiles.listOnStart", "list_on_start", _flag),
    Option("pathGlobFilter", "path_glob_filter", _glob),
    Option("modifiedAfter", "modified_after", _moment),
    Option("modifiedBefore", "modified_before", _moment),
    Option("recursiveFileLookup", "", _only_true),
    Option("ignoreMissingFiles", "ignore_missing_files", _flag),
    Option("ignoreCorruptFiles", "ignore_corrupt_files", _flag),
    Option("rescuedDataColumn", "rescued_data_column", _text),
    Option("badRecordsPath", "bad_records_path", _place),
    Option("cloudFiles.schemaInference.sampleSize.numFiles", "sample_files", _count),
    Option("cloudFiles.schemaInference.sampleSize.numBytes", "sample_bytes", _bytes),
    Option("cloudFiles.journalLocation", "journal_location", _place),
    Option("cloudFiles.eventsInbox", "events_inbox", _text),
    Option("cloudFiles.profile", "profile", _text),
    Option("minPartitions", "min_partitions", _count),
    Option("cloudFiles.maxPartitionBytes", "max_partition_bytes", _bytes),
    Option("cloudFiles.maxDecompressedBytes", "max_decompressed_bytes", _bytes),
    Option("cloudFiles.maxLineBytes", "max_line_bytes", _bytes),
    Option("cloudFiles.maxRecordBytes", "max_record_bytes", _bytes),
    Option("cloudFiles.maxColumns", "max_columns", _count),
)
"""All options but the formats' own."""

_REQUIRED = {
    "cloudFiles.format": "it names what the files are, one of " + _FORMATS,
    "path": "give load() a path such as s3a://bucket/folder/",
}


def _shown(name: str, value: str) -> str:
    """The value for an error. Addresses may carry secrets before an ``@`` or after a ``?``: those are left out."""
    if SECRET.search(name):
        return "not shown"
    value = re.sub(r"//.*@", "//...@", value, flags=re.DOTALL)
    return repr(re.sub(r"^(https?:[^?]*\?).*", r"\1...", value, flags=re.DOTALL)[:200])


def _reader_problem(lower: str, value: str, format_: str | None) -> Iterator[str]:
    name = READER_NAMES[format_][lower] if format_ else lower
    if lower in FLAGS and value.strip().lower() not in ("true", "false"):
        yield f"{name} is {_shown(name, value)}: write true or false."
    if lower == "mode" and value.strip().upper() not in MODES:
        yield f"{name} is {_shown(name, value)}: write one of {', '.join(MODES)}."


def _variant_problems(column: str, values: Mapping[str, Any]) -> Iterator[str]:
    if not column.strip():
        yield "singleVariantColumn is empty: give the name of the column."
    if "cloudFiles.schemaHints" in values:
        yield "cloudFiles.schemaHints have nothing to name: with singleVariantColumn all fields are in one VARIANT."
    if "badRecordsPath" in values:
        yield "badRecordsPath and singleVariantColumn: leave one out; malformed records are in _rescued_data beside it."


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    """Options that are well each and cannot be together. A value that was refused already is None."""
    mode, path = values.get("cloudFiles.cleanSource"), values.get("path")
    keep = values.get("cloudFiles.cleanSource.retentionDuration")
    if mode == "DELETE" and keep is not None and keep <= 7 * _DAY:
        yield "cloudFiles.cleanSource DELETE needs a cloudFiles.cleanSource.retentionDuration of more than 7 days."
    if mode == "MOVE" and "cloudFiles.cleanSource.moveDestination" not in values:
        yield "cloudFiles.cleanSource MOVE needs cloudFiles.cleanSource.moveDestination."
    after, before = values.get("modifiedAfter"), values.get("modifiedBefore")
    if after and before and after >= before:
        yield "No file can be newer than modifiedAfter and older than modifiedBefore: modifiedAfter must be earlier."
    format_ = values.get("cloudFiles.format")
    if format_ and not FORMATS[format_].has_fields and "rescuedDataColumn" in values:
        without = " and ".join(FORMATS.names(lambda one: not one.has_fields))
        yield f"rescuedDataColumn has nothing to hold: files of {without} have no fields."
    if not path:
        return
    source = SourcePath.parse(path, strict=bool(values.get("cloudFiles.useStrictGlobber")))
    if destination := values.get("cloudFiles.cleanSource.moveDestination"):
        bucket, folder = split_uri(destination)
        if bucket != source.bucket:
            yield "cloudFiles.cleanSource.moveDestination must be in the bucket of the load path."
        elif f"{folder.strip('/')}/".removeprefix("/").startswith(source.root):
            yield (
                "cloudFiles.cleanSource.moveDestination must be neither the load path nor below it: "
                "moved files would be found as new ones."
            )
    for name, what in (("cloudFiles.journalLocation", "the journal"), ("badRecordsPath", "its table")):
        bucket, folder = split_uri(values.get(name) or "s3a://-")
        if bucket == source.bucket and source.covers(f"{folder.strip('/')}/0".removeprefix("/")):
            yield (
                f"{name} is below the load path, where {what} would be loaded as data: "
                "move it, or begin a folder's name with _."
            )


def _bad_records_problems(format_: str | None, mode: str) -> Iterator[str]:
    if format_ and not FORMATS[format_].keeps_bad_records:
        able = " and ".join(FORMATS.names(lambda one: one.keeps_bad_records))
        yield f"badRecordsPath is for {able}, and cloudFiles.format is {format_}: their records can be malformed."
    if mode.strip().upper() in ("DROPMALFORMED", "FAILFAST"):
        yield f"badRecordsPath keeps malformed records, and mode is {mode.strip().upper()}: leave one of the two out."

"""The options of ``format("cloudFiles")``: strings in, a checked object out.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from lakehouse.autoloader.formats.format import encoding_of
from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.options.elsewhere import ALIASES
from lakehouse.autoloader.options.names import FLAGS, SECRET, has_no_prefix, is_readers, judge, nearest
from lakehouse.autoloader.options.paths import SourcePath, split_uri
from lakehouse.autoloader.options.places import glob, inbox, path, place, table_place
from lakehouse.autoloader.options.reader_values import problems as reader_problems
from lakehouse.autoloader.options.reader_values import shown_name
from lakehouse.autoloader.options.values import (
    DAY_SECONDS,
    columns,
    count,
    flag,
    moment,
    one_of,
    overwrites,
    positive_seconds,
    seconds,
    some_text,
    text_or_none,
    web_address,
)
from lakehouse.autoloader.options.verdict import REFUSED, WARNING
from lakehouse.errors import ConfigurationError
from lakehouse.plain_text import size_bytes
from lakehouse.storage.local_paths import cloud_of
from lakehouse.storage.role_names import NO_ROLE, role_counts

INFERRED = "cloudFiles.inferred"
"""Marks, in the metadata of ``_metadata``, a schema that came from the schema location and may grow there."""
HEADER = "cloudFiles.header"
"""Beside it, for CSV: whether the files of such a schema begin with a header, where no option says so."""
LOOKED = "lakehouse.looked_upto"
"""Not for people: the number of the last file that a look for this query has found. With ``availableNow`` the query
takes no other then, and does not look itself."""

WIDENING = "addNewColumnsWithTypeWidening"
UNKNOWN = "no option is called so"
"""How the note on an unknown option begins, after its name."""

_FORMATS = ", ".join(FORMATS.names())


@dataclass(frozen=True)
class CloudFilesOptions:
    """The options of one stream; ``docs/options.md`` describes each option.

    Attributes:
        format: In lower case; ``binaryfile`` for ``binaryFile``.
        path: The argument of ``load()``: ``s3a://bucket/folder/``, ``s3://`` or ``s3n://``; or ``file:///folder/``.
        sample_files: Inference looks at so many of the newest files, or at ``sample_bytes``, whichever comes first.
        schema_evolution_mode: In Databricks' spelling; None where it was not given.
        clean_source: ``OFF``, ``MOVE`` or ``DELETE``.
        allow_overwrites: ``replace`` also takes the older version's rows out, see ``streams.replacing``.
        partition_columns: None where they were not given; empty drops them.
        modified_after: In UTC, as ``modified_before`` is.
        bad_records_path: The table for malformed records; without this table they have rows.
        profile: The profile of the AWS configuration whose keys reach the files.
        role_arn: The role that is taken on for the files; nothing else is read or written with it.
        role_external_id, role_session_name: Sent with the request for its keys.
        sts_endpoint: The address of the service that hands out its keys; None for Amazon.
        use_notifications: New files come from the inbox of events; ``use_managed_file_events`` says the same.
        events_inbox: The inbox's file on the driver's machine; None asks its environment.
        reader: Options of the format's reader as they were given, their names in lower case.
        notes: Warnings of options that are accepted and without effect: a sentence each, with no value.
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
    clean_source_retention_seconds: float = 30 * DAY_SECONDS
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
    role_arn: str | None = None
    role_external_id: str | None = None
    role_session_name: str | None = None
    sts_endpoint: str | None = None
    min_partitions: int = 2
    max_partition_bytes: int = 32 << 20
    max_decompressed_bytes: int = 8 << 30
    max_line_bytes: int = 64 << 20
    max_record_bytes: int = 256 << 20
    max_columns: int = 10_000
    reader: Mapping[str, str] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> CloudFilesOptions:
        """Checks the options as Spark hands them over: names in any case, values as strings.

        Raises:
            ConfigurationError: with every problem there is, a line each, and no secret.
        """
        problems: list[str] = []
        notes: list[str] = []
        given = _by_meaning({name: value for name, value in options.items() if name != LOOKED}, problems, notes)
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
        reader: dict[str, str] = {}
        for lower, (name, value) in given.items():
            if is_readers(lower, format_):
                problems += _reader_problem(lower, value, format_)
                reader[lower] = value.strip().lower() if lower in FLAGS else value
            elif not _is_harmless(lower, value, values) and (verdict := _judge_unread(lower, name, value, values)):
                (problems if verdict[0] == REFUSED else notes).append(verdict[1])
        notes += [
            f"{second} is without effect: {first} is given, too, and says otherwise."
            for first, second in _SECOND_NAMES.items()
            if second in reader and reader[second] != reader.get(first, reader[second])
        ]
        notes += _left_out(values)
        if values.get("cloudFiles.roleArn") and not role_counts(values.get("cloudFiles.stsEndpoint")):
            notes.append(f"cloudFiles.roleArn is without effect: {NO_ROLE}.")
        problems += _contradictions(values)
        if "badRecordsPath" in values:
            problems += _bad_records_problems(format_, given.get("mode", ("mode", ""))[1])
        if format_ == "xml" and "rowtag" not in given:
            problems.append("rowTag is missing: it names the elements of XML that are rows.")
        if "singlevariantcolumn" in reader:
            problems += _variant_problems(reader["singlevariantcolumn"], values)
        if problems:
            raise ConfigurationError(
                "\n".join([*problems, *(note for note in notes if "did you mean" in note)]),
                where="cloudFiles options",
                state="nothing was read or written",
                next_command="correct the options; docs/options.md lists all of them",
            )
        if format_ == "text" and encoding_of(reader):
            notes.append("encoding is that of lineSep alone, as in Spark: the text itself is read as UTF-8.")
        fields = {entry.field: values[entry.name] for entry in OPTIONS if entry.field and entry.name in values}
        if fields.get("use_notifications") or fields.get("use_managed_file_events"):
            fields.setdefault("backfill_interval_seconds", DAY_SECONDS)
        return cls(**fields, reader=reader, notes=tuple(notes))

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


def _format(text: str) -> str:
    return one_of(*FORMATS.names())(text).lower()


OPTIONS: tuple[Option, ...] = (
    Option("cloudFiles.format", "format", _format),
    Option("path", "path", path),
    Option("cloudFiles.schemaLocation", "schema_location", place),
    Option("cloudFiles.inferColumnTypes", "infer_column_types", flag),
    Option(
        "cloudFiles.schemaEvolutionMode",
        "schema_evolution_mode",
        one_of("addNewColumns", "addNewColumnsWithTypeWidening", "inline", "rescue", "failOnNewColumns", "none"),
    ),
    Option("cloudFiles.schemaHints", "schema_hints", text_or_none),
    Option("cloudFiles.includeExistingFiles", "include_existing_files", flag),
    Option("cloudFiles.maxFilesPerTrigger", "max_files_per_trigger", count),
    Option("cloudFiles.maxBytesPerTrigger", "max_bytes_per_trigger", size_bytes),
    Option("cloudFiles.allowOverwrites", "allow_overwrites", overwrites),
    Option("cloudFiles.cleanSource", "clean_source", one_of("OFF", "MOVE", "DELETE")),
    Option("cloudFiles.cleanSource.retentionDuration", "clean_source_retention_seconds", seconds),
    Option("cloudFiles.cleanSource.moveDestination", "clean_source_move_destination", place),
    Option("cloudFiles.partitionColumns", "partition_columns", columns),
    Option("cloudFiles.useStrictGlobber", "use_strict_globber", flag),
    Option("cloudFiles.validateOptions", "validate_options", flag),
    Option("cloudFiles.backfillInterval", "backfill_interval_seconds", positive_seconds),
    Option("cloudFiles.useNotifications", "use_notifications", flag),
    Option("cloudFiles.useManagedFileEvents", "use_managed_file_events", flag),
    Option("cloudFiles.listOnStart", "list_on_start", flag),
    Option("pathGlobFilter", "path_glob_filter", glob),
    Option("modifiedAfter", "modified_after", moment),
    Option("modifiedBefore", "modified_before", moment),
    Option("recursiveFileLookup", "", flag),
    Option("ignoreMissingFiles", "ignore_missing_files", flag),
    Option("ignoreCorruptFiles", "ignore_corrupt_files", flag),
    Option("rescuedDataColumn", "rescued_data_column", some_text),
    Option("badRecordsPath", "bad_records_path", table_place),
    Option("cloudFiles.schemaInference.sampleSize.numFiles", "sample_files", count),
    Option("cloudFiles.schemaInference.sampleSize.numBytes", "sample_bytes", size_bytes),
    Option("cloudFiles.journalLocation", "journal_location", place),
    Option("cloudFiles.eventsInbox", "events_inbox", inbox),
    Option("cloudFiles.profile", "profile", some_text),
    Option("cloudFiles.roleArn", "role_arn", some_text),
    Option("cloudFiles.roleExternalId", "role_external_id", some_text),
    Option("cloudFiles.roleSessionName", "role_session_name", some_text),
    Option("cloudFiles.stsEndpoint", "sts_endpoint", web_address),
    Option("minPartitions", "min_partitions", count),
    Option("cloudFiles.maxPartitionBytes", "max_partition_bytes", size_bytes),
    Option("cloudFiles.maxDecompressedBytes", "max_decompressed_bytes", size_bytes),
    Option("cloudFiles.maxLineBytes", "max_line_bytes", size_bytes),
    Option("cloudFiles.maxRecordBytes", "max_record_bytes", size_bytes),
    Option("cloudFiles.maxColumns", "max_columns", count),
)
"""All options but the formats' own."""

_FORMAT = "cloudfiles.format"
_NAMES = frozenset(entry.name.lower() for entry in OPTIONS)
_ALIASES = {second.lower(): first.lower() for second, first in ALIASES.items()}

_SECOND_NAMES = {"sep": "delimiter", "encoding": "charset"}
"""Options of readers with two names, of which Spark takes the first where both are given."""

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
    if format_:
        name = shown_name(lower, format_)
        yield from (f"{name} is {_shown(name, value)}: {wrong}." for wrong in reader_problems(lower, value, format_))


def _by_meaning(options: Mapping[str, Any], problems: list[str], notes: list[str]) -> dict[str, tuple[str, str]]:
    """Names as they were written and values, by the names in lower case that they mean."""
    given: dict[str, tuple[str, str]] = {}
    format_ = next((str(value).strip().lower() for name, value in options.items() if name.lower() == _FORMAT), None)
    for name, value in options.items():
        if value is None:  # as Spark takes it: not given
            continue
        lower = name.lower()
        meant = _ALIASES.get(lower, lower)
        bare = lower.removeprefix("cloudfiles.")
        if meant == lower != bare and lower not in _NAMES and (bare in _NAMES or has_no_prefix(bare, format_)):
            meant = bare
            notes.append(f"{name} is taken as {name.partition('.')[2]}: that option has no cloudFiles. before it.")
        if given.setdefault(meant, (name, str(value)))[1] != str(value):
            problems.append(f"{name} is given twice, in different spellings and with different values.")
    return given


def _is_harmless(lower: str, value: str, values: Mapping[str, Any]) -> bool:
    """Whether an option that nothing reads asks for what the other options give anyway."""
    format_ = values.get("cloudFiles.format")
    if lower == "inferschema" and format_:
        wanted = bool(values.get("cloudFiles.inferColumnTypes"))
        return not FORMATS[format_].infers_types or value.strip().lower() == str(wanted).lower()
    if lower == "basepath" and values.get("path"):
        bare = (re.sub(r"^[a-z0-9]+:/*|^/+", "", text.strip()) for text in (value, values["path"]))
        base, path = (text.rstrip("/").split("/") for text in bare)
        return path[: len(base)] == base and not any("=" in folder for folder in path[len(base) :])
    return False


def _judge_unread(lower: str, name: str, value: str, values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The verdict on an option that nothing reads, and a sentence; None where nothing is to be said."""
    format_ = values.get("cloudFiles.format")
    if known := judge(lower, name, value, format_):
        return known if known[1] else None
    of_ours = lower.startswith("cloudfiles.")
    if of_ours and values.get("cloudFiles.validateOptions") is False:
        return None
    near = nearest(lower, (option.name for option in OPTIONS), format_)
    asked = f": did you mean {' or '.join(near)}?" if near else "."
    if of_ours:
        return REFUSED, f"Unknown option {name}{asked}"
    return WARNING, f"{name} is without effect: {UNKNOWN}{asked}"


def _variant_problems(column: str, values: Mapping[str, Any]) -> Iterator[str]:
    if not column.strip():
        yield "singleVariantColumn is empty: give the name of the column."
    if values.get("cloudFiles.schemaHints"):
        yield "cloudFiles.schemaHints have nothing to name: with singleVariantColumn all fields are in one VARIANT."
    if "badRecordsPath" in values:
        yield "badRecordsPath and singleVariantColumn: leave one out; malformed records are in _rescued_data beside it."


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    """Options that are right by themselves and wrong together. A value that was refused already is None."""
    mode, path = values.get("cloudFiles.cleanSource"), values.get("path")
    keep = values.get("cloudFiles.cleanSource.retentionDuration")
    if mode == "DELETE" and keep is not None and keep <= 7 * DAY_SECONDS:
        yield "cloudFiles.cleanSource DELETE needs a cloudFiles.cleanSource.retentionDuration of more than 7 days."
    if mode == "MOVE" and "cloudFiles.cleanSource.moveDestination" not in values:
        yield "cloudFiles.cleanSource MOVE needs cloudFiles.cleanSource.moveDestination."
    evolution, format_ = values.get("cloudFiles.schemaEvolutionMode"), values.get("cloudFiles.format")
    if format_ and not FORMATS[format_].grows and evolution not in (None, "none", "rescue"):
        yield f"cloudFiles.schemaEvolutionMode {evolution}: columns of {format_} do not grow: use none, or rescue."
    after, before = values.get("modifiedAfter"), values.get("modifiedBefore")
    if after and before and after >= before:
        yield "No file can be newer than modifiedAfter and older than modifiedBefore: modifiedAfter must be earlier."
    if not path:
        return
    source = SourcePath.parse(path, strict=bool(values.get("cloudFiles.useStrictGlobber")))
    if (cloud := cloud_of(source.bucket)) and mode in ("MOVE", "DELETE"):
        yield f"cloudFiles.cleanSource {mode}: buckets of {cloud}: are only read."
        return
    if destination := values.get("cloudFiles.cleanSource.moveDestination"):
        bucket, folder = split_uri(destination)
        if bucket != source.bucket:
            yield "cloudFiles.cleanSource.moveDestination must be in the bucket of the load path, or local as that is."
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


def _left_out(values: dict[str, Any]) -> Iterator[str]:
    """Takes out options that the format has no use for; a sentence for each."""
    format_ = FORMATS.get(values.get("cloudFiles.format") or "")
    if format_ is None:
        return
    if not format_.keeps_bad_records and values.pop("badRecordsPath", None):
        able = " and ".join(FORMATS.names(lambda entry: entry.keeps_bad_records))
        yield f"badRecordsPath is without effect: only records of {able} are malformed by themselves."
    if not format_.has_fields and values.get("cloudFiles.schemaEvolutionMode") not in (None, "none"):
        yield f"cloudFiles.schemaEvolutionMode is without effect: columns of {format_.name} are always the same."
    if not format_.has_fields and values.pop("rescuedDataColumn", None):
        yield f"rescuedDataColumn is without effect: files of {format_.name} have no fields, so nothing is rescued."


def _bad_records_problems(format_: str | None, mode: str) -> Iterator[str]:
    if format_ and FORMATS[format_].keeps_bad_records and mode.strip().upper() in ("DROPMALFORMED", "FAILFAST"):
        yield f"badRecordsPath keeps malformed records, and mode is {mode.strip().upper()}: leave one of the two out."

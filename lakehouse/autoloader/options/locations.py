"""What the environment of Spark's driver adds to a stream's options: places of its schema and journal, an inbox."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath, resolved, source_id
from lakehouse.errors import ConfigurationError

ROOT = "LAKEHOUSE_SCHEMA_LOCATION_ROOT"
"""The variable in the environment of Spark's driver: ``file:///data/schemas/``, ``s3a://lake/schemas/``."""

_EVENTS = {"cloudfiles.usenotifications", "cloudfiles.usemanagedfileevents"}


def parsed_in_driver(given: Mapping[str, str]) -> CloudFilesOptions:
    """The options, without events where neither they nor this process's environment name an inbox of events.

    A listing finds the same files, so that code which has a queue elsewhere runs where there is none.

    Raises:
        ConfigurationError: see ``CloudFilesOptions.parse``.
    """
    options = CloudFilesOptions.parse(given)
    if not options.by_events or options.events_inbox:
        return options
    from lakehouse.events.address import VARIABLE  # what most streams have no need of

    if os.environ.get(VARIABLE):
        return options
    listed = CloudFilesOptions.parse({name: value for name, value in given.items() if name.lower() not in _EVENTS})
    note = f"File events are not used: neither cloudFiles.eventsInbox nor {VARIABLE} names an inbox; files are listed."
    return replace(listed, notes=(*listed.notes, note))


def with_locations(options: CloudFilesOptions, journal_root: str | None) -> CloudFilesOptions:
    """The options with the places that ``LAKEHOUSE_SCHEMA_LOCATION_ROOT`` gives to a stream that names none.

    The journal is the load path's, whatever else the options say: a checkpoint must find it again. The schema is that
    of the options by which it is inferred, so that two streams of a folder that ask for other columns have two.

    Raises:
        ConfigurationError: the variable names no folder.
    """
    root = os.environ.get(ROOT, "").strip()
    if not root or options.schema_location is not None:
        return options
    try:
        root = resolved(root).rstrip("/")
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{ROOT} is no folder: {error.what}",
            where=ROOT,
            state="nothing was read or written",
            next_command=f"{ROOT}=file:///data/schemas/ or s3a://bucket/schemas/, where Spark's driver is started",
        ) from None
    own = f"{root}/{source_id(SourcePath.parse(options.path))}"
    journal = options.journal_location
    if journal is None and journal_root is None:
        journal = f"{own}/_journal"
    columns = (
        options.path,
        options.format,
        options.path_glob_filter,
        options.schema_hints,
        options.infer_column_types,
        options.partition_columns,
        sorted(options.reader.items()),
    )
    name = hashlib.sha256(json.dumps(columns).encode()).hexdigest()[:12]
    return replace(options, schema_location=f"{own}/{options.format}-{name}", journal_location=journal)

"""The files, the journal and the schema that a stream's options name, opened."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from pyspark.sql.types import StructType

from lakehouse.autoloader.files.backlog import Backlog
from lakehouse.autoloader.files.discovery import discover
from lakehouse.autoloader.files.journal import Journal, utc_now
from lakehouse.autoloader.files.notified import Folder, discover_notified, opened_inbox
from lakehouse.autoloader.files.plan import Span, plan
from lakehouse.autoloader.files.positions import StreamPosition
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.formats.format import SINGLE_VARIANT
from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.options.locations import ROOT
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath, require_there, source_id, split_uri
from lakehouse.autoloader.outcomes.file_states import POINTER
from lakehouse.autoloader.reading.choose import infer, reads_lines
from lakehouse.autoloader.reading.fetch import Fetcher
from lakehouse.autoloader.reading.fetch_local import fetcher_of
from lakehouse.autoloader.reading.probe import InferenceProbe, attempt, find_deadly
from lakehouse.autoloader.schema.evolve import Learner, changes
from lakehouse.autoloader.schema.versions import (
    SchemaLocation,
    SchemaVersion,
    full_schema,
    infer_version,
    partition_columns,
)
from lakehouse.errors import ConfigurationError, UnknownFieldException
from lakehouse.storage.by_place import PlacedStore
from lakehouse.storage.environment import endpoint_from_environment, keys_of_profile, role_of
from lakehouse.storage.fast_store import FastStore
from lakehouse.storage.local_paths import LOCAL, cloud_of
from lakehouse.storage.store import ObjectStore, StoreEndpoint


def new_stream_id() -> str:
    """The id of a stream that begins now. It belongs to the checkpoint alone, whose offsets carry it on.

    Options do not name a stream: two checkpoints with the same options are two streams.
    """
    return uuid.uuid4().hex[:16]


def shared_stream_id(options: CloudFilesOptions) -> str:
    """The id that older releases gave a stream: checkpoints with the same options may share it."""
    identity = (options.path, options.format, options.schema_location, options.path_glob_filter)
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def with_header(options: CloudFilesOptions) -> CloudFilesOptions:
    """The options for inferring columns. Auto Loader then takes CSV files to have headers; Spark does not.

    A VARIANT of whole records is not inferred: nobody takes a header for granted there.
    """
    if not FORMATS[options.format].has_header or SINGLE_VARIANT in options.reader:
        return options
    return replace(options, reader={"header": "true", **options.reader})


@dataclass
class Source:
    """The files, the journal and the schema that the options name, opened.

    Attributes:
        endpoint: The object store; None asks this process's environment, as Spark's processes do.
        journals: Open journals by their folders: a repeated look reads only what came since the last.
    """

    options: CloudFilesOptions
    journal_root: str | None
    now: Callable[[], datetime] = utc_now
    endpoint: StoreEndpoint | None = None
    journals: dict[str, Journal] = field(default_factory=dict)
    _looked: bool = field(default=False, init=False)

    @cached_property
    def path(self) -> SourcePath:
        """The files."""
        return SourcePath.parse(self.options.path, strict=self.options.use_strict_globber)

    @cached_property
    def server(self) -> StoreEndpoint:
        """The object store's address and keys.

        Raises:
            ConfigurationError: this process has no keys.
        """
        return self.endpoint or endpoint_from_environment(self.options.profile)

    @cached_property
    def server_of_files(self) -> StoreEndpoint:
        """The same for the bucket of the load path, with the keys of the profile and the role that options name.

        Raises:
            ConfigurationError, AccessDenied, StoreUnavailable: there are no keys for this profile or role.
        """
        options, server = self.options, self.server
        if self.endpoint is not None and options.profile:
            server = keys_of_profile(self.endpoint, options.profile)
        role = role_of(
            server, options.role_arn, options.role_external_id, options.role_session_name, options.sts_endpoint
        )
        return server.with_keys(server.key_source.of_role(role)) if role else server

    @property
    def _on_server(self) -> bool:
        return self.path.bucket != LOCAL and not cloud_of(self.path.bucket)

    @property
    def server_of_probes(self) -> StoreEndpoint | None:
        """The same for a process that only reads files; None where those are local."""
        return self.server if self._on_server else None

    @cached_property
    def store(self) -> ObjectStore:
        """The object store, and this machine's disks."""
        own = self.options.role_arn or (self.endpoint and self.options.profile)
        stores = {self.path.bucket: lambda: FastStore(self.server_of_files)} if own and self._on_server else {}
        return PlacedStore(lambda: FastStore(self.server), stores)

    @cached_property
    def fetcher(self) -> Fetcher:
        """Reads the bytes of files."""
        return fetcher_of(self.path.bucket, lambda: self.server_of_files)

    @cached_property
    def journal_place(self) -> tuple[str, str]:
        """Bucket and folder of the journal."""
        return split_uri(self.journal_uri)

    @cached_property
    def journal_uri(self) -> str:
        """The journal's folder.

        Raises:
            ConfigurationError: nothing says where it is.
        """
        place = self.options.journal_location
        if place is None and self.journal_root is not None:
            place = f"{self.journal_root.rstrip('/')}/{source_id(self.path)}"
        if place is None and self.options.schema_location is not None:
            place = f"{self.options.schema_location.rstrip('/')}/_journal"
        if place is None:
            raise ConfigurationError(
                "nothing says where to keep the journal of files",
                where="cloudFiles options",
                state="nothing was read or written",
                next_command="give cloudFiles.schemaLocation (the journal is kept beside the schema) or "
                f"cloudFiles.journalLocation; or set {ROOT} for Spark's driver: a folder for all streams",
            )
        return place.rstrip("/") + "/"

    @cached_property
    def journal(self) -> Journal:
        """The journal, opened.

        Raises:
            ConfigurationError: it is of another bucket.
        """
        made = self.journals.get(self.journal_uri)
        if made is None:
            made = self.journals[self.journal_uri] = Journal(self.store, *self.journal_place, now=self.now)
        else:
            made.refresh()
        made.require_bucket(self.path.bucket)
        return made

    def discover(self) -> None:
        """Brings the journal up to date with the bucket: by events where the options say so, else by a listing.

        Raises:
            ConfigurationError: it is a local path, and there is nothing of that name.
        """
        require_there(self.path, self.options.path)
        bucket, prefix = self.journal_place
        audit, seconds = (bucket, f"{prefix}audit.json"), self.options.backfill_interval_seconds
        if not self.options.by_events:
            discover(self.store, self.path, self.journal, audit, now=self.now, audit_interval_seconds=seconds)
            return
        opened_now = "journal" not in vars(self)
        folder = Folder(self.store, self.path, self.journal, audit)
        first, self._looked = not self._looked, True
        with opened_inbox(self.options.events_inbox) as inbox:
            discover_notified(
                folder,
                inbox,
                now=self.now,
                interval_seconds=seconds,
                listing=first and self.options.list_on_start,
                refreshed=opened_now,
            )

    def parts(self, files: Sequence[FileVersion]) -> list[list[Span]]:
        """A batch cut into parts of similar size as the options say, see ``plan``."""
        return plan(
            files,
            lines=reads_lines(self.options),
            min_partitions=self.options.min_partitions,
            max_partition_bytes=self.options.max_partition_bytes,
            may_split=self.fetcher.is_there,
        )

    def backlog(self, after: int = 0, stream: str = "") -> Backlog:
        """The stream's choice of the files."""
        return Backlog(self.journal, self.path, self.options, after, stream=stream)

    def position(self, stream: str) -> StreamPosition:
        """How far a stream has come."""
        location = self.options.schema_location or ""
        return StreamPosition(self.store, *self.journal_place, stream, self.now, location)

    @cached_property
    def schemas(self) -> SchemaLocation:
        """The versions of the schema; only for a stream that has a schema location."""
        return SchemaLocation(self.store, *split_uri(self.options.schema_location or ""))

    def inferred_schema(self) -> StructType:
        """See ``CloudFiles.schema``."""
        location = self.options.schema_location
        fixed = SINGLE_VARIANT in self.options.reader or not FORMATS[self.options.format].has_fields
        if location is None and fixed:
            named = partition_columns(self.options, self.path.root, ())
            return full_schema(self.options, SchemaVersion(0, infer(self.options, []), named, header=False))
        if location is None:
            raise ConfigurationError(
                "no schema, and no place to keep an inferred one",
                where="cloudFiles options",
                state="nothing was read or written",
                next_command="give the option cloudFiles.schemaLocation, or a schema: .schema(...); "
                f"or set {ROOT} for Spark's driver: a folder for all streams",
            )
        schemas = self.schemas
        version = schemas.latest()
        if version is None:
            self.discover()
            newest = self.backlog().newest(self.options.sample_files)
            if not newest:
                raise ConfigurationError(
                    "there is no file yet to infer a schema from",
                    where=self.options.path,
                    state="nothing was written",
                    next_command="start the stream when the first file has landed, or give a schema: .schema(...)",
                )
            bucket, prefix = split_uri(location)
            with attempt(self.store, bucket, f"{prefix.rstrip('/')}/_inferring") as died:
                keys = self.server_of_files if self._on_server else None
                survives = InferenceProbe(self.options, self.path.root, self.path.bucket, keys)
                deadly = find_deadly(newest, survives) if died else []
                version = schemas.write(self.first_version([file for file in newest if file not in deadly]))
            pointer = json.dumps({"journal": self.journal_uri}).encode()
            self.store.write(bucket, f"{prefix.rstrip('/')}/{POINTER}", pointer)
        return full_schema(self.options, version)

    def first_version(self, newest: list[FileVersion]) -> SchemaVersion:
        """The columns of these files, see ``schema.versions.infer_version``."""
        if not FORMATS[self.options.format].has_header:
            return infer_version(self.options, self.path.root, self.fetcher, newest)
        options = with_header(self.options)
        version = infer_version(options, self.path.root, self.fetcher, newest)
        return replace(version, header=options.reader.get("header", "false").strip().lower() == "true")

    def unknown_fields(self, learner: Learner) -> UnknownFieldException:
        """The error for columns that the stream does not have; they are in the schema's next version first."""
        names = list(learner.introduced)
        path, record = learner.introduced[names[0]]
        widened = {name: (old, new) for name, old, new in changes(learner.known, learner.grown) if old and new}
        wider = [f"{name} {old.simpleString()} to {new.simpleString()}" for name, (old, new) in widened.items()]
        kinds = {"new columns": [name for name in names if name not in widened], "wider types": wider}
        what = "; ".join(f"{kind} in the files: {', '.join(columns)}" for kind, columns in kinds.items() if columns)
        message = f"{what}; first met in {path}, record {record:,}"
        if self.options.schema_evolution_mode == "failOnNewColumns":
            return UnknownFieldException(
                f"[UNKNOWN_FIELD_EXCEPTION] {message}",
                where=self.options.schema_location or self.options.path,
                state="the batch was not committed; the schema is as it was",
                next_command="correct the file, or start anew with cloudFiles.schemaHints that name the columns",
            )
        most = self.options.max_columns
        version = self.schemas.grow(learner.grown, learner.introduced, learner.note, max_columns=most)
        return UnknownFieldException(
            f"[UNKNOWN_FIELD_EXCEPTION] {message}; they are in version {version.version} of the schema now",
            where=self.options.schema_location or "",
            state="the batch was not committed; nothing is lost",
            next_command="start the stream again: it goes on with the new columns (write with mergeSchema"
            + (
                "; widen the table first: ALTER TABLE t SET TBLPROPERTIES (delta.enableTypeWidening = true), "
                f"then ALTER TABLE t ALTER COLUMN {next(iter(widened))} TYPE ...)"
                if widened
                else ")"
            ),
        )

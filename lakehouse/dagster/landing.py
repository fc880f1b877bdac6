"""The landing folders: written by others, observed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import dagster as dg

from lakehouse.autoloader.options.paths import SourcePath, plain_uri
from lakehouse.flows.files import EVENTS, Files
from lakehouse.storage.store import ObjectInfo
from lakehouse.table import Catalogue, Table

_FILTERS = ("pathglobfilter", "modifiedafter", "modifiedbefore", "cloudfiles.usestrictglobber")
_INTERVAL = "cloudfiles.backfillinterval"


class LandingNames(dg.Model, dg.Resolvable):
    """How the folder is called that a table of files reads; what is not given follows from its path.

    Attributes:
        folder: Last part of the landing asset's key; default the folder's own name.
        files: What lands there, in words, plural.
    """

    folder: str | None = None
    files: str = "files"


@dataclass(frozen=True)
class Folder:
    """A folder that tables of files read.

    Attributes:
        bucket, root: Where it is; the root ends with a slash, or is empty.
        name: Last part of its asset's key.
        files: What lands there, in words.
        tables: Those that read it, also the ones that are brought up to date only on demand.
    """

    bucket: str
    root: str
    name: str
    files: str = "files"
    tables: tuple[Table, ...] = field(default=(), repr=False)

    @property
    def uri(self) -> str:
        """Its address."""
        return plain_uri(self.bucket, self.root)

    @property
    def key(self) -> dg.AssetKey:
        """Key of its asset."""
        return dg.AssetKey(["landing", self.name])

    @property
    def fed(self) -> tuple[Table, ...]:
        """The tables for which a new file is a reason to run."""
        return tuple(table for table in self.tables if not table.on_demand)

    def spec(self) -> dg.AssetSpec:
        """Its asset, which no run makes."""
        formats = {str(getattr(table.flow, "format", "")).lower() for table in self.tables} - {""}
        return dg.AssetSpec(
            self.key,
            group_name="landing",
            kinds={"minio", "s3", *sorted(formats)[:8]},
            owners=list(dict.fromkeys(owner for table in self.tables for owner in table.owners)),
            description=f"{self.files.capitalize()} as their senders put them into the bucket. "
            "The sensor looks here and says what waits.",
            metadata={"dagster/uri": self.uri},
        )

    def takes(self) -> Callable[[ObjectInfo], bool]:
        """Tells which objects are input of a table that is fed: by name, time and size.

        Empty objects are not: their sender is still writing, or had nothing.
        """
        from lakehouse.autoloader.files.backlog import FileFilter
        from lakehouse.autoloader.options.parse import CloudFilesOptions

        filters = []
        for flow in _flows(self.fed):
            options = CloudFilesOptions.parse(_chosen(flow, _FILTERS))
            filters.append(FileFilter(SourcePath.parse(flow.path, strict=options.use_strict_globber), options))
        return lambda info: info.size_bytes > 0 and any(file_filter.takes(info) for file_filter in filters)

    @property
    def by_events(self) -> bool:
        """Whether events tell of it to every table that is fed."""
        flows = _flows(self.fed)
        return bool(flows) and all(flow.by_events for flow in flows)

    def listing_interval_seconds(self) -> float:
        """How often everything in it is listed at least: as often as ``cloudFiles`` itself does that."""
        from lakehouse.autoloader.options.parse import CloudFilesOptions

        options = [CloudFilesOptions.parse(_chosen(flow, (_INTERVAL, *EVENTS))) for flow in _flows(self.fed)]
        return min((flow_options.backfill_interval_seconds for flow_options in options), default=3600.0)


def landing_folders(catalogue: Catalogue, names: Mapping[str, LandingNames] | None = None) -> tuple[Folder, ...]:
    """Each distinct folder that a table of files reads, with names that no two share.

    Args:
        catalogue: All tables.
        names: By table, how the folder is called that it reads.
    """
    readers: dict[tuple[str, str], list[Table]] = {}
    for table in catalogue:
        if isinstance(table.flow, Files):
            path = SourcePath.parse(table.flow.path)
            readers.setdefault((path.bucket, path.root), []).append(table)
    short = Counter(_last_part(*place) for place in readers)
    folders = []
    for (bucket, root), tables in readers.items():
        given = next((names[reader.name] for reader in tables if names and reader.name in names), LandingNames())
        own = _last_part(bucket, root)
        name = given.folder or (own if short[own] == 1 else f"{bucket}_{root}".strip("/").replace("/", "_"))
        folders.append(Folder(bucket, root, name, given.files, tuple(tables)))
    return tuple(folders)


def _flows(tables: tuple[Table, ...]) -> list[Files]:
    return [table.flow for table in tables if isinstance(table.flow, Files)]


def _chosen(flow: Files, names: tuple[str, ...]) -> dict[str, str]:
    """Those options alone that say which files are meant: Spark's own source has others that nobody needs here."""
    glob = {"pathGlobFilter": flow.glob} if flow.glob else {}
    given = {name: value for name, value in {**flow.options, **glob}.items() if name.lower() in names}
    return {**given, "cloudFiles.format": flow.format, "path": flow.path}


def _last_part(bucket: str, root: str) -> str:
    return root.rstrip("/").rsplit("/", 1)[-1] or bucket

"""The roles of those who come to a lake's store, and the least that each needs there: a policy for its keys.

A policy is about the declared tables of one user: another table, or another folder of files, needs a new policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath, split_uri
from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.settings import LAYERS, Settings
from lakehouse.storage.local_paths import LOCAL, cloud_of
from lakehouse.storage.policies import Grant, Right, below, document
from lakehouse.table import Catalogue

_READ: tuple[Right, ...] = ("list", "read")
_KEEP: tuple[Right, ...] = ("list", "read", "write", "delete")
_OF_READERS = (*LAYERS, "ops", "_quarantine", "_checkpoints", "_journal", "_schemas", "_checks", "_forgotten")
_POSITIONS = ("metadata", "offsets/*", "commits/*", "sources/*")


@dataclass(frozen=True)
class Role:
    """Somebody with keys of its own.

    Attributes:
        name: What ``lakehouse policies`` is asked for.
        about: Who that is, and what it may.
        grants: Of settings and tables what it needs.
    """

    name: str
    about: str
    grants: Callable[[Settings, Catalogue], Iterator[Grant]]


def policy(role: str, settings: Settings, catalogue: Catalogue) -> dict[str, Any]:
    """The policy document of a role.

    Args:
        role: Its name.
        settings: Buckets and user.
        catalogue: The declared tables: their folders of files.

    Raises:
        ConfigurationError: there is no such role, or a folder cannot be opened alone.
    """
    if role not in ROLES:
        raise ConfigurationError(
            f"there is no role {role}",
            where="lakehouse policies",
            state="no policy was made",
            next_command=f"name one of them: {', '.join(ROLES)}",
        )
    return document(
        grant
        for grant in ROLES[role].grants(settings, catalogue)
        if grant.bucket != LOCAL and not cloud_of(grant.bucket)
    )


def _writer(settings: Settings, catalogue: Catalogue) -> Iterator[Grant]:
    yield Grant("look", settings.bucket)
    yield from below(settings.bucket, f"{settings.user}/", *_KEEP)
    for path, options in _streams(settings, catalogue):
        yield from _folder(path, *_READ)
        for place in _places(options):
            yield from below(*place, *_KEEP)
        if options and options.clean_source != "OFF":
            yield from _folder(path, "delete")
        if options and options.clean_source_move_destination:
            yield from below(*_place(options.clean_source_move_destination), "list", "read", "write")


def _reader(settings: Settings, catalogue: Catalogue) -> Iterator[Grant]:
    for area in _OF_READERS:
        yield from below(settings.bucket, f"{settings.user}/{area}/", *_READ)
    for path, options in _streams(settings, catalogue):
        yield from _folder(path, "list")
        for place in _places(options):
            yield from below(*place, *_READ)


def _discoverer(settings: Settings, catalogue: Catalogue) -> Iterator[Grant]:
    checkpoints = f"{settings.user}/_checkpoints/"
    yield from below(settings.bucket, checkpoints, "list")
    for name in _POSITIONS:
        yield Grant("read", settings.bucket, f"{checkpoints}*/{name}")
    yield Grant("read", settings.bucket, f"{checkpoints}*.lease")
    yield from below(settings.bucket, f"{settings.user}/_asked/", "list")
    for path, options in _streams(settings, catalogue):
        yield from _folder(path, "list")
        if options and options.journal_location:
            bucket, prefix = _place(options.journal_location)
            yield from below(bucket, f"{prefix}segments/", *_READ)


def _streams(settings: Settings, catalogue: Catalogue) -> Iterator[tuple[SourcePath, CloudFilesOptions | None]]:
    """What tables of files read, with the options of ``cloudFiles``; Spark's own source has none."""
    for table in catalogue:
        if isinstance(table.flow, Files):
            ours = table.flow.source == "cloudFiles"
            options = table.flow.cloud_files(settings, table.name) if ours else None
            yield SourcePath.parse(table.flow.path), options


def _folder(path: SourcePath, *rights: Right) -> list[Grant]:
    # a path without a slash at its end may be a file
    file = [Grant(right, path.bucket, path.file) for right in rights] if path.file is not None else []
    return below(path.bucket, path.root, *rights) + file


def _places(options: CloudFilesOptions | None) -> list[tuple[str, str]]:
    """Where a stream keeps journal, schema and bad records: options may name places outside of the lake's folder."""
    if options is None:
        return []
    named = (options.journal_location, options.schema_location, options.bad_records_path)
    return [_place(uri) for uri in named if uri is not None]


def _place(uri: str) -> tuple[str, str]:
    bucket, key = split_uri(uri)
    return bucket, f"{key.strip('/')}/".lstrip("/")


ROLES = {
    entry.name: entry
    for entry in (
        Role(
            "writer",
            "loads tables and keeps them: reads what landed, writes below the user's folder, elsewhere only where "
            "options of cloudFiles say so",
            _writer,
        ),
        Role(
            "reader",
            "reads tables: BI, notebooks, lakehouse tables, history, check; writes nothing, reads no file that landed",
            _reader,
        ),
        Role(
            "discoverer",
            "Dagster's sensor: names of files that landed, journals, positions and writers of streams, which tables "
            "wait for a run; no row",
            _discoverer,
        ),
    )
}
"""By name, with the most able first."""

"""Removing files that nobody can need any more: those of old versions, and those that no commit ever named.

What stays: the newest version; every version of the retention; what a stream that reads the table has not read, by its
checkpoint; and what a running writer may be about to commit. Whoever removes files holds no lease: writers go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.errors import ConfigurationError, TerminalError
from lakehouse.lake import Lake, paths_of
from lakehouse.maintenance.positions import oldest_holder_of
from lakehouse.maintenance.table_files import TableFiles, size_of, unknown_features
from lakehouse.plain_text import counted
from lakehouse.storage.store import ObjectInfo

DEFAULT_HOURS = 168
"""Delta's ``delta.deletedFileRetentionDuration``."""
_CLOCKS_APART = timedelta(hours=1)
_THREADS = 8
_MOST_COMMITS_READ = 5_000


@dataclass(frozen=True)
class Vacuum:
    """What a vacuum removes, or would remove.

    Attributes:
        table: The table.
        retention_hours: For how long what is gone from the table stays.
        files_before: Data files below the table's folder.
        bytes_before: Their size.
        old_files: Those that only versions before the retention need.
        old_bytes: Their size.
        unnamed_files: Those that no commit names.
        unnamed_bytes: Their size.
        oldest_version: From this version on the table stays readable.
        kept_for: Who keeps more than the retention does, and why.
        refused: Why nothing is removed; empty otherwise.
        done: Whether it was done.
    """

    table: str
    retention_hours: float
    files_before: int
    bytes_before: int
    old_files: int = 0
    old_bytes: int = 0
    unnamed_files: int = 0
    unnamed_bytes: int = 0
    oldest_version: int | None = None
    kept_for: tuple[str, ...] = ()
    refused: str = ""
    done: bool = False

    @property
    def files_after(self) -> int:
        """Data files below the folder then."""
        return self.files_before - self.old_files - self.unnamed_files

    @property
    def bytes_after(self) -> int:
        """Their size."""
        return self.bytes_before - self.old_bytes - self.unnamed_bytes


def vacuum(
    lake: Lake,
    table: str,
    needs: Mapping[str, int],
    *,
    retention_hours: float = DEFAULT_HOURS,
    really: bool = False,
    strict: bool = False,
    now: datetime | None = None,
) -> Vacuum | None:
    """Removes the data files of a table that nobody can need any more; None when there is no table.

    Args:
        lake: Where the table is.
        table: Its name.
        needs: The streams that read it, each with the version that it needs, see ``positions.readers``.
        retention_hours: For how long what is gone from the table stays.
        really: Do it; otherwise it is only counted.
        strict: Whether a reader that is behind is an error where the retention is short; otherwise it is only told.
        now: The moment that the retention is counted from.

    Raises:
        ConfigurationError: the retention is shorter than Delta's, and a reader has not passed all of it.
        TerminalError: the log does not tell which files are needed.
        DeltaError: it cannot be read.
    """
    limit = (now or datetime.now(UTC)) - timedelta(hours=retention_hours)
    files = TableFiles.of(lake, lake.settings.table_uri(table))
    if files is None:
        return None
    holder = oldest_holder_of(
        lake, table
    )  # after the listing; what was committed since is looked for before anything goes
    before = (len(files.data), size_of(files.data.values()))
    if features := unknown_features(files.opened):
        reason = f"only Spark knows the files of a table with {', '.join(features)}"
        return Vacuum(table, retention_hours, *before, refused=reason)
    if missing := files.missing():  # the log spells paths in another way than the folder, or the table is damaged
        reason = f"{counted(len(missing), 'file')} of the newest version not found, such as {missing[0]}"
        return Vacuum(table, retention_hours, *before, refused=reason)
    short, refused = retention_hours < DEFAULT_HOURS, ""
    if short and (lagging := behind(files, needs)):
        refused = f"{', '.join(lagging)} has not read all of {table}"
        if really or strict:
            raise _too_short(files, refused, retention_hours, lagging)
    oldest, kept_for = _oldest(files, limit, needs)
    needed = files.active.union(*(commit.paths for commit in files.logged(oldest)))
    doomed = {path: info for path, info in files.data.items() if path not in needed and info.last_modified <= limit}
    old = _of_old_versions(files, doomed, oldest)
    if short and holder is not None:
        kept_for += (f"the run of {holder.described()}: files that it has not committed yet",)
        limit = datetime.fromtimestamp(holder.acquired_at, UTC) - _CLOCKS_APART
    unnamed = {path: info for path, info in doomed.items() if path not in old and info.last_modified <= limit}
    found = (len(old), size_of(doomed[path] for path in old), len(unnamed), size_of(unnamed.values()))
    if really:
        _remove(lake, files, [*old, *unnamed])
    return Vacuum(table, retention_hours, *before, *found, max(oldest, 0), kept_for, refused, really)


def behind(files: TableFiles, needs: Mapping[str, int]) -> list[str]:
    """The streams that have not read all of a table."""
    lagging = {name: version for name, version in needs.items() if version < files.opened.version()}
    if not lagging:
        return []
    changed = (commit.version for commit in files.logged(max(min(lagging.values()), -1)) if commit.changes_data)
    last = max(changed, default=-1)
    return sorted(name for name, version in lagging.items() if version < last)


def _oldest(files: TableFiles, limit: datetime, needs: Mapping[str, int]) -> tuple[int, tuple[str, ...]]:
    """The oldest version that is kept, and who asks for more than the retention does."""
    first = min(files.commits, default=files.opened.version())
    of_retention = max((version for version, at in files.commits.items() if at <= limit), default=first - 1)
    lagging = {name: version for name, version in sorted(needs.items()) if version < of_retention}
    for name, version in lagging.items():
        if version < first - 1:
            raise TerminalError(
                f"{name} stands at version {version + 1}, which the log has lost: what it needs cannot be found out",
                where=files.uri,
                state="nothing was removed",
                next_command=f"lakehouse checkpoint restart {name}   (says what it would do)",
            )
    reasons = tuple(f"{name}: it has read up to version {version}" for name, version in lagging.items())
    return min([of_retention, *lagging.values()]), reasons


def _of_old_versions(files: TableFiles, doomed: Mapping[str, ObjectInfo], oldest: int) -> set[str]:
    """Those of ``doomed`` that a commit named once; all of them where the log is too long to be read for that."""
    older = [version for version in files.commits if version <= oldest]
    if not doomed or len(older) > _MOST_COMMITS_READ:
        return set(doomed)
    return set(doomed).intersection(files.named_by(older))


def _remove(lake: Lake, files: TableFiles, paths: list[str]) -> None:
    """Looks once more which files the newest version has: a commit may have come meanwhile."""
    if not paths:
        return
    files.opened.update_incremental()
    active = set(paths_of(files.opened))
    bucket, folder = split_uri(files.uri)
    keys = [f"{folder.rstrip('/')}/{path}" for path in paths if path not in active]
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(lambda key: lake.store.delete(bucket, key), keys):
            pass


def _too_short(files: TableFiles, why: str, hours: float, lagging: list[str]) -> ConfigurationError:
    return ConfigurationError(
        f"{why}, and a retention of {hours:g} hours is shorter than {DEFAULT_HOURS}",
        where=files.uri,
        state="nothing was removed",
        next_command=f"lakehouse ingest {' '.join(lagging)}   (then run the same again)",
    )

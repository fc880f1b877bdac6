"""Removing what a user has in the lake: tables, what streams keep beside them, and the files that were landed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from os.path import commonprefix

from lakehouse.autoloader.files.journal_reader import JournalReader, JournalUnsettled
from lakehouse.autoloader.files.segments import SegmentUnreadable
from lakehouse.autoloader.options.paths import SourcePath
from lakehouse.errors import ConfigurationError, LeaseHeld
from lakehouse.lake import Lake
from lakehouse.maintenance.positions import alone, holders, remove_leases
from lakehouse.maintenance.table_files import size_of
from lakehouse.settings import LAYERS
from lakehouse.storage.store import ObjectInfo
from lakehouse.streams.services import service_of

_LEASE, _SERVICE, _REWRITER = ".lease", ".service", ".rewriter"
_TABLES = (*LAYERS, "_quarantine")


@dataclass(frozen=True)
class Doomed:
    """A folder that goes.

    Attributes:
        uri: Which.
        objects: How many objects of it.
        size_bytes: Their size.
    """

    uri: str
    objects: int
    size_bytes: int


@dataclass(frozen=True)
class Cleanup:
    """What a cleanup removes, or would remove.

    Attributes:
        folders: What is removed.
        left: What was asked for and stays, each with the reason.
        done: Whether it was done.
    """

    folders: tuple[Doomed, ...]
    left: tuple[str, ...] = ()
    done: bool = False


@dataclass(frozen=True)
class Chosen:
    """The choice of what a cleanup removes.

    Attributes:
        tables: Tables, and the rows that they do not count.
        checkpoints: All else below the user's folder.
        landing: Paths of declared tables of files; empty to leave the landed files alone.
        found: What the user's own journals know in the landing bucket, too: files of tables that another declaration
            has.
    """

    tables: bool = False
    checkpoints: bool = False
    landing: tuple[str, ...] = ()
    found: bool = False


def cleanup(lake: Lake, chosen: Chosen, declared: Iterable[str] = (), *, really: bool = False) -> Cleanup:
    """Removes what is chosen, below the user's own folder and the folders of declared tables; or only says what.

    Args:
        lake: Where it is.
        chosen: What.
        declared: Names of the declared tables: nobody may begin to write such a table meanwhile.
        really: Do it.

    Raises:
        LeaseHeld: somebody writes a table now, or a service that lives keeps it up to date; nothing was removed.
        ConfigurationError: a declared folder is the whole landing bucket.
    """
    own, left = _own(lake, chosen), list[str]()
    landed: dict[str, list[ObjectInfo]] = {}
    for path in dict.fromkeys(chosen.landing):
        if SourcePath.parse(path).bucket != lake.settings.landing_bucket:
            left.append(f"{path}: not in the landing bucket {lake.settings.landing_bucket}")
        else:
            landed[path] = _landed(lake, path)
    if chosen.found:
        known = {info.key for infos in landed.values() for info in infos}
        for uri in _journals(lake):
            try:
                folder, infos = _known_to(lake, uri, known)
            except (SegmentUnreadable, JournalUnsettled) as error:
                left.append(f"the files of the journal {uri}: {error.what}")
                continue
            landed.setdefault(folder, []).extend(infos)
            known.update(info.key for info in infos)
    names = sorted({*_named(lake, _LEASE), *lake.table_names(), *(declared if chosen.checkpoints else ())})
    # of a writer elsewhere only its silence can be seen: who removes something waits for that
    if held := {name: holder for name, holder in holders(lake, names).items() if holder.lives()}:
        writers = ", ".join(f"{name} by {holder.described()}" for name, holder in held.items())
        raise _in_use(lake, f"tables are being written: {writers}")
    if serving := _services(lake):
        raise _in_use(lake, f"services keep tables up to date: {', '.join(serving)}")
    bucket, found = lake.settings.bucket, []
    for folder, infos in own.items():
        found.append(Doomed(f"s3a://{bucket}/{lake.settings.user}/{folder}", len(infos), size_of(infos)))
    found += [Doomed(path, len(infos), size_of(infos)) for path, infos in landed.items() if infos]
    if really:
        _remove(lake, own, landed, names)
        if chosen.checkpoints:
            remove_leases(lake, _named(lake, _LEASE))
    return Cleanup(tuple(found), tuple(left), really)


def _own(lake: Lake, chosen: Chosen) -> dict[str, list[ObjectInfo]]:
    """The objects below the user's folder that go, by the first part of their key."""
    prefix, found = f"{lake.settings.user}/", dict[str, list[ObjectInfo]]()
    if not (chosen.tables or chosen.checkpoints):
        return found
    for info in lake.store.list(lake.settings.bucket, prefix):
        first = info.key.removeprefix(prefix).split("/")[0]
        if chosen.tables if first in _TABLES else chosen.checkpoints:
            found.setdefault(first, []).append(info)
    return found


def _landed(lake: Lake, path: str) -> list[ObjectInfo]:
    source = SourcePath.parse(path)
    if not source.root:
        raise ConfigurationError(
            f"{path} is no folder below the landing bucket: all of the bucket would go",
            where="lakehouse cleanup --landing",
            state="nothing was removed",
            next_command="remove those files by hand",
        )
    infos = lake.store.list(source.bucket, source.root)
    return [info for info in infos if source.accepts.fullmatch(info.key)]


def _journals(lake: Lake) -> list[str]:
    """The journals below the user's own folder."""
    names = lake.store.folders(lake.settings.bucket, f"{lake.settings.user}/_journal/")
    return [f"{lake.settings.journal_root}/{name}/" for name in names]


def _known_to(lake: Lake, journal_uri: str, but: Collection[str]) -> tuple[str, list[ObjectInfo]]:
    """The folder of a journal's files in the landing bucket, and those of them that are there.

    Raises:
        SegmentUnreadable, JournalUnsettled: the journal is damaged.
    """
    bucket, journal = lake.settings.landing_bucket, JournalReader.at(lake.store, journal_uri)
    keys = {file.key for file in journal.files(0, journal.high_water) if file.bucket == bucket}.difference(but)
    if not keys:
        return "", []
    common = commonprefix(sorted(keys))  # noqa: RUF071  # a key is no path; it is cut at its last slash
    prefix = common[: common.rfind("/") + 1]
    return f"s3a://{bucket}/{prefix}", [info for info in lake.store.list(bucket, prefix) if info.key in keys]


def _named(lake: Lake, ending: str) -> set[str]:
    """The tables that have an object of that ending beside their checkpoint."""
    prefix = f"{lake.settings.user}/_checkpoints/"
    names = (info.key.removeprefix(prefix) for info in lake.store.list(lake.settings.bucket, prefix))
    return {
        name.removesuffix(ending).removesuffix(_REWRITER) for name in names if name.endswith(ending) and "/" not in name
    }


def _services(lake: Lake) -> list[str]:
    """The tables of services that live. One that waits for its next try, or for a source, holds no lease."""
    now, found = datetime.now(UTC), []
    for name in sorted(_named(lake, _SERVICE)):
        service = service_of(lake.store, lake, name, now)
        if service is not None and not (service.dead or (service.silent and service.mark.holder.lives() is None)):
            found.append(f"{name} by {service.mark.holder.described()}")
    return found


def _in_use(lake: Lake, what: str) -> LeaseHeld:
    return LeaseHeld(
        what,
        where=lake.settings.lake_uri,
        state="nothing was removed",
        next_command="wait until it ends, or end it; then run the same again",
    )


def _remove(
    lake: Lake, own: dict[str, list[ObjectInfo]], landed: dict[str, list[ObjectInfo]], names: Sequence[str]
) -> None:
    """Keeps writers out meanwhile."""
    bucket, user = lake.settings.bucket, lake.settings.user
    with ExitStack() as held:
        for name in names:
            held.enter_context(alone(lake, name))
        for infos in landed.values():
            for info in infos:
                lake.store.delete(lake.settings.landing_bucket, info.key)
        for folder, objects in own.items():
            if folder != "_checkpoints":
                lake.store.delete_prefix(bucket, f"{user}/{folder}/")
                continue
            for name in lake.store.folders(bucket, f"{user}/{folder}/"):
                lake.store.delete_prefix(bucket, f"{user}/{folder}/{name}/")
            for info in objects:
                if info.key.count("/") == 2 and not info.key.endswith(_LEASE):
                    lake.store.delete(bucket, info.key)

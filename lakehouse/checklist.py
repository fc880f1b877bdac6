"""What a stream needs before it is left alone at night, looked at in the lake and not only in the declaration."""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from lakehouse.alerts.book import LakeBook, State, read
from lakehouse.alerts.channels import DEFAULT, Channels
from lakehouse.alerts.trying import tested
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.standing import disagreement, standing
from lakehouse.declaration import read_catalogue
from lakehouse.delta_commit import Commit
from lakehouse.durations import parse_duration
from lakehouse.flows.files import Files
from lakehouse.lake import Lake
from lakehouse.maintenance.backup import Backup, backup_key, backups, damage, places
from lakehouse.maintenance.restore import no_way_back
from lakehouse.maintenance.vacuum import DEFAULT_HOURS
from lakehouse.places import has_stream
from lakehouse.plain_text import counted
from lakehouse.storage import ObjectExists, ObjectMissing
from lakehouse.storage.lease_holder import Holder
from lakehouse.streams.services import Service, service_of
from lakehouse.table import Table

_SOURCE_LIMIT = 1000
_TAKEN = "%Y%m%dT%H%M%S.%fZ"
_COMMITS = 20
_CHANGING = ("WRITE", "STREAMING UPDATE", "MERGE", "UPDATE", "DELETE", "TRUNCATE", "COPY INTO")
"""Delta's operations that change rows. Those of streams and commands say in their metadata what they were."""
_KEPT = {
    "delta.logRetentionDuration": ("commits", "30 days"),
    "delta.deletedFileRetentionDuration": ("files of older versions", "7 days"),
    "delta.setTransactionRetentionDuration": ("numbers of batches", ""),
}
"""How long Delta keeps what streams and older versions need: property, what it is, and how long without it."""


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
        table: Of which table.
        item: What must be so.
        passed: Whether it is.
        evidence: What was found.
        next_command: What mends it; empty when it passed.
    """

    table: str
    item: str
    passed: bool
    evidence: str
    next_command: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def checklist(lake: Lake, tables: Iterable[str], max_age: timedelta) -> Iterator[Line]:
    """Goes through the list for each table that has a stream.

    Args:
        lake: Where they are.
        tables: Their names.
        max_age: How old the newest backup may be.
    """
    catalogue = read_catalogue(lake.settings)
    channels = Channels.of(lake.settings, catalogue)
    state = read(LakeBook(lake)) if channels.every() else State()
    for name in tables:
        table = catalogue[name]
        if has_stream(table):
            yield from _of_stream(lake, table)
            yield from _of_source(lake, table)
            yield _of_history(lake, name)
            yield from _of_backups(lake, table, max_age)
            yield _of_alerts(lake, channels, state, table)


def _of_stream(lake: Lake, table: Table) -> Iterator[Line]:
    name, at = table.name, standing(lake, table.name)
    line = _liner(name)
    home, uri = lake.settings.home, lake.settings.checkpoint_uri(name)
    fleeting = _fleeting(home) if lake.settings.s3_endpoint is None else ""
    where = f"{uri} on {lake.endpoint.url}" + (f", whose data is below {home}: {fleeting}" if fleeting else "")
    if at is None:
        yield line("checkpoint_is_kept", False, f"no checkpoint at {uri} yet", f"lakehouse ingest {name}")
    else:
        found = f"{counted(at.objects, 'object')} at {where}"
        yield line("checkpoint_is_kept", not fleeting, found, "name a folder that stays: LAKEHOUSE_HOME")
    wrong = disagreement(lake, name)
    held = "both are empty" if at is None else f"both hold batch {at.finished}"
    yield line("checkpoint_and_table_agree", not wrong, wrong or held, f"lakehouse checkpoint repair {name}")
    service = service_of(lake.store, lake, name, datetime.now(UTC))
    yield _of_writers(lake, table, None if at is None else at.query_id, service)
    evidence = "no service: it is loaded by runs" if service is None else service.described()
    lost = service is not None and (service.dead or service.silent)
    evidence = f"{'dead' if service and service.dead else 'silent'}: {evidence}" if lost else evidence
    yield line("services_are_alive", not lost, evidence, service.command if service else "")
    live = [check for check in table.checks if check.on_failure != "off"]
    blocking = sum(check.blocking for check in live)
    evidence = f"{counted(len(live), 'check')}, of which {blocking} stop what comes after"
    yield line("checks_are_declared", bool(live), evidence, f"declare checks of {name}: docs/declaration.md")


def _fleeting(home: Path) -> str:
    """Why what is in a folder is gone after a restart of the machine; empty when it stays."""
    if Path(tempfile.gettempdir()) in home.parents:
        return "temporary"
    real = home.resolve()
    kinds = {Path(found.mountpoint): found.fstype for found in psutil.disk_partitions(all=True)}
    mounted = next((kinds[folder] for folder in (real, *real.parents) if folder in kinds), "")
    return "in memory" if mounted in ("tmpfs", "ramfs") else ""


def _of_writers(lake: Lake, table: Table, query_id: str | None, service: Service | None) -> Line:
    """Whether one process at a time takes the lease, and whether anybody writes without it."""
    line, name = partial(_liner(table.name), "one_writer_at_a_time"), table.name
    try:
        holder = Holder.decoded(lake.store.read(lake.settings.bucket, checkpoints.lease_key(lake, name)))
    except ObjectMissing:
        return line(False, "no run took its lease", f"lakehouse ingest {name}")
    if holder is None:
        return line(False, "the object in the place of its lease is no lease", f"lakehouse doctor {name}")
    writes = not holder.released and holder.lives() is not False
    if writes and service is not None and not service.dead and not _is_same(holder, service.mark.holder):
        evidence = f"a service of {service.mark.holder.described()}, and a writer of {holder.described()}"
        return line(False, evidence, "end one of the two; then: lakehouse checklist")
    commits = lake.commits_since(name, None, last=_COMMITS)
    if stranger := _stranger(commits, query_id, isinstance(table.flow, Files)):
        evidence = f"version {stranger.version} ({stranger.operation}) is of somebody who writes without its lease"
        return line(False, evidence, f"lakehouse history {name}   (end who made it; then: lakehouse check {name})")
    now = f"{holder.described()} writes it" if writes else f"nobody writes it; last did {holder.described()}"
    return line(True, f"{now}; the last {counted(len(commits), 'commit')} are of its stream and of commands")


def _is_same(holder: Holder, other: Holder) -> bool:
    """Whether two claims are of one process."""
    return (holder.host, holder.pid, holder.started) == (other.host, other.pid, other.started)


def _stranger(commits: Sequence[Commit], query_id: str | None, only_streamed: bool) -> Commit | None:
    """The newest commit of another stream, or of nobody who says what it was, after the stream's first.

    What came before is of whom the stream took the table over from. Of tables that are computed, commands merge rows.
    """
    ours = False
    found = None
    for commit in commits:
        if commit.operation == "RESTORE" or commit.emptied:
            ours, found = False, None
        elif commit.query_id is not None:
            found = commit if ours and commit.query_id != query_id else found
            ours = ours or commit.query_id == query_id
        elif ours and only_streamed and not commit.said and commit.operation in _CHANGING:
            found = commit
    return found


def _of_source(lake: Lake, table: Table) -> Iterator[Line]:
    line, flow = _liner(table.name), table.flow
    where = f"{lake.settings.declaration}:{table.line}"
    if not isinstance(flow, Files):
        most = getattr(flow, "max_files_per_trigger", None) or _SOURCE_LIMIT
        yield line("batches_are_limited", True, f"{most:,} data files of {', '.join(flow.reads)} a batch")
        return
    given = {key.lower(): value for key, value in flow.options.items()}
    if flow.source == "spark":
        most = given.get("maxfilespertrigger")
        evidence = f"{most} files a batch" if most else "a batch takes all files that are there"
        cure = f"options: {{maxFilesPerTrigger: 1000}} at {where}"
        yield line("batches_are_limited", most is not None, evidence, cure)
        return
    options = flow.cloud_files(lake.settings, table.name)
    most, size = options.max_files_per_trigger, options.max_bytes_per_trigger
    evidence = f"{most:,} files a batch" if most else f"{size:,} bytes a batch" if size else "no limit"
    yield line("batches_are_limited", bool(most or size), evidence, f"set cloudFiles.maxFilesPerTrigger at {where}")
    if flow.columns is not None:
        yield line("columns_are_kept", True, "given in the declaration")
        yield line("new_columns_are_decided", True, "the columns are given: what is new is rescued")
        return
    folder = places(lake, table.name)["schema/"] + "_schemas/"
    numbers = (info.key.removeprefix(folder) for info in lake.store.list(lake.settings.bucket, folder))
    newest = max((int(number) for number in numbers if number.isdigit()), default=None)
    evidence = "no version of the schema yet" if newest is None else f"version {newest} at {options.schema_location}"
    yield line("columns_are_kept", newest is not None, evidence, f"lakehouse ingest {table.name}")
    mode = given.get("cloudfiles.schemaevolutionmode")
    evidence = f"{mode}, in the declaration" if mode else "the declaration does not say what becomes of new columns"
    yield line("new_columns_are_decided", mode is not None, evidence, f"set cloudFiles.schemaEvolutionMode at {where}")


def _of_history(lake: Lake, table: str) -> Line:
    opened, least = lake.delta(table), timedelta(hours=DEFAULT_HOURS)
    said = opened.metadata().configuration if opened is not None else {}
    found, short = [], []
    for name, (what, usual) in _KEPT.items():
        length = str(said.get(name) or usual).removeprefix("interval ")
        found.append(f"{what} {length or 'for ever'}")
        if length and not _is_long(length, least):
            short.append(name)
    longer = dict.fromkeys(short, f"interval {DEFAULT_HOURS:g} hours")
    change = f"Lake.open().delta('{table}').alter.set_table_properties({longer})"
    cure = f'python -c "from lakehouse.lake import Lake; {change}"'
    return _liner(table)("history_is_kept", not short, f"Delta keeps {', '.join(found)}", cure)


def _is_long(length: str, least: timedelta) -> bool:
    """Whether a length of time, as Spark writes it, is no shorter; what is not understood counts as short."""
    in_days = re.sub(r"(\d+)\s*weeks?", lambda weeks: f"{7 * int(weeks[1])} days", length)
    try:
        return parse_duration(in_days) >= least
    except ValueError:
        return False


def _of_backups(lake: Lake, table: Table, max_age: timedelta) -> Iterator[Line]:
    line, cure = _liner(table.name), f"lakehouse checkpoint backup {table.name}"
    kept = backups(lake, table.name)
    if not kept:
        for item in ("backup_is_fresh", "backup_can_be_restored", "rollback_is_possible"):
            yield line(item, False, "there is no backup", cure)
        return
    newest = kept[-1]
    age = datetime.now(UTC) - datetime.strptime(newest.taken, _TAKEN).replace(tzinfo=UTC)
    hours = age.total_seconds() / 3600
    yield line("backup_is_fresh", age <= max_age, f"{newest.taken}, {hours:.1f} hours old; {len(kept)} are kept", cure)
    wrong = damage(lake, newest) or _tried(lake, newest)
    evidence = wrong or f"{counted(len(newest.objects), 'object')} copied elsewhere, compared, and removed again"
    yield line("backup_can_be_restored", not wrong, evidence, cure)
    never = no_way_back(lake, newest, next(iter(table.flow.reads), None))
    back = f"from version {lake.version(table.name)} to version {newest.delta_version}, whose data files are all there"
    evidence = never or f"{back}; what came since can be read again"
    yield line("rollback_is_possible", not never, evidence, cure)


def _of_alerts(lake: Lake, channels: Channels, state: State, table: Table) -> Line:
    line, mine = _liner(table.name), channels.of_table(table.owners)
    when = {channel.label: tested(lake, channel, state) for channel in mine}
    never = [name for name, at in when.items() if at is None]
    if not mine:
        evidence, cure = "no channel: nobody is told when it fails", f"set {DEFAULT}; then: lakehouse alerts test"
    elif never:
        evidence, cure = f"{', '.join(never)} never took a test", "lakehouse alerts test"
    else:
        evidence, cure = ", ".join(f"{name} took a test at {at}" for name, at in when.items()), ""
    return line("alerts_are_tested", not cure, evidence, cure)


def _tried(lake: Lake, backup: Backup) -> str:
    """Restores a backup beside everything else, and compares; what is not alike, or empty."""
    bucket, folder = lake.settings.bucket, backup_key(lake, backup.table, backup.taken)
    scratch = f"{lake.settings.user}/_backups/_tried/{uuid.uuid4().hex}/"
    try:
        for entry in backup.objects:
            lake.store.copy(bucket, folder + entry.name, scratch + entry.name, if_match=entry.e_tag)
        found = {info.key.removeprefix(scratch): info for info in lake.store.list(bucket, scratch)}
    except (ObjectMissing, ObjectExists) as error:
        return error.what
    finally:
        lake.store.delete_prefix(bucket, scratch)
    changed = [
        entry.name
        for entry in backup.objects
        if (found[entry.name].size_bytes, found[entry.name].e_tag) != (entry.size_bytes, entry.e_tag)
    ]
    return f"{changed[0]} came back otherwise" if changed else ""


def _liner(table: str) -> Callable[..., Line]:
    def line(item: str, passed: bool, evidence: str, cure: str = "") -> Line:
        return Line(table, item, passed, evidence, "" if passed else cure)

    return line

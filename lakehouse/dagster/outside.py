"""What came into tables outside of Dagster's runs, by ``lakehouse ingest``, a service or anybody else: a sensor tells.

A tick asks of each table whether there is a commit behind the last one that Dagster knows: one request, whatever the
table's size. Runs that go on tell of theirs themselves: their tables are left for the next tick.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.dagster.dead_runs import end_dead_runs
from lakehouse.dagster.failures import UNFINISHED
from lakehouse.dagster.last_data import KEY as LAST_DATA
from lakehouse.dagster.metadata import of_table
from lakehouse.dagster.names import key_of
from lakehouse.dagster.records import markdown
from lakehouse.dagster.resources import LakeResource
from lakehouse.dagster.schema_metadata import origins, versions_of
from lakehouse.delta_commit import Commit
from lakehouse.lake import Lake
from lakehouse.plain_text import counted
from lakehouse.storage.delta_paths import commit_uri
from lakehouse.table import Catalogue, Table

SENSOR = "commits_from_elsewhere"
_INTERVAL_SECONDS = 60
_WHOLE_LOOK_SECONDS = 3600.0
_LOOK_SECONDS = 20.0
_MOST_COMMITS = 20
_MOST_RUNS = 200


@dataclass(frozen=True)
class Known:
    """The sensor's cursor.

    Attributes:
        versions: By table, the Delta version that was told last.
        whole: When each table's log was looked at as a whole; text, empty for never.
        first: The table that the next tick begins with.
    """

    versions: dict[str, int] = field(default_factory=dict)
    whole: str = ""
    first: str = ""

    @classmethod
    def read(cls, text: str | None) -> Known:
        """What cannot be read counts as nothing: then what Dagster shows of the tables is what is known."""
        try:
            document = json.loads(text or "{}")
            datetime.fromisoformat(document["whole"])
            return cls({str(name): int(version) for name, version in document["versions"].items()}, **_rest(document))
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def write(self) -> str:
        """Its text."""
        return json.dumps({"versions": self.versions, "whole": self.whole, "first": self.first})

    def is_old(self, now: datetime) -> bool:
        """Whether all logs are to be looked at as a whole: a table can be made anew, and a log loses its beginning."""
        age = (now - datetime.fromisoformat(self.whole)).total_seconds() if self.whole else -1.0
        return not 0 <= age < _WHOLE_LOOK_SECONDS


def _rest(document: dict[str, Any]) -> dict[str, str]:
    return {name: str(document[name]) for name in ("whole", "first")}


def outside_sensor(catalogue: Catalogue) -> dg.SensorDefinition:
    """The sensor of all declared tables; it asks for no run."""
    names = catalogue.names

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Shows on the pages of the tables what was committed to them outside of Dagster's runs: by "
        "lakehouse ingest, a service, or anybody else.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        end_dead_runs(context.instance)  # here, too: there may be no other sensor
        events, known = look(context.instance, lake.open(), catalogue, Known.read(context.cursor), datetime.now(UTC))
        skip = None if events else f"nothing new in {counted(len(names), 'table')} but what Dagster's runs told"
        return dg.SensorResult(asset_events=events, skip_reason=skip, cursor=known.write())

    return sensor


def look(
    instance: dg.DagsterInstance, lake: Lake, catalogue: Catalogue, known: Known, now: datetime
) -> tuple[list[dg.AssetMaterialization | dg.AssetObservation], Known]:
    """What is to be told of the tables, and what is known then.

    Args:
        instance: Dagster's.
        lake: Where the tables are.
        catalogue: The tables.
        known: What is known.
        now: The moment.
    """
    names = catalogue.names
    whole, start, began = known.is_old(now), names.index(known.first) if known.first in names else 0, time.monotonic()
    versions, left = dict(known.versions), ""
    moved: dict[str, int] = {}
    for number, name in enumerate([*names[start:], *names[:start]]):
        if number and time.monotonic() - began > _LOOK_SECONDS:
            left = name
            break
        version = _version(lake, name, None if whole else versions.get(name))
        if version is not None and version != versions.get(name):
            moved[name] = version
    # asked after the versions: what a run has committed by then, it tells itself, or has told
    busy = _tables_of_runs(instance, names) if moved else set()
    events: list[dg.AssetMaterialization | dg.AssetObservation] = []
    for name, version in moved.items():
        if name in busy:
            continue
        last = _last(instance, name)
        before = _known_version(last, versions.get(name))
        if before is None or before != version:
            events.append(
                _event(lake, catalogue[name], version, before if before is None or before < version else None, last)
            )
        versions[name] = version
    looked = now.isoformat(timespec="seconds") if whole and not left else known.whole
    return events, replace(known, versions=versions, whole=looked, first=left)


def _version(lake: Lake, name: str, known: int | None) -> int | None:
    if known is not None:
        _, key = split_uri(commit_uri(lake.settings.table_uri(name), known + 1))
        if lake.store.info(lake.settings.bucket, key) is None:
            return known
    return lake.version(name)


def _tables_of_runs(instance: dg.DagsterInstance, names: Sequence[str]) -> set[str]:
    busy: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED), limit=_MOST_RUNS):
        if run.asset_selection is None and run.asset_check_selection is None:
            return set(names)
        busy |= {name for name in names if key_of(name) in (run.asset_selection or ())}
    return busy


def _last(instance: dg.DagsterInstance, name: str) -> dg.AssetMaterialization | None:
    event = instance.get_latest_materialization_event(key_of(name))
    return event.asset_materialization if event else None


def _known_version(last: dg.AssetMaterialization | None, remembered: int | None) -> int | None:
    """The newest version that Dagster knows of."""
    shown = last.metadata.get("delta_version") if last else None
    version = shown.value if isinstance(shown, dg.IntMetadataValue) else None
    return max((number for number in (version, remembered) if number is not None), default=None)


def _event(
    lake: Lake, table: Table, version: int, before: int | None, last: dg.AssetMaterialization | None
) -> dg.AssetMaterialization | dg.AssetObservation:
    name = table.name
    commits, info = lake.commits_since(name, before, last=_MOST_COMMITS), lake.describe(name)
    listed = markdown([_row(commit) for commit in commits])
    metadata: dict[str, Any] = {
        "came_from": "outside of Dagster's runs",
        "delta_version": version,
        "commits": dg.MetadataValue.md(listed),
        **({"delta_version_before": before} if before is not None else {}),
    }
    if before is not None and len(commits) == version - before:  # else there are more than were read
        metadata |= {
            "rows_added": sum(commit.rows_added for commit in commits),
            "batches": sum(commit.batch_id is not None for commit in commits),
        }
    if info is not None:  # of the newest version, which is a later one where the table was written meanwhile
        metadata |= of_table(lake, table, info, origins(versions_of(lake, table))) | {"delta_version": version}
    if last is not None and not any(map(_has_data, commits)):
        return dg.AssetObservation(key_of(name), metadata=metadata)
    if last is not None and "schema_version" in last.metadata:  # the next run shows what is new since then
        metadata["schema_version"] = last.metadata["schema_version"]
    metadata[LAST_DATA] = dg.MetadataValue.md(f"outside of Dagster's runs, up to version {version}\n\n{listed}")
    tags = {"dagster/data_version": str(version)}
    return dg.AssetMaterialization(key_of(name), metadata=metadata, tags=tags)


def _has_data(commit: Commit) -> bool:
    return commit.batch_id is not None or bool(commit.rows_added or commit.rows_updated or commit.rows_removed)


def _row(entry: Commit) -> dict[str, Any]:
    changed = {"rows added": entry.rows_added, "rows updated": entry.rows_updated, "rows removed": entry.rows_removed}
    return {"version": entry.version, "operation": entry.operation, "batch": entry.batch_id, **changed}

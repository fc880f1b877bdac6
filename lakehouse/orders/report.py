"""The lake on one page: a HTML file that needs nothing else."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, select_autoescape

from lakehouse.declaration import catalogue_or_none
from lakehouse.doctor.examining import examine
from lakehouse.lake import Lake
from lakehouse.orders.plots import BatchTimes, Plot, batch_times, plots
from lakehouse.orders.tables import DAILY_REVENUE, SILVER
from lakehouse.streams.set_aside import LATE

_SHOWN_BATCHES, _SHOWN_DAYS = 20, 14
_REFRESH_SECONDS = 10


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        lake: Where the tables are.
        made_at: When it was made, UTC.
        tables: Name, rows, version, files and size of each.
        waiting: Tables whose files wait, but for those that are loaded on demand: name, how many at least, their bytes,
            and age of the oldest in seconds.
        revenue: The newest days of gold: day, orders, revenue.
        reasons: Orders in silver's quarantine: reason, how many, how many of them were replayed.
        problems: What is to be done: what, and the command.
        batches: The newest batches of silver.
        plots: The pictures.
    """

    lake: str
    made_at: datetime
    tables: tuple[dict[str, Any], ...]
    waiting: tuple[dict[str, Any], ...]
    revenue: tuple[dict[str, Any], ...]
    reasons: tuple[tuple[str, int, int], ...]
    problems: tuple[tuple[str, str], ...]
    batches: tuple[BatchTimes, ...]
    plots: tuple[Plot, ...]

    def html(self, *, live: bool = False) -> str:
        """The page; nothing in it is loaded from elsewhere. One that is ``live`` asks for itself again and again."""
        environment = Environment(loader=PackageLoader("lakehouse.orders"), autoescape=select_autoescape())
        pictures = [{**asdict(plot), "base64": base64.b64encode(plot.png).decode()} for plot in self.plots]
        context = {**asdict(self), "plots": pictures, "made_at": f"{self.made_at:%Y-%m-%d %H:%M:%S} UTC"}
        return environment.get_template("report.html").render(context, refresh=_REFRESH_SECONDS if live else None)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: without the pictures themselves."""
        shown = [{"name": plot.name, "title": plot.title, "sentence": plot.sentence} for plot in self.plots]
        return {**asdict(self), "plots": shown}


def report(lake: Lake) -> Report:
    """Looks at the lake, without Spark."""
    reasons = _reasons(lake)
    waiting = sum(count - replayed for reason, count, replayed in reasons if reason == LATE)
    others = sum(count for reason, count, _ in reasons if reason != LATE)
    problems = []
    if waiting:
        problems.append((f"{waiting:,} late orders are in no window", "lakehouse replay-late"))
    if others:
        seen = f"lakehouse quarantine --table {SILVER}"
        problems.append((f"{others:,} orders are not counted for what they say", seen))
    return Report(
        lake=lake.settings.lake_uri,
        made_at=datetime.now(UTC),
        tables=tuple(table.as_dict() for table in lake.tables()),
        waiting=_waiting(lake),
        revenue=_revenue(lake),
        reasons=reasons,
        problems=tuple(problems),
        batches=tuple(reversed(batch_times(lake)[-_SHOWN_BATCHES:])),
        plots=tuple(plots(lake)),
    )


def _waiting(lake: Lake) -> tuple[dict[str, Any], ...]:
    catalogue = catalogue_or_none(lake.settings)
    found = examine(lake, catalogue, shared=False, only=("backlog",)).findings
    names = {"files": "files_waiting", "bytes": "bytes_waiting", "oldest_seconds": "oldest_seconds"}
    return tuple(
        {"table": finding.table} | {name: finding.evidence.get(key) for name, key in names.items()}
        for finding in found
        if finding.evidence.get("files_waiting") and not catalogue[finding.table].on_demand
    )


def _revenue(lake: Lake) -> tuple[dict[str, Any], ...]:
    rows = lake.rows(DAILY_REVENUE)
    if rows is None:
        return ()
    days = rows.to_table(columns=["day", "orders", "revenue"]).group_by("day")
    summed = days.aggregate([("orders", "sum"), ("revenue", "sum")]).sort_by([("day", "descending")])
    return tuple(
        {"day": str(row["day"]), "orders": row["orders_sum"], "revenue": float(row["revenue_sum"])}
        for row in summed.slice(0, _SHOWN_DAYS).to_pylist()
    )


def _reasons(lake: Lake) -> tuple[tuple[str, int, int], ...]:
    rows = lake.rows_at(lake.settings.quarantine_uri(SILVER))
    if rows is None:
        return ()
    kept = rows.to_table(columns=["reason", "replayed_at"])
    kept = kept.append_column("replayed", pc.cast(pc.is_valid(kept["replayed_at"]), "int64"))
    counted = kept.group_by("reason").aggregate([([], "count_all"), ("replayed", "sum")]).to_pylist()
    found = [(row["reason"], row["count_all"], row["replayed_sum"]) for row in counted]
    return tuple(sorted(found, key=lambda reason: -reason[1]))

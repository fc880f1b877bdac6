"""Pictures of silver: its windows, how late its orders are, and its watermark over the batches. Read without Spark."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.delta_offsets import Place, files_between
from lakehouse.declaration import read_catalogue
from lakehouse.durations import spark_interval
from lakehouse.flows.windows import Windows
from lakehouse.lake import Lake, adds_of
from lakehouse.orders.samples import DATE_FORMAT
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.plain_text import printable, shortened
from lakehouse.storage import ObjectMissing
from lakehouse.streams.set_aside import LATE

# Okabe and Ito's colours: told apart by everybody
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
_MOST_POINTS = 200
_METHOD_CHARACTERS = 30


@dataclass(frozen=True)
class Plot:
    """A picture with what it shows in a sentence.

    Attributes:
        name: For file names and metadata.
        title: What is to be seen.
        sentence: What it means.
        png: The picture.
    """

    name: str
    title: str
    sentence: str
    png: bytes


def plots(lake: Lake) -> list[Plot]:
    """All plots of a lake; a plot without data says so."""
    return [windows_by_payment_method(lake), lateness(lake), watermark_over_batches(lake)]


def silver(lake: Lake) -> Windows:
    """How the windows are declared."""
    flow = read_catalogue(lake.settings)[SILVER].flow
    assert isinstance(flow, Windows)
    return flow


def windows_by_payment_method(lake: Lake) -> Plot:
    """Orders per window, a line for each payment method; many windows are put together."""
    rows = lake.rows(SILVER)
    table = rows.to_table(columns=["window_start", "payment_method", "order_count"]) if rows else None
    name, title = "windows", "Orders in each window, by payment method"
    if not table or not table.num_rows:
        return _empty(name, title, "No window is closed yet.")
    starts = pc.cast(pc.cast(table["window_start"], pa.timestamp("s", "UTC")), pa.int64())
    first, last = pc.min(starts).as_py(), pc.max(starts).as_py()
    window = silver(lake).window or timedelta(minutes=5)
    length = int(window.total_seconds())
    # as many windows together as it takes to leave a readable number of points
    together = max(-(-(last - first + length) // (length * _MOST_POINTS)), 1)
    step = together * length
    bucket = pc.multiply(pc.divide(pc.subtract(starts, first), step), step)
    methods = pc.fill_null(table["payment_method"], "none")
    grouped = (
        pa.table({"at": bucket, "method": methods, "orders": table["order_count"]})
        .group_by(["at", "method"])
        .aggregate([("orders", "sum")])
    )
    points: dict[str, dict[int, int]] = {}
    for row in grouped.to_pylist():
        points.setdefault(row["method"], {})[row["at"]] = row["orders_sum"]
    times = list(range(0, last - first + 1, step))
    length_shown = f"{spark_interval(timedelta(seconds=step))}"

    def draw(axes: Axes) -> None:
        shown = sorted(points, key=lambda payment: -sum(points[payment].values()))[: len(_COLOURS)]
        for colour, method in zip(_COLOURS, shown, strict=False):
            values = [points[method].get(at, 0) for at in times]
            moments = date2num([datetime.fromtimestamp(first + at, UTC) for at in times])
            axes.plot(moments, values, color=colour, label="a method", linewidth=1.6)
        _time_axis(axes)
        axes.set_ylabel(f"orders in {length_shown}")
        axes.set_ylim(bottom=0)
        legend = axes.legend(frameon=False, ncols=4, loc="upper left", bbox_to_anchor=(0, -0.16))
        for text, method in zip(legend.get_texts(), shown, strict=True):
            text.set_parse_math(False)  # what orders say is no formula, and no label that "_" would hide
            text.set_text(shortened(printable(method), _METHOD_CHARACTERS))

    orders, windows = pc.sum(table["order_count"]).as_py(), table.num_rows
    sentence = f"{orders:,} orders in {windows:,} closed windows of {spark_interval(window)}."
    return _plot(name, title, sentence, draw)


def lateness(lake: Lake) -> Plot:
    """How far late orders were behind the newest order when their batch came."""
    name, title = "lateness", "How late the late orders were"
    rows = lake.rows_at(lake.settings.quarantine_uri(SILVER))
    kept = rows.to_table(columns=["reason", "lateness_seconds"]) if rows else None
    minutes = pc.divide(kept.filter(pc.field("reason") == LATE)["lateness_seconds"], 60.0).to_numpy() if kept else []
    if not len(minutes):
        return _empty(name, title, "No order came too late for its window.")
    delay = silver(lake).watermark.total_seconds() / 60

    def draw(axes: Axes) -> None:
        bins = min(40, max(10, len(minutes) // 5))
        axes.hist(minutes, bins=bins, color=_COLOURS[0], edgecolor="white", linewidth=0.5)
        axes.axvline(delay, color=_COLOURS[5], linewidth=1.6)
        axes.annotate(
            "watermark",
            (delay, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -10),
            textcoords="offset points",
            color=_COLOURS[5],
        )
        axes.set_xlim(left=0)
        axes.set_xlabel("minutes behind the newest order")
        axes.set_ylabel("late orders")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))

    worst = max(minutes)
    sentence = (
        f"{len(minutes):,} late orders; a watermark of {worst:,.0f} minutes would have taken all of them in, "
        f"the present one is {delay:,.0f}."
    )
    return _plot(name, title, sentence, draw)


@dataclass(frozen=True)
class BatchTimes:
    """Event times of a batch, and the watermark that closed windows in it; all UTC.

    Attributes:
        batch_id: Spark's number.
        first, last: Smallest and largest event time; None for a batch without data.
        watermark: None before the first.
    """

    batch_id: int
    first: datetime | None
    last: datetime | None
    watermark: datetime | None


def batch_times(lake: Lake) -> list[BatchTimes]:
    """Of silver's batches that its checkpoint still has: from their offsets, and the statistics in bronze's log."""
    state = checkpoints.read_checkpoint(lake, SILVER)
    if state is None or state.last_commit is None or silver(lake).source != "table":
        return []
    times = _file_times(lake)
    found: list[BatchTimes] = []
    before = None
    for batch in range(max(state.last_commit - 100, 0), state.last_commit + 1):
        try:
            now = checkpoints.planned(lake, SILVER, batch)
        except ObjectMissing:
            continue
        if before is None and batch:
            before = now  # its own beginning is not there any more
            continue
        paths: list[str] = []
        if before is None or before.offset != now.offset:
            start = Place.of(before.offset) if before else None
            paths = files_between(lake, BRONZE, start, Place.of(now.offset))
        known = [times[path] for path in paths if path in times]
        milliseconds = now.watermark_milliseconds
        found.append(
            BatchTimes(
                batch,
                min((first for first, _ in known), default=None),
                max((last for _, last in known), default=None),
                datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None,
            )
        )
        before = now
    return found


def watermark_over_batches(lake: Lake) -> Plot:
    """The span of event times that each batch brought, and the watermark behind it."""
    name, title = "watermark", "The watermark follows the newest order"
    found = [times for times in batch_times(lake) if times.last or times.watermark]
    if not found:
        return _empty(name, title, "Silver has no batch yet, or reads the files themselves.")

    def draw(axes: Axes) -> None:
        spans = [(times.batch_id, times.first, times.last) for times in found if times.first and times.last]
        axes.vlines(
            [batch for batch, _, _ in spans],
            date2num([first for _, first, _ in spans]),
            date2num([last for _, _, last in spans]),
            color=_COLOURS[4],
            linewidth=max(2.0, min(8.0, 300 / len(found))),
            label="event times of the batch",
        )
        moved = [(times.batch_id, times.watermark) for times in found if times.watermark]
        levels = date2num([watermark for _, watermark in moved])
        axes.step([batch for batch, _ in moved], levels, where="post", color=_COLOURS[5], label="watermark")
        locator = AutoDateLocator()
        axes.yaxis.set_major_locator(locator)
        axes.yaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.set_xlabel("batch")
        axes.set_ylabel("event time, UTC")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, ncols=2, loc="upper left", bbox_to_anchor=(0, -0.16))

    delay = spark_interval(silver(lake).watermark)
    sentence = f"What lies below the line when its batch comes is late; the line keeps {delay} behind the newest order."
    return _plot(name, title, sentence, draw)


def _file_times(lake: Lake) -> dict[str, tuple[datetime, datetime]]:
    """Smallest and largest believable event time of bronze's data files, by path."""
    opened = lake.delta(BRONZE)
    if opened is None:
        return {}
    adds = adds_of(opened)
    if not {"min.order_date", "max.order_date"} <= set(adds.column_names):
        return {}
    believed = silver(lake).event_time
    earliest = datetime.combine(believed.earliest, datetime.min.time(), UTC)
    latest = datetime.now(UTC) + believed.future_limit
    uri = lake.settings.table_uri(BRONZE)
    found = {}
    for path, low, high in zip(
        *(adds[name].to_pylist() for name in ("path", "min.order_date", "max.order_date")), strict=True
    ):
        first, last = _moment(low), _moment(high)
        if first and last and earliest <= first <= last <= latest:
            found[f"{uri}/{path}"] = first, last
    return found


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(text or "", DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def _time_axis(axes: Axes) -> None:
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlabel("event time, UTC")


def _plot(name: str, title: str, sentence: str, draw: Callable[[Axes], Sequence[object] | None]) -> Plot:
    figure = Figure(figsize=(8, 3.4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return Plot(name, title, sentence, _png(figure))


def _empty(name: str, title: str, sentence: str) -> Plot:
    figure = Figure(figsize=(8, 1.6), dpi=100)
    figure.text(0.02, 0.82, title, fontsize=12, fontweight="bold")
    figure.text(0.02, 0.4, sentence, fontsize=11, color="#555555")
    return Plot(name, title, sentence, _png(figure))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()

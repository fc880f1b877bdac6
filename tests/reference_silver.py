"""What ``silver.orders_windowed_aggregates`` must hold, computed from raw lines in plain Python: the stream's judge."""

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

MINUTES = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DATE = "%Y-%m-%d %H:%M:%S"


@dataclass
class Silver:
    """``windows``: {(start, end, payment_method): (order_count, total_revenue, avg_order_value)} of closed windows.

    ``late``: rows by (start, end, payment_method) that came after it was closed. ``set_aside``: rows by reason.
    ``opened``: amounts of the windows that wait.
    """

    windows: dict = field(default_factory=dict)
    late: Counter = field(default_factory=Counter)
    set_aside: Counter = field(default_factory=Counter)
    opened: dict = field(default_factory=dict)


def reference_silver(runs, *, length=5 * MINUTES, slide=None, delay=10 * MINUTES, read_at=None):
    """A run is a list of micro-batches, a batch a list of lines.

    A batch drops late rows by the watermark of the batch before it; a run ends with a batch without data, which closes
    every window that the newest watermark has passed.
    """
    silver, newest, drop_until = Silver(), EPOCH + delay, EPOCH
    for run in runs:
        for batch in run:
            watermark = newest - delay  # as the batch before left it: rows are dropped by it from the next batch on
            for line in batch:
                problem, time, order = judged(line, read_at or datetime.now(UTC))
                if problem:
                    silver.set_aside[problem] += 1
                    continue
                newest = max(newest, time)
                for start in starts(time, length, slide or length):
                    key = start, start + length, order.get("payment_method")
                    if start + length <= drop_until:
                        silver.late[key] += 1
                    else:
                        silver.opened.setdefault(key, []).append(order["total_amount"])
            drop_until = watermark
        drop_until = newest - delay
    closed = [key for key in silver.opened if key[1] <= newest - delay]
    silver.windows = {key: totals(silver.opened.pop(key)) for key in closed}
    return silver


def starts(time, length, slide):
    """Starts of the windows that hold a moment."""
    last = time - (time - EPOCH) % slide
    return [last - n * slide for n in range(-(-length // slide)) if last - n * slide + length > time]


def totals(amounts):
    """Count, sum and average, as SQL has them: NULLs add nothing."""
    there = [amount for amount in amounts if amount is not None]
    return len(amounts), math.fsum(there) if there else None, math.fsum(there) / len(there) if there else None


def judged(line, read_at):
    """Why a line is not counted (None: it is), its event time and its fields."""
    try:
        order = json.loads(line)
    except ValueError:
        order = None
    if not isinstance(order, dict) or type(order.get("quantity", 0)) is not int:
        return "invalid_row", None, None
    try:
        time = datetime.strptime(order["order_date"], DATE).replace(tzinfo=UTC)
        if f"{time:{DATE}}" != order["order_date"]:  # "9:5" is no padded time
            return "no_event_time", None, None
    except (ValueError, TypeError, KeyError):
        return "no_event_time", None, None
    amount = order.get("total_amount")
    if time < datetime(2000, 1, 1, tzinfo=UTC):
        return "event_time_too_early", time, order
    if time > read_at + timedelta(days=1):
        return "event_time_in_the_future", time, order
    if amount is not None and (math.isnan(amount) or abs(amount) > 1e9):
        return "amount_out_of_range", time, order
    return None, time, order

"""What ``silver.orders_windowed_aggregates`` must hold, computed from raw lines in plain Python: the stream's judge."""

import json
import math
from datetime import UTC, datetime, timedelta

WINDOW, DELAY, EPOCH = timedelta(minutes=5), timedelta(minutes=10), datetime(1970, 1, 1, tzinfo=UTC)
DATE = "%Y-%m-%d %H:%M:%S"


def reference_silver(runs):
    """``({(start, payment_method): (end, order_count, total_revenue, avg_order_value)}, dropped rows)``.

    A run is a list of micro-batches, a batch a list of lines. A batch drops late rows by the watermark of the batch
    before it; a run ends with a batch without data, which closes every window that the newest watermark has passed.
    """
    windows, dropped, newest, drop_until = {}, 0, EPOCH + DELAY, EPOCH
    for run in runs:
        for batch in run:
            watermark = (
                newest - DELAY
            )  # as the batch before left it: closes windows now, drops rows from the next batch on
            for time, order in filter(None, map(valid_order, batch)):
                newest, start = max(newest, time), time - (time - EPOCH) % WINDOW
                if start + WINDOW <= drop_until:
                    dropped += 1
                else:
                    windows.setdefault((start, order.get("payment_method")), []).append(order["total_amount"])
            drop_until = watermark
        drop_until = newest - DELAY
    closed = {key: amounts for key, amounts in windows.items() if key[0] + WINDOW <= newest - DELAY}
    totals = {key: (len(amounts), math.fsum(amounts)) for key, amounts in closed.items()}
    return {key: (key[0] + WINDOW, count, total, total / count) for key, (count, total) in totals.items()}, dropped


def valid_order(line):
    """Event time and fields of a line; None where bronze has no whole order, or one without a readable date."""
    try:
        order = json.loads(line)
        time = datetime.strptime(order["order_date"], DATE).replace(tzinfo=UTC)
        whole = type(order["quantity"]) is int and f"{time:{DATE}}" == order["order_date"]  # "9:5" is no padded time
    except (ValueError, TypeError, KeyError):
        return None
    return (time, order) if whole else None

"""The last run with data, which stays in view while runs find nothing new."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from lakehouse.dagster.receipts import Receipt, batch_rows
from lakehouse.dagster.records import escaped, markdown
from lakehouse.streams.progress import StreamReport

KEY = "last_run_with_data"


def of_last_data(
    report: StreamReport,
    receipt: Receipt | None,
    last: dg.AssetMaterialization | None,
    run_id: str,
    now: datetime | None = None,
) -> dict[str, Any]:
    """What a run did; where it found nothing new, what the last run with data did.

    Args:
        report: What the run did.
        receipt: Its receipt, where it has one.
        last: The materialization before.
        run_id: The run.
        now: The moment.
    """
    if not report.batches:
        value = last.metadata.get(KEY) if last else None
        return {KEY: value} if value else {}
    moment = now or datetime.now(UTC)
    parts = [f"{moment:%Y-%m-%d %H:%M:%S}Z, [run {run_id[:8]}](/runs/{run_id}): {escaped(report.line())}"]
    if receipt:
        parts.append(markdown([{"what": name, "count": count} for name, count in receipt.numbers().items()]))
        if not receipt.adds_up:
            parts.append("**Rows in are not rows out and quarantined: `lakehouse doctor` says why.**")
    parts.append(markdown(batch_rows(report.batches)))
    return {KEY: dg.MetadataValue.md("\n\n".join(parts))}

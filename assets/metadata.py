"""What a materialization shows. Numbers keep their names and units for ever: Dagster plots them over runs."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import dagster as dg
import pyarrow.dataset as ds

from assets.records import records
from assets.schema_metadata import of_schema, origins
from lakehouse.autoloader.formats.rows import FILE_PATH
from lakehouse.autoloader.lineage import RESCUED_DATA
from lakehouse.autoloader.schemas import SchemaVersion
from lakehouse.lake import Lake, TableInfo
from lakehouse.orders.tables import AVAILABLE_NOW_TABLE, BASIC, BRONZE, DAILY_REVENUE, ORDERS, SILVER
from lakehouse.progress import StreamReport
from lakehouse.table import Finding

_PREVIEW_ROWS = 5
_OF_FILES = (BASIC, AVAILABLE_NOW_TABLE, BRONZE)
_ABOUT_THE_ROW = {
    "_rescued_data": "what did not fit its column, as JSON; NULL when all did",
    "_processing_time": "when the micro-batch that read the line began, UTC",
    "_source_file": "the line's file",
    "_source_sequence": "the file's number in the journal",
    "_source_record": "the line's number in its file",
}
_MEANINGS = {
    BRONZE: _ABOUT_THE_ROW,
    ORDERS: {
        **_ABOUT_THE_ROW,
        "event_time": "order_date as a moment, UTC",
        "order_day": "day of event_time, UTC",
    },
    SILVER: {
        "window_start": "first moment of the window, UTC",
        "window_end": "first moment after the window, UTC",
        "order_count": "orders of the window with this payment method",
        "total_revenue": "sum of their amounts",
        "avg_order_value": "mean of the amounts that are known",
    },
    DAILY_REVENUE: {
        "day": "day of the orders, UTC",
        "orders": "orders of the day with this payment method, each in its latest version",
        "revenue": "sum of their amounts",
        "avg_order_value": "mean of the amounts that are known",
        "distinct_customers": "customers who made them",
    },
}
_SQL_TYPES = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}


def of_run(
    lake: Lake, report: StreamReport, versions: Sequence[SchemaVersion] = (), shown_version: int | None = None
) -> dict[str, Any]:
    """Metadata of one run of one table.

    Args:
        lake: Where it is.
        report: What the run did.
        versions: Of the stream's schema, oldest first; none where it has no such versions.
        shown_version: The version that the materialization before showed; None where there was none.
    """
    table = lake.describe(report.table)
    rescued = rescued_samples(lake, report) if report.rescued_rows else []
    return {
        **_numbers(report),
        **of_schema(versions, shown_version),
        **({"rescued_samples": records(rescued)} if rescued else {}),
        **_tables(report),
        **(_pictures(lake) if report.table == SILVER and report.batches else {}),
        **(_of_table(lake, table, origins(versions)) if table else {}),
    }


def rescued_samples(lake: Lake, report: StreamReport) -> list[dict[str, Any]]:
    """Some rows of this run with what was rescued of them: read from the run's own data files."""
    added = lake.added_since(report.table, report.delta_version_before)
    if added is None:
        return []
    rescued = ds.field(RESCUED_DATA).is_valid()
    columns = [name for name in (RESCUED_DATA, "_source_record", "_source_file") if name in added.schema.names]
    rows = added.head(_PREVIEW_ROWS, columns=columns, filter=rescued).to_pylist()
    for row in rows:  # the path is a column of its own
        kept = json.loads(row[RESCUED_DATA])
        row[RESCUED_DATA] = json.dumps({name: value for name, value in kept.items() if name != FILE_PATH})
    return rows


def of_finding(finding: Finding) -> dict[str, Any]:
    """Metadata of one check: its counts, the rows that failed it, and what mends them."""
    shown: dict[str, Any] = dict(finding.numbers)
    if finding.sample:
        shown["offending_rows"] = records(finding.sample)
    if finding.next_command:
        shown["next"] = dg.MetadataValue.text(finding.next_command)
    return shown


def _numbers(report: StreamReport) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "rows_added": report.rows_added,
        **_merged(report),
        "input_rows": report.input_rows,
        "batches": len(report.batches),
        "duration_seconds": round(report.duration_seconds, 3),
    }
    if report.table in _OF_FILES:  # also in a quiet run: a plot without its zeros shows a stop as a pause
        numbers |= {
            "files_loaded": len(report.source_files),
            "ignored_files": report.ignored_files,
            "corrupt_rows": report.corrupt_rows,
        }
    last = report.batches[-1] if report.batches else None
    if report.table in (AVAILABLE_NOW_TABLE, BRONZE):
        numbers["rescued_rows"] = report.rescued_rows
        numbers["backlog_files"] = (last.backlog_files or 0) if last else 0
        numbers["backlog_bytes"] = (last.backlog_bytes or 0) if last else 0
    if report.table == SILVER:
        numbers |= {"late_rows": report.late_rows, "set_aside_rows": report.set_aside_rows}
    if last and last.state_rows is not None:
        numbers["state_rows"] = last.state_rows
    if last and last.watermark:
        numbers["watermark"] = dg.MetadataValue.text(last.watermark)
    return numbers


def _merged(report: StreamReport) -> dict[str, int]:
    """What a MERGE did beside adding."""
    if report.table not in (ORDERS, DAILY_REVENUE):
        return {}
    return {"rows_updated": report.rows_updated, "rows_removed": report.rows_removed}


def _tables(report: StreamReport) -> dict[str, Any]:
    left = (report.batches[-1].backlog_files or 0) if report.batches else 0
    files = {"files_offered": len(report.source_files) + left, "files_loaded": len(report.source_files)}
    receipt = {
        "batches": f"{report.batches[0].batch_id} to {report.batches[-1].batch_id}" if report.batches else "none",
        **(files if report.table in _OF_FILES else {}),
        "rows_read": report.input_rows,
        "rows_committed": report.rows_added,
        **_merged(report),
        "delta_version_before": "none" if report.delta_version_before is None else report.delta_version_before,
        "delta_version_after": "none" if report.delta_version is None else report.delta_version,
    }
    shown: dict[str, Any] = {"exactly_once_receipt": records([receipt])}
    if report.batches:
        shown["micro_batches"] = records(
            [
                {
                    "batch_id": batch.batch_id,
                    "files": "-" if batch.files is None else batch.files,
                    "input_rows": batch.input_rows,
                    "duration_seconds": batch.duration_seconds,
                    "watermark": batch.watermark or "-",
                    "backlog_files": "-" if batch.backlog_files is None else batch.backlog_files,
                }
                for batch in report.batches
            ]
        )
    return shown


def _of_table(lake: Lake, table: TableInfo, origins: dict[str, str]) -> dict[str, Any]:
    rows = lake.rows(table.name) if table.rows else None
    preview = rows.head(_PREVIEW_ROWS).to_pylist() if rows else []
    meanings = {**_MEANINGS.get(table.name, {}), **origins}
    columns = [
        dg.TableColumn(name, _SQL_TYPES.get(type_, type_), meanings.get(name)) for name, type_ in table.columns.items()
    ]
    return {
        "dagster/row_count": table.rows,
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "dagster/table_name": table.name,
        "dagster/uri": table.uri,
        "delta_version": table.version,
        "table_files": table.files,
        "table_bytes": table.size_bytes,
        **({"preview": records(preview)} if preview else {}),
    }


def _pictures(lake: Lake) -> dict[str, dg.MetadataValue]:
    from lakehouse.orders.plots import plots  # a quiet run draws nothing, and need not wait for the import

    shown: dict[str, dg.MetadataValue] = {}
    for plot in plots(lake):
        image = base64.b64encode(plot.png).decode()
        text = f"{plot.sentence}\n\n![{plot.title}](data:image/png;base64,{image})"
        shown[f"plot_{plot.name}"] = dg.MetadataValue.md(text)
    return shown

"""What a materialization shows. Numbers keep their names and units for ever: Dagster plots them over runs."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import dagster as dg

from lakehouse.autoloader.formats.rows import FILE_PATH
from lakehouse.autoloader.lineage import RESCUED_DATA
from lakehouse.autoloader.schema.versions import SchemaVersion
from lakehouse.checkpoints.standing import size_of
from lakehouse.dagster.columns import in_words, lineage
from lakehouse.dagster.receipts import Receipt, batch_rows
from lakehouse.dagster.records import records
from lakehouse.dagster.schema_metadata import of_schema, origins
from lakehouse.flows.files import Files
from lakehouse.flows.windows import Windows
from lakehouse.lake import Lake, TableInfo
from lakehouse.python_values import listed_rows
from lakehouse.streams.progress import StreamReport
from lakehouse.table import Finding, Table

_PREVIEW_ROWS = 5
_SQL_TYPES = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}


class Plotted(Protocol):
    """A picture with what it shows in a sentence."""

    @property
    def name(self) -> str:
        """For metadata."""
        ...

    @property
    def title(self) -> str:
        """What is to be seen."""
        ...

    @property
    def sentence(self) -> str:
        """What it means."""
        ...

    @property
    def png(self) -> bytes:
        """The picture."""
        ...


def of_run(
    lake: Lake,
    table: Table,
    report: StreamReport,
    versions: Sequence[SchemaVersion] = (),
    shown_version: int | None = None,
    receipt: Receipt | None = None,
) -> dict[str, Any]:
    """Metadata of one run of one table.

    Args:
        lake: Where it is.
        table: Its declaration.
        report: What the run did.
        versions: Of the stream's schema, oldest first; none where it has no such versions.
        shown_version: The version that the materialization before showed; None where there was none.
        receipt: Of the run, where it has one.
    """
    info = lake.describe(table.name)
    rescued = rescued_samples(lake, report) if report.rescued_rows else []
    return {
        **numbers(table, report),
        **(receipt.numbers() if receipt else {}),
        **of_schema(versions, shown_version),
        **({"rescued_samples": records(rescued)} if rescued else {}),
        **tables(table, report, receipt),
        **_of_checkpoint(lake, table),
        **(of_table(lake, table, info, origins(versions)) if info else {}),
    }


def rescued_samples(lake: Lake, report: StreamReport) -> list[dict[str, Any]]:
    """Some rows of this run with what was rescued of them: read from the run's own data files."""
    import pyarrow.compute as pc

    added = lake.added_since(report.table, report.delta_version_before)
    if added is None:
        return []
    rescued = pc.field(RESCUED_DATA).is_valid()
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


def of_plots(plots: Iterable[Plotted]) -> dict[str, dg.MetadataValue]:
    """Pictures, each under its sentence."""
    shown: dict[str, dg.MetadataValue] = {}
    for plot in plots:
        image = base64.b64encode(plot.png).decode()
        text = f"{plot.sentence}\n\n![{plot.title}](data:image/png;base64,{image})"
        shown[f"plot_{plot.name}"] = dg.MetadataValue.md(text)
    return shown


def numbers(table: Table, report: StreamReport) -> dict[str, Any]:
    """Counts of the run; a quiet run has all of them: a plot without its zeros shows a stop as a pause."""
    flow = table.flow
    found: dict[str, Any] = {
        "rows_added": report.rows_added,
        **_changed(table, report),
        "input_rows": report.input_rows,
        "batches": len(report.batches),
        "duration_seconds": round(report.duration_seconds, 3),
    }
    last = report.batches[-1] if report.batches else None
    if isinstance(flow, Files):
        found |= {
            "files_loaded": len(report.source_files),
            "ignored_files": report.ignored_files,
            "corrupt_rows": report.corrupt_rows,
        }
        if flow.source == "cloudFiles":
            found |= {
                "rescued_rows": report.rescued_rows,
                "backlog_files": (last.backlog_files or 0) if last else 0,
                "backlog_bytes": (last.backlog_bytes or 0) if last else 0,
            }
    if isinstance(flow, Windows):
        found |= {"late_rows": report.late_rows, "set_aside_rows": report.set_aside_rows}
    if last and last.state_rows is not None:
        found["state_rows"] = last.state_rows
    if last and last.watermark:
        found["watermark"] = dg.MetadataValue.text(last.watermark)
    return found


def _changed(table: Table, report: StreamReport) -> dict[str, int]:
    """What a run did beside adding, where rows are changed."""
    if isinstance(table.flow, Files | Windows):
        return {}
    return {"rows_updated": report.rows_updated, "rows_removed": report.rows_removed}


def tables(table: Table, report: StreamReport, receipt: Receipt | None = None) -> dict[str, Any]:
    """What came in and what went out, and the last batches."""
    left = (report.batches[-1].backlog_files or 0) if report.batches else 0
    counts = receipt.numbers() if receipt else {"files_offered": len(report.source_files) + left}
    files = {"files_offered": counts["files_offered"], "files_loaded": len(report.source_files)}
    quarantined = {name: counts[name] for name in ("files_quarantined", "rows_quarantined") if name in counts}
    row = {
        "batches": f"{report.batches[0].batch_id} to {report.batches[-1].batch_id}" if report.batches else "none",
        **(files if isinstance(table.flow, Files) else {}),
        "rows_read": report.input_rows,
        "rows_committed": report.rows_added,
        **quarantined,
        **_changed(table, report),
        **({"journal": f"{receipt.journal_from} to {receipt.journal_to}"} if receipt else {}),
        "delta_version_before": "none" if report.delta_version_before is None else report.delta_version_before,
        "delta_version_after": "none" if report.delta_version is None else report.delta_version,
    }
    shown: dict[str, Any] = {"exactly_once_receipt": records([row])}
    if report.batches:
        shown["micro_batches"] = records(batch_rows(report.batches))
    return shown


def _of_checkpoint(lake: Lake, table: Table) -> dict[str, int]:
    """How large the checkpoint is: its growth is seen over runs."""
    found = size_of(lake, table.name)
    return {"checkpoint_bytes": found.size_bytes, "checkpoint_objects": found.objects} if found else {}


def of_table(lake: Lake, table: Table, info: TableInfo, since: dict[str, str]) -> dict[str, Any]:
    """Metadata of the table as it is.

    Args:
        lake: Where it is.
        table: Its declaration.
        info: Its newest version.
        since: By column that came later, in words, since when.
    """
    rows = lake.rows(info.name) if info.rows else None
    preview = listed_rows(rows.head(_PREVIEW_ROWS)) if rows else []
    words = in_words(lake.settings, table)
    descriptions = words | {name: "; ".join(filter(None, (words.get(name), text))) for name, text in since.items()}
    columns = [
        dg.TableColumn(name, _SQL_TYPES.get(type_, type_), descriptions.get(name))
        for name, type_ in info.columns.items()
    ]
    from_columns = lineage(table, tuple(info.columns))
    return {
        "dagster/row_count": info.rows,
        "dagster/column_schema": dg.TableSchema(columns=columns),
        **({"dagster/column_lineage": from_columns} if from_columns else {}),
        "dagster/table_name": info.name,
        "dagster/uri": info.uri,
        "delta_version": info.version,
        "table_files": info.files,
        "table_bytes": info.size_bytes,
        **({"preview": records(preview)} if preview else {}),
    }

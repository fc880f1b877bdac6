"""What a materialization shows of its stream's schema: its version, what is new in it, and how it came to be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import dagster as dg

from lakehouse.autoloader.schema.versions import SchemaVersion
from lakehouse.contract import SIGNS, schema_changes
from lakehouse.dagster.records import records
from lakehouse.flows.files import Files
from lakehouse.lake import Lake
from lakehouse.table import Table


def versions_of(lake: Lake, table: Table) -> list[SchemaVersion]:
    """The versions of the schema of the stream into a table, oldest first; none where files name no columns."""
    from lakehouse.pipeline import schemas

    flow = table.flow
    if not isinstance(flow, Files) or flow.source != "cloudFiles" or flow.columns is not None:
        return []
    return schemas(lake, table.name).history()


def of_schema(versions: Sequence[SchemaVersion], shown: int | None) -> dict[str, Any]:
    """Metadata of a stream's schema.

    Args:
        versions: All of them, oldest first.
        shown: The version that the last materialization showed; None where there was none. What is newer is shown as
            change, also when the run that met it died before it could tell.
    """
    if not versions:
        return {}
    every = schema_changes(versions)
    new = [row for row in every if row["version"] > (-1 if shown is None else shown)]
    metadata: dict[str, Any] = {
        "schema_version": versions[-1].version,
        "columns_added": sum(row["change"] == "added" for row in new),
    }
    if new:
        metadata["schema_changes"] = records(new)
        lines = [f"{SIGNS[row['change']]} {row['column']} {row['type']}" for row in new]
        metadata["schema_diff"] = dg.MetadataValue.md("\n".join(["```diff", *lines, "```"]))
    return {**metadata, **of_history(versions)}


def origins(versions: Sequence[SchemaVersion]) -> dict[str, str]:
    """For each column that came later, in words, since when and from where; a struct's fields tell it of the struct."""
    by_column: dict[str, list[str]] = {}
    for row in schema_changes(versions):
        place = f", {row['file'].rsplit('/', 1)[-1]} record {row['record']:,}" if row["file"] else ""
        top = re.split(r"[.\[{]", row["column"])[0]
        what = "" if row["column"] == top else f"{row['column']} "
        by_column.setdefault(top, []).append(f"{what}{row['change']} in version {row['version']}{place}")
    return {name: "; ".join(lines) for name, lines in by_column.items()}


def of_history(versions: Sequence[SchemaVersion]) -> dict[str, Any]:
    """Every version: what it changed, when, and which files or what reason made it; nothing for a single version."""
    if len(versions) < 2:
        return {}
    every = schema_changes(versions)
    rows = []
    for version in versions:
        own = [row for row in every if row["version"] == version.version]
        changes = ", ".join(f"{SIGNS[row['change']]}{row['column']}" for row in own)
        files = ", ".join(dict.fromkeys(row["file"] for row in own if row["file"]))
        row = {"version": version.version, "changes": changes or "-", "columns": len(version.data.fields)}
        reason = files or version.reason or ("inferred" if version.version == 0 else "-")
        rows.append({**row, "written": version.written, "made_by": reason})
    return {"schema_history": records(rows)}

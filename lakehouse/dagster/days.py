"""A day of source files loaded again: a job for each table, with a partition for each day."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
from pydantic import Field

from lakehouse.dagster.checks import log_checks
from lakehouse.dagster.names import DAY_AGAIN, LEVER_TAG, key_of, pool, step_of
from lakehouse.dagster.records import markdown
from lakehouse.dagster.resources import LakeResource, SparkResource
from lakehouse.dagster.tables import brought_up_to_date
from lakehouse.errors import LakehouseError
from lakehouse.flows.files import Files
from lakehouse.plain_text import counted
from lakehouse.table import Catalogue, Table

FIRST_DAY = date(2025, 1, 1)


class DayConfig(dg.Config):
    """What a run for a day can be told.

    Attributes:
        apply: Do it.
    """

    apply: bool = Field(
        True, description="false only says which files of the day there are; true takes their rows out and loads them"
    )


def day_jobs(catalogue: Catalogue, first_day: date = FIRST_DAY) -> Iterator[dg.JobDefinition]:
    """A job for each table whose rows say which file they are from.

    Args:
        catalogue: All tables.
        first_day: The first partition.
    """
    for table in catalogue:
        if isinstance(table.flow, Files) and table.flow.replaces:
            yield _job(table, first_day)


def _job(table: Table, first_day: date) -> dg.JobDefinition:
    step = f"{DAY_AGAIN}_{step_of(key_of(table.name))}"

    @dg.op(
        name=f"{step}_step",
        description=f"Takes the rows of a day's files out of {table.name} and loads the files as they are now.",
        out=dg.Out(dg.Nothing),
        pool=pool(table.name),
        tags={LEVER_TAG: DAY_AGAIN},
    )
    def load(context: dg.OpExecutionContext, config: DayConfig, lake: LakeResource, spark: SparkResource) -> None:
        try:
            _load(context, config, lake, spark, table)
        except LakehouseError as error:
            metadata = {name: text for name, text in error.as_dict().items() if text}
            raise dg.Failure(str(error), metadata=metadata, allow_retries=False) from None

    @dg.job(
        name=step,
        description=f"Loads a day of source files of {table.name} again, exactly once: files with that date in their "
        "path, or, without one, written on that day (UTC). Choose days on the page of partitions. In a shell: "
        f"lakehouse replay --day DATE --table {table.name} --yes, then lakehouse ingest {table.name}",
        executor_def=dg.in_process_executor,
        partitions_def=dg.DailyPartitionsDefinition(start_date=first_day.isoformat(), timezone="UTC", end_offset=1),
        config={"ops": {f"{step}_step": {"config": {"apply": True}}}},
        tags={LEVER_TAG: DAY_AGAIN},
    )
    def job() -> None:
        load()

    return job


def _load(
    context: dg.OpExecutionContext, config: DayConfig, lake: LakeResource, spark: SparkResource, table: Table
) -> None:
    from lakehouse.pipeline import replay_files

    opened, day = lake.open(), date.fromisoformat(context.partition_key)
    asked = replay_files(opened, table.name, day=day, really=config.apply)
    files = [*asked.files, *asked.waiting]
    rows = [
        {"number": file.sequence, "state": file.ingestion_state, "rows": file.rows, "file": file.path} for file in files
    ]
    verb = "loaded again" if config.apply else "to be loaded again"
    metadata: dict[str, Any] = {
        "what": f"{counted(len(files), 'file')} of {day} {verb}" if files else f"no file of {day} was loaded",
        "applied": config.apply and bool(files),
        "replayed_files": len(files),
        "replayed_rows": sum(file.rows or 0 for file in files),
        "files_gone": len(asked.gone),
        **({"result": dg.MetadataValue.md(markdown(rows))} if rows else {}),
        "command": f"lakehouse replay --day {day} --table {table.name}" + (" --yes" if config.apply else ""),
    }
    if config.apply and files:  # the files that wait, too: a run before this one may have ended after it had asked
        loaded = brought_up_to_date(context, opened, spark, table)
        context.log_event(
            dg.AssetMaterialization(
                key_of(table.name),
                metadata=loaded.metadata,
                tags={"dagster/data_version": loaded.version},
                description=f"files of {day} again",
            )
        )
        metadata["rows_added"] = loaded.rows_added
        metadata["checks_failed"] = log_checks(context, opened, spark, table)
    context.add_output_metadata(metadata)

"""From a catalogue to ``dagster.Definitions``."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial

import dagster as dg

from lakehouse.dagster.alerts import failure_sensor
from lakehouse.dagster.backups import BACKUPS, backups_of
from lakehouse.dagster.checks import checks_of
from lakehouse.dagster.days import FIRST_DAY, day_jobs
from lakehouse.dagster.jobs import (
    INGEST,
    backup_job,
    hourly,
    ingest_job,
    maintenance_job,
    nightly,
    nightly_backups,
    tour_job,
)
from lakehouse.dagster.landing import LandingNames, landing_folders
from lakehouse.dagster.landing_checks import check_of
from lakehouse.dagster.levers import Lever, lever_job, levers_of
from lakehouse.dagster.maintenance import maintenance_of
from lakehouse.dagster.names import key_of
from lakehouse.dagster.outside import outside_sensor
from lakehouse.dagster.resources import LakeResource, SparkResource
from lakehouse.dagster.selection import concerned_by, ingested, readers_of
from lakehouse.dagster.sensors import SENSOR, sensor_of
from lakehouse.dagster.tables import Pictures, asset_of
from lakehouse.dagster.upkeep import upkeep_of
from lakehouse.declaration import read_catalogue
from lakehouse.places import streams
from lakehouse.table import Catalogue


def definitions(
    catalogue: Catalogue | None = None,
    *,
    lake: LakeResource | None = None,
    job_name: str = INGEST,
    sensor_name: str = SENSOR,
    landing: Mapping[str, LandingNames] | None = None,
    pictures: Mapping[str, Pictures] | None = None,
    tours: Mapping[str, Sequence[str]] | None = None,
    levers: Sequence[Lever] = (),
    first_day: date = FIRST_DAY,
) -> dg.Definitions:
    """Assets, checks, jobs, the sensor and schedules of declared tables; opens no store and starts no Spark.

    Args:
        catalogue: The tables, as the settings of ``lake`` declare them: runs read that declaration again. Default:
            that declaration is read.
        lake: Where they are; default what the ``LAKEHOUSE_*`` variables name.
        job_name: Of the job that brings all tables up to date which are not ``on_demand``.
        sensor_name: Of the sensor that asks for one run of all tables whose files have landed.
        landing: By table of files, how the folder is called that it is fed from.
        pictures: By table, what draws pictures for a materialization.
        tours: Further jobs by name: the tables that a job brings up to date, one after the other in that order.
        levers: Further levers, beside those of the tables.
        first_day: The first of the days whose source files can be loaded again from the page of partitions.

    Raises:
        ConfigurationError: a setting or the declaration is wrong.
    """
    lake = lake or LakeResource()
    settings = lake.settings()
    if catalogue is None:
        catalogue = read_catalogue(settings)
    folders = landing_folders(catalogue, landing)
    turns = {name: len(tour) - turn for tour in (tours or {}).values() for turn, name in enumerate(tour)}
    tables = [
        asset_of(table, folders, settings, (pictures or {}).get(table.name), turns.get(table.name, 0))
        for table in catalogue
    ]
    folder_checks = [check_of(folder, job_name) for folder in folders if folder.by_events]
    upkeep = [*maintenance_of(catalogue), *upkeep_of(catalogue)]
    jobs, sensors, schedules = [], [], []
    if every_run := [key_of(table.name) for table in ingested(catalogue)]:
        ingest = ingest_job(job_name, every_run, settings, folder_checks)
        jobs.append(ingest)
        schedules.append(hourly(ingest))
        if fed := [folder for folder in folders if folder.fed]:
            of_folder, of_table = readers_of(fed, catalogue), partial(concerned_by, catalogue)
            sensors.append(sensor_of(sensor_name, fed, ingest, every_run, of_folder, of_table))
    if upkeep:
        nights = maintenance_job([asset.key for asset in upkeep])
        jobs.append(nights)
        schedules.append(nightly(nights))
    if every_run and streams(catalogue):
        upkeep.append(backups_of(catalogue))
        backups = backup_job(BACKUPS)
        jobs.append(backups)
        schedules.append(nightly_backups(backups))
    if catalogue.names:
        sensors.append(outside_sensor(catalogue))
    if settings.alerts is not None or catalogue.alerts.owners:
        sensors.append(failure_sensor(catalogue))
    jobs += [tour_job(name, [key_of(table) for table in tour]) for name, tour in (tours or {}).items()]
    return dg.Definitions(
        assets=[*(folder.spec() for folder in folders), *tables, *upkeep],
        asset_checks=[
            *(checks for table in catalogue if (checks := checks_of(table, turns.get(table.name, 0)))),
            *folder_checks,
        ],
        jobs=[*jobs, *map(lever_job, (*levers_of(catalogue), *levers)), *day_jobs(catalogue, first_day)],
        sensors=sensors,
        schedules=schedules,
        resources={"lake": lake, "spark": SparkResource(lake=lake)},
        # one process for each run, also for those started by "Materialize": steps share the session
        executor=dg.in_process_executor,
    )

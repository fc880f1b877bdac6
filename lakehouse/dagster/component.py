"""The component that a project of Dagster's names in a ``defs.yaml``."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from lakehouse.dagster.build import definitions
from lakehouse.dagster.jobs import INGEST
from lakehouse.dagster.landing import LandingNames
from lakehouse.dagster.resources import LakeResource
from lakehouse.dagster.sensors import SENSOR
from lakehouse.declaration import read_catalogue


class LakehouseComponent(dg.Component, dg.Resolvable, dg.Model):
    """Declared tables as assets, with their checks, jobs, sensor and schedules; once in a code location.

    Attributes:
        declaration: The file that declares the tables: beside the ``defs.yaml``, or in the project's folder.
        job_name: Of the job that brings all tables up to date which are not ``on_demand``.
        sensor_name: Of the sensor that asks for one run of all tables whose files have landed.
        landing: By table of files, how the folder is called that it is fed from.
    """

    declaration: str = "lakehouse.yaml"
    job_name: str = INGEST
    sensor_name: str = SENSOR
    landing: dict[str, LandingNames] = Field(default_factory=dict)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Reads the declaration.

        Raises:
            ConfigurationError: there is none, or it is wrong.
        """
        beside, above = context.path / self.declaration, context.project_root / self.declaration
        found: Path = beside if beside.exists() else above
        lake = LakeResource(declaration=str(found))
        return definitions(
            read_catalogue(lake.settings()),
            lake=lake,
            job_name=self.job_name,
            sensor_name=self.sensor_name,
            landing=self.landing,
        )

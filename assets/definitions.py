"""The code location: everything Dagster loads, from ``lakehouse.yaml``."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from assets.samples import sample_lever
from lakehouse.dagster import LandingNames, definitions
from lakehouse.dagster.metadata import Plotted
from lakehouse.declaration import read_catalogue
from lakehouse.lake import Lake
from lakehouse.orders.tables import BRONZE, SILVER, TOUR
from resources.lake import own_lake

JOB, SENSOR = "ingest_orders", "new_order_files"
_SCAFFOLDED = Path(__file__).with_name("defs")


@dg.definitions
def defs() -> dg.Definitions:
    """Assets, checks, jobs, sensor and schedules, on resources configured by ``LAKEHOUSE_*`` variables."""
    lake = own_lake()
    tables = definitions(
        read_catalogue(lake.settings()),
        lake=lake,
        job_name=JOB,
        sensor_name=SENSOR,
        landing={BRONZE: LandingNames(folder="orders", files="order files")},
        pictures={SILVER: _pictures},
        tours={"training_tour": TOUR},
        levers=[sample_lever()],
    )
    if not any(_SCAFFOLDED.glob("[!_.]*")):
        return tables
    return dg.Definitions.merge(tables, dg.load_from_defs_folder(path_within_project=_SCAFFOLDED.parent))


def _pictures(lake: Lake) -> Sequence[Plotted]:
    from lakehouse.orders.plots import plots  # it imports matplotlib: only where something is drawn

    return plots(lake)

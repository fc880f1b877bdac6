"""Catalogues made in Python, for tests of what Dagster makes of a declaration."""

from datetime import timedelta

from lakehouse.dagster import LandingNames, definitions
from lakehouse.flows.files import Files
from lakehouse.flows.latest import Latest
from lakehouse.flows.rollup import Rollup
from lakehouse.flows.windows import Windows
from lakehouse.table import Catalogue, Check, Table


class Passes(Check):
    """A check that finds nothing to examine."""

    def examine(self, at):
        return None


class Warns(Passes):
    blocks = False


READINGS = Table(
    "bronze.readings",
    Files(path="s3a://landing/sensors/readings/", glob="*.json"),
    (
        Passes(name="single", description="Each reading once."),
        Warns(name="whole"),
        Passes(name="new", on_failure="off"),
    ),
    description="Readings of all sensors.",
    owners=("team:sensors",),
    freshness=timedelta(hours=2),
)
LATEST = Table(
    "silver.readings",
    Latest(
        of="bronze.readings",
        key="id",
        event_time={"column": "measured"},
        columns={"day": "to_date(event_time)", "at": "event_time", "place": "room"},
    ),
    (Passes(name="right"),),
)
WINDOWS = Table(
    "silver.rooms",
    Windows(
        of="bronze.readings",
        event_time={"column": "measured"},
        window="5 minutes",
        keys="room",
        aggregates={"readings": "count(*)", "mean": "avg(value)"},
    ),
)
DAYS = Table(
    "gold.days",
    Rollup(of="silver.readings", group={"day": "day", "room": "place"}, aggregates={"readings": "count(*)"}),
)
SECOND = Table("bronze.second", Files(path="s3a://landing/sensors/readings"), on_demand=True)
SENSORS = Catalogue((READINGS, SECOND, LATEST, WINDOWS, DAYS))

ORDERS = Table("bronze.orders_autoloader", Files(path="s3a://landing/orders/", glob="orders_stream_*.json"))
NAMED = {ORDERS.name: LandingNames(folder="orders", files="order files")}


def orders_definitions():
    """One folder of order files, with the names of the project's own instance."""
    catalogue = Catalogue((ORDERS,))
    return definitions(catalogue, job_name="ingest_orders", sensor_name="new_order_files", landing=NAMED)


def many(tables):
    """Half of them files, each in a folder of its own, half computed from those."""
    made = []
    for number in range(tables // 2):
        checks = (Passes(name="single"), Warns(name="whole"))
        made.append(Table(f"bronze.t{number}", Files(path=f"s3a://landing/t{number}/"), checks))
        made.append(Table(f"silver.t{number}", Latest(of=f"bronze.t{number}", key="id"), checks))
    return Catalogue(tuple(made))

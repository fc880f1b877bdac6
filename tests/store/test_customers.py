"""The second example: customers as CSV in folders by country, with updates, by its declaration alone, without a JVM."""

import csv
import io
from dataclasses import replace
from pathlib import Path

from declared import with_variables
from store.local_world import no_session

from examples.customers.samples import generate_customers
from lakehouse.pipeline import ingest, run_table

DECLARATION = Path(__file__).parents[2] / "examples" / "customers" / "lakehouse.yaml"


def test_every_customer_is_there_once_as_updated_last_whatever_order_the_files_came_in(lake):
    settings = lake.settings.model_copy(update={"declaration": DECLARATION})
    lake = with_variables(replace(lake, settings=settings), customers_prefix=settings.landing_prefix)
    files = {}
    generate_customers(files.__setitem__, days=3)
    lines = sum(len(data.splitlines()) - 1 for data in files.values())

    def land(*days):
        for name, data in files.items():
            if name.endswith(tuple(f"day_{day:03d}.csv" for day in days)):
                lake.store.write(settings.landing_bucket, settings.landing_prefix + name, data)

    land(0, 2)
    for table in ("bronze.customers", "silver.customers"):
        run_table(no_session, lake, table)
    land(1)  # comes late: what day 2 said of a customer stays
    done = ingest(no_session, lake)
    assert [report.table for report in done.reports] == ["bronze.customers", "silver.customers"]
    assert {finding.check: finding.passed for finding in done.findings} == dict.fromkeys(
        (
            *("not_null", "no_file_loaded_twice", "every_file_loaded", "no_quarantined_files"),
            *("unique", "accepted_values", "matches", "keyed"),
        ),
        True,
    )
    assert lake.describe("bronze.customers").rows == lines
    rows = lake.rows("silver.customers").to_table(columns=["customer_id", "city", "country", "updated_at"]).to_pylist()
    found = {
        row["customer_id"]: (row["city"], row["country"], f"{row['updated_at']:%Y-%m-%d %H:%M:%S}") for row in rows
    }
    assert len(found) == len(rows) == 90
    assert found == latest(files)


def latest(files):
    expected = {}
    for name, data in files.items():
        for row in csv.DictReader(io.StringIO(data.decode())):
            told = (row["city"], name.split("/")[0].removeprefix("country="), row["updated_at"])
            before = expected.get(int(row["customer_id"]))
            if before is None or told[2] > before[2]:
                expected[int(row["customer_id"])] = told
    return expected

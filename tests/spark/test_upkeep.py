"""Tables that Spark computes, beside files that are joined and removed, and behind a table that was taken back."""

import pytest
from declared import with_declaration

from lakehouse.errors import ConfigurationError
from lakehouse.maintenance.optimize import Thresholds
from lakehouse.pipeline import ingest
from lakehouse.upkeep import optimize_tables, restore, vacuum_tables

TABLES = ["bronze.sales", "gold.days", "silver.sales"]
FILE = """
tables:
  bronze.sales:
    files: {path: "{landing}/sales/", engine: local, hints: {id: BIGINT, day: STRING, amount: BIGINT}}
  silver.sales:
    latest: {of: bronze.sales, key: id}
  gold.days:
    rollup:
      of: silver.sales
      group: {day: day}
      aggregates: {amount: sum(amount), sales: count(*)}
"""


def test_silver_and_gold_go_on_over_joined_removed_and_restored_files(lake, spark, tmp_path):
    lake = with_declaration(lake, tmp_path, FILE)
    landed = []

    def load(number):
        ids = [number * 10 + row for row in range(3)]
        text = "".join(f'{{"id": {one}, "day": "d{one % 2}", "amount": {one}}}\n' for one in ids)
        key = f"{lake.settings.landing_prefix}sales/{number}.json"
        lake.store.write(lake.settings.landing_bucket, key, text.encode())
        landed.extend(ids)

    def is_right():
        done = ingest(spark, lake)
        done.require_success()
        assert all(finding.passed for finding in done.findings)
        rows = lake.delta("gold.days").to_pyarrow_table().to_pylist()
        assert {row["day"]: (row["amount"], row["sales"]) for row in rows} == {
            f"d{day}": (sum(ids), len(ids)) for day in (0, 1) if (ids := [one for one in landed if one % 2 == day])
        }
        return done

    for number in range(2):
        load(number)
        is_right()
    joined = {one.table: one for one in optimize_tables(lake, thresholds=Thresholds(least_fewer=1), really=True)}
    assert sorted(joined) == TABLES
    for table in TABLES[::2]:
        assert joined[table].done, joined[table].why_not
    load(2)
    done = is_right()
    assert [report.input_rows for report in done.reports][:2] == [3, 3], "joined files are no news"
    assert sum(one.old_files for one in vacuum_tables(lake, retention_hours=0, really=True)) > 0
    before = lake.version("bronze.sales")
    lake.delta("bronze.sales").delete("id >= 20")
    load(3)
    with pytest.raises(ConfigurationError, match=r"silver\.sales is computed from other tables"):
        restore(lake, "silver.sales", 0)
    assert restore(lake, "bronze.sales", before, really=True).readers == ("silver.sales",)
    is_right()

"""Tables that Spark computes, beside files that are joined and removed, and behind a table that was taken back."""

import pytest
from declared import with_declaration

from lakehouse.errors import ConfigurationError
from lakehouse.maintenance.optimize import Thresholds
from lakehouse.pipeline import ingest
from lakehouse.upkeep import optimize_tables, restore, vacuum_tables

FILE = """
tables:
  bronze.sales:
    files:
      path: "{landing}/sales/"
      engine: local
      hints: {id: BIGINT, amount: BIGINT}
      options: {cloudFiles.maxFilesPerTrigger: 1}
  silver.sales:
    latest: {of: bronze.sales, key: id}
"""


@pytest.mark.soak("a stream of Spark over them; tests/store/test_upkeep.py has tables and readers of the local engine")
def test_silver_goes_on_over_files_that_were_joined_removed_and_taken_back(lake, spark, tmp_path):
    lake = with_declaration(lake, tmp_path, FILE)
    landed = []

    def load(number):
        ids = [number * 10 + row for row in range(3)]
        text = "".join(f'{{"id": {sale_id}, "amount": {sale_id}}}\n' for sale_id in ids)
        key = f"{lake.settings.landing_prefix}sales/{number}.json"
        lake.store.write(lake.settings.landing_bucket, key, text.encode())
        landed.extend(ids)

    def is_right():
        done = ingest(spark, lake)
        done.require_success()
        assert all(finding.passed for finding in done.findings)
        rows = lake.delta("silver.sales").to_pyarrow_table(columns=["id", "amount"]).to_pylist()
        assert sorted((row["id"], row["amount"]) for row in rows) == [(sale_id, sale_id) for sale_id in sorted(landed)]
        return done

    def joined():
        return {
            optimized.table: optimized
            for optimized in optimize_tables(lake, thresholds=Thresholds(least_fewer=1), really=True)
        }

    load(0)
    load(1)
    is_right()
    assert joined()["bronze.sales"].done
    load(2)
    assert [report.input_rows for report in is_right().reports] == [3, 3], "joined files are no news"
    assert joined()["silver.sales"].done
    assert sum(vacuumed.old_files for vacuumed in vacuum_tables(lake, retention_hours=0, really=True)) > 0
    before = lake.version("bronze.sales")
    lake.delta("bronze.sales").delete("id >= 20")
    load(3)
    with pytest.raises(ConfigurationError, match=r"silver\.sales is computed from other tables"):
        restore(lake, "silver.sales", 0)
    assert restore(lake, "bronze.sales", before, really=True).readers == ("silver.sales",)
    is_right()

"""Many declared tables over several folders in a single lake."""

import pytest
from declared import with_declaration

from lakehouse.pipeline import ingest, run_table


def declaration(folders, tables_each):
    """``tables_each`` tables over each folder, all of the same files; every other one by the local engine."""
    lines = ["tables:"]
    for folder in range(folders):
        for number in range(tables_each):
            lines += [
                f"  bronze.folder_{folder}_table_{number}:",
                "    files:",
                f'      path: "{{landing}}/folder_{folder}/"',
                "      hints: {id: BIGINT}",
                f"      engine: {'local' if number % 2 else 'spark'}",
                "    checks:",
                "      - unique: id",
            ]
    return "\n".join(lines) + "\n"


BROKEN = """\
  bronze.broken:
    files:
      path: "{landing}/folder_0/"
      hints: {id: BIGINT}
      options: {cloudFiles.schemaEvolutionMode: failOnNewColumns}
  silver.of_broken:
    latest: {of: bronze.broken, key: id}
  gold.of_broken:
    rollup:
      of: silver.of_broken
      group: {id: id}
      aggregates: {rows: count(*)}
"""


def load_twice(spark, lake, folder, folders, tables_each, *, all_twice=True):
    lake = with_declaration(lake, folder, declaration(folders, tables_each) + BROKEN)

    def put(number, **more):
        for place in range(folders):
            row = "".join(f', "{name}": "{value}"' for name, value in more.items())
            text = "".join(f'{{"id": {place * 1000 + number * 10 + line}{row}}}\n' for line in range(3))
            key = f"{lake.settings.landing_prefix}folder_{place}/{number}.json"
            lake.store.write(lake.settings.landing_bucket, key, text.encode())

    put(0)
    if all_twice:
        first = ingest(spark, lake)
        first.require_success()
        assert all(finding.passed for finding in first.findings)
    else:
        run_table(spark, lake, "bronze.broken")
    put(1, news="a column that bronze.broken does not take")
    second = ingest(spark, lake)
    assert list(second.errors) == ["bronze.broken"]
    assert second.left_out == {"silver.of_broken": "bronze.broken", "gold.of_broken": "bronze.broken"}
    with pytest.raises(type(second.errors["bronze.broken"])):
        second.require_success()
    for place in range(folders):
        ids = sorted(place * 1000 + number * 10 + line for number in (0, 1) for line in range(3))
        for number in range(tables_each):
            rows = lake.rows(f"bronze.folder_{place}_table_{number}").to_table(columns=["id"])["id"].to_pylist()
            assert sorted(rows) == ids
    assert all(finding.passed for finding in second.findings)
    assert second.findings
    assert lake.describe("bronze.broken").rows == 3


@pytest.mark.soak("six tables by Spark; tests/dagster/test_one_run.py has a run of both engines with tables that fail")
def test_a_table_that_fails_stops_its_readers_and_no_other(lake, spark, tmp_path):
    load_twice(spark, lake, tmp_path, folders=2, tables_each=1, all_twice=False)


@pytest.mark.soak("twenty tables over ten folders, half of them local; test_fifty_tables.py has fifty in one run")
def test_twenty_tables_over_ten_folders_are_loaded_once_each(lake, spark, tmp_path):
    load_twice(spark, lake, tmp_path, folders=10, tables_each=2)

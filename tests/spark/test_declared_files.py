"""Tables of files that nobody wrote code for."""

import pytest
from declared import with_declaration

from lakehouse.errors import ConfigurationError
from lakehouse.pipeline import blocked_by, check_table, declared, ingest, replay_files, run_table

CUSTOMERS = """
tables:
  bronze.customers:
    files:
      path: "{landing}/customers/"
      format: csv
      options: {header: true, cloudFiles.inferColumnTypes: true}
      metadata: {file_size: file_size}
      partition_by: country
    checks:
      - unique: [customer_id, since]
      - not_null: [customer_id, name]
      - accepted_values: {column: country, values: [DE, FR]}
      - range: {column: since, min: "2020-01-01"}
      - row_count: {min: 3, max_change: 10}
      - fresh_within: 1 hour
      - no_invalid_rows
      - rescue_rate
      - sql: SELECT * FROM {table} WHERE name = 'nobody'
        name: nobody_is_nobody
  bronze.everything_as_text:
    files:
      path: "{landing}/customers/"
      format: csv
      glob: "*.csv"
      lineage: false
"""


def write(lake, name, text):
    lake.store.write(lake.settings.landing_bucket, lake.settings.landing_prefix + name, text.encode())


def test_hive_partitioned_csv_becomes_two_tables_with_checks_and_is_replayed_into_them(lake, spark, tmp_path):
    lake = with_declaration(lake, tmp_path, CUSTOMERS)
    write(lake, "customers/country=DE/1.csv", "customer_id,name,since\n1,Ada,2021-05-01\n2,Ben,2022-01-01\n")
    write(lake, "customers/country=FR/1.csv", "customer_id,name,since\n3,Chloé,2023-01-31\n")
    done = ingest(spark, lake)
    done.require_success()
    reports, findings = done.reports, done.findings
    assert [(report.table, report.rows_added) for report in reports] == [
        ("bronze.customers", 3),
        ("bronze.everything_as_text", 3),
    ]
    assert {
        finding.check: finding.passed for finding in findings if finding.table == "bronze.customers"
    } == dict.fromkeys(
        (
            "unique",
            "not_null",
            "accepted_values",
            "range",
            "row_count",
            "fresh_within",
            "no_invalid_rows",
            "rescue_rate",
            "nobody_is_nobody",
            "no_file_loaded_twice",
            "every_file_loaded",
            "no_quarantined_files",
        ),
        True,
    )
    opened = lake.delta("bronze.customers")
    assert opened.metadata().partition_columns == ["country"]
    assert {field.name for field in opened.schema().fields} == {
        *("customer_id", "name", "since", "country", "_rescued_data", "file_size"),
        *("_processing_time", "_source_file", "_source_sequence", "_source_record"),
    }

    write(
        lake,
        "customers/country=IT/2.csv",
        "customer_id,name,since\n1,,2019-12-31\n,nobody,2024-01-01\nx,Dan,2024-02-01\n",
    )
    assert run_table(spark, lake, "bronze.customers").rows_added == 3
    findings = {finding.check: finding for finding in check_table(spark, lake, "bronze.customers")}
    assert {name for name, finding in findings.items() if not finding.passed} == {
        *("not_null", "accepted_values", "range", "nobody_is_nobody", "rescue_rate"),
    }
    assert findings["not_null"].numbers["null_rows"] == 3, "x is no number, and was rescued"
    assert findings["accepted_values"].sample[0]["country"] == "IT"
    assert "country=IT/2.csv" in findings["range"].next_command
    assert "--table bronze.customers" in findings["range"].next_command
    assert str(blocked_by(findings.values())).startswith("not_null failed on bronze.customers")
    alone = check_table(spark, lake, "bronze.customers", names={"range"})
    assert [finding.check for finding in alone] == ["range"]

    # a file of a partitioned table is replayed into it
    write(lake, "customers/country=DE/1.csv", "customer_id,name,since\n1,Ada L.,2021-05-01\n")
    assert replay_files(lake, "bronze.customers", files=["*country=DE*"], really=True).done
    run_table(spark, lake, "bronze.customers")
    rows = lake.rows("bronze.customers").to_table(columns=["name", "country"]).to_pylist()
    assert sorted((row["name"], row["country"]) for row in rows if row["country"] != "IT") == [
        ("Ada L.", "DE"),
        ("Chloé", "FR"),
    ]
    assert len(rows) == 5
    with pytest.raises(ConfigurationError, match="only ever gets rows added"):
        replay_files(lake, "bronze.everything_as_text", files=["*"])

    # a check that names no column of the table says so
    lake = with_declaration(lake, tmp_path, CUSTOMERS.replace("not_null: [customer_id, name]", "not_null: nmae"))
    with pytest.raises(ConfigurationError, match="has no column nmae, which its check not_null names"):
        check_table(spark, lake, "bronze.customers")


def test_a_table_that_nobody_declared_is_refused_by_name(lake, tmp_path):
    lake = with_declaration(lake, tmp_path, CUSTOMERS)
    with pytest.raises(ConfigurationError, match=r"no table bronze\.strangers is declared") as caught:
        declared(lake, "bronze.strangers")
    assert "bronze.customers, bronze.everything_as_text" in caught.value.next_command

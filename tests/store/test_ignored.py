"""Objects beside the files of a table: they are counted, and the run says why."""

from declared import with_declaration

from lakehouse.pipeline import run_table

DECLARATION = """
tables:
  bronze.customers:
    files:
      path: "{landing}/customers/"
      format: csv
      glob: customers_*.csv
"""


def test_a_folder_without_a_file_of_the_table_needs_no_engine_and_is_told(lake, tmp_path):
    lake = with_declaration(lake, tmp_path, DECLARATION)
    bucket, folder = lake.settings.landing_bucket, f"{lake.settings.landing_prefix}customers/"
    lake.store.write(bucket, f"{folder}clients_1.csv", b"id\n1\n")
    lake.store.write(bucket, f"{folder}customers_1.csv", b"")
    report = run_table(None, lake, "bronze.customers")
    assert (report.batches, report.ignored_files, report.has_source) == ((), 2, False)
    assert "2 objects ignored: not named as the table's files are, or empty" in report.line()

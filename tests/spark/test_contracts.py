"""The check ``contract`` on tables whose rows and columns each test writes."""

from dataclasses import replace

import pytest
from declared import with_declaration

from lakehouse.pipeline import check_table

TABLE = "silver.customers"
DECLARED = """
tables:
  bronze.customers:
    files: {path: "{landing}/customers/"}
  silver.customers:
    latest: {of: bronze.customers, key: id}
    checks:
      - contract
      - {matches: {}, on_failure: off}
      - {keyed: {}, on_failure: off}
"""
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: silver.customers
version: 1.0.0
schema:
- name: silver.customers
  properties:
  - {name: id, logicalType: integer, primaryKey: true, primaryKeyPosition: 1}
  - {name: country, logicalType: string, primaryKey: true, primaryKeyPosition: 2}
  - {name: mail, logicalType: string, unique: true}
  - {name: address, logicalType: object, properties: [{name: city, logicalType: string, required: true}]}
"""
COLUMNS = "id BIGINT, country STRING, mail STRING, address STRUCT<city: STRING>, _rescued_data STRING"
GOOD = [(1, "DE", "a@x", ("Ulm",), None), (1, "FR", None, ("Metz",), None), (2, "DE", None, ("Köln",), None)]


@pytest.fixture
def finding_of(lake, spark, tmp_path):
    """What the check says of a table with these rows."""
    folder = tmp_path / "contracts"
    folder.mkdir()
    (folder / f"{TABLE}.odcs.yaml").write_text(CONTRACT)
    declared = with_declaration(lake, tmp_path, DECLARED)
    declared = replace(declared, settings=declared.settings.model_copy(update={"contracts": folder}))

    def check(rows, columns=COLUMNS):
        frame = spark.createDataFrame(rows, columns)
        uri = declared.settings.table_uri(TABLE)
        frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(uri)
        [finding] = check_table(spark, declared, TABLE)
        return finding

    return check


def test_a_table_keeps_its_contract_or_is_told_which_word_of_it_is_broken(finding_of):
    good = finding_of(GOOD)
    assert (good.passed, good.blocks) == (True, True)
    assert good.numbers == {
        **{"pinned_columns": 5, "missing_columns": 0, "changed_types": 0, "refused_columns": 0},
        **{"null_rows": 0, "duplicate_keys": 0, "examined_rows": 3},
    }
    twice = finding_of([*GOOD, (2, "DE", "b@x", ("Bonn",), None)])
    assert (twice.passed, twice.numbers["duplicate_keys"], twice.sample[0]["id"]) == (False, 1, 2)
    mails = finding_of([*GOOD, (3, "DE", "a@x", ("Bonn",), None)])
    assert (mails.numbers["duplicate_keys"], mails.sample[0]["mail"]) == (1, "a@x")
    nulls = finding_of([*GOOD, (3, "DE", None, (None,), None), (None, "DE", None, ("Bonn",), None)])
    assert (nulls.passed, nulls.numbers["null_rows"], nulls.numbers["duplicate_keys"]) == (False, 2, 0)
    other = finding_of([(1.5, "DE", ("Ulm",))], "id DOUBLE, country STRING, address STRUCT<city: STRING>")
    assert {row["column"]: (row["pinned"], row["present"]) for row in other.sample} == {
        "id": ("integer", "double"),
        "mail": ("string", None),
    }
    assert "examined_rows" not in other.numbers, "rows are not looked at before their columns are right"

"""What was lost or restored is mended by the table, or refused; then the repair loses and doubles nothing."""

import json
from dataclasses import replace

import pytest
from command import lakehouse_here, lakehouse_json_here

from lakehouse.autoloader.options.paths import SourcePath, source_id
from lakehouse.orders.samples import file_name
from lakehouse.orders.tables import BRONZE, ORDERS, SILVER
from lakehouse.pipeline import check_table, run_table


def places(lake):
    rows = lake.delta(BRONZE).to_pyarrow_table(columns=["_source_file", "_source_record"]).to_pylist()
    return sorted((row["_source_file"].rsplit("/", 1)[1], row["_source_record"]) for row in rows)


def expected(files, rows=10):
    return sorted((file_name(number), row) for number in range(files) for row in range(rows))


def objects_below(lake, prefix):
    bucket = lake.settings.bucket
    return {info.key: lake.store.read(bucket, info.key) for info in lake.store.list(bucket, prefix)}


@pytest.fixture
def loaded(lake, land, spark, environment):
    """Four files in bronze, and truncated gzip bytes under a plain name: in quarantine."""
    land(files=4, rows_per_file=10, late_share=0)
    bad = lake.settings.landing_prefix + file_name(90)
    lake.store.write(lake.settings.landing_bucket, bad, b"\x1f\x8b\x08\x00broken")
    report = lakehouse_json_here(environment, "ingest", BRONZE)
    assert report["tables"][0]["rows_added"] == 40
    return environment


def checkpoint_of(lake, table=BRONZE):
    return f"{lake.settings.user}/_checkpoints/{table}/"


def journal_of(lake):
    return f"{lake.settings.user}/_journal/{source_id(SourcePath.parse(lake.settings.landing_uri))}/"


def assert_refused(lake, environment, why):
    before = places(lake)
    refused = lakehouse_here(environment, "ingest", BRONZE)
    assert refused.returncode == 1
    assert why in refused.stderr
    assert "lakehouse checkpoint repair" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert places(lake) == before, "a refusal writes nothing"


def test_what_was_lost_is_mended_or_refused_and_repaired_without_loss(lake, land, loaded):
    assert_repaired(lake, land, loaded, ["journal", "checkpoint"])


@pytest.mark.soak("a checkpoint of another day, and a new journal that gives other numbers")
def test_what_was_lost_or_restored_is_mended_or_refused_and_repaired(lake, land, loaded):
    assert_repaired(lake, land, loaded, ["journal", "checkpoint", "older checkpoint", "journal"])


def assert_repaired(lake, land, loaded, damages):
    """One table meets one damage after another; a new file comes after each repair."""
    files, copy = 4, {}

    def lose(prefix):
        return lambda: lake.store.delete_prefix(lake.settings.bucket, prefix)

    def restore_the_copy():
        lake.store.delete_prefix(lake.settings.bucket, checkpoint_of(lake))
        for key, data in copy.items():
            lake.store.write(lake.settings.bucket, key, data)

    known = {  # a new journal gives the same numbers at first, and others later; the table knows its checkpoint
        "journal": (lose(journal_of(lake) + "segments/"), "which this journal of"),
        "checkpoint": (lose(checkpoint_of(lake)), ""),
        "older checkpoint": (restore_the_copy, ""),
    }
    for damage, why in map(known.get, damages):
        damage()
        if why:
            assert_refused(lake, loaded, why)
            if files == 4:
                dry = lakehouse_json_here(loaded, "checkpoint", "repair", BRONZE)
                assert dry["reason"] and not dry["done"]
                assert_refused(lake, loaded, why)
            assert lakehouse_json_here(loaded, "checkpoint", "repair", BRONZE, "--yes")["done"]
            copy = objects_below(lake, checkpoint_of(lake))
        land(files=1, rows_per_file=10, first_file=files, late_share=0)
        files += 1
        report = lakehouse_json_here(loaded, "ingest", BRONZE)
        assert report["tables"][0]["rows_added"] == 10
        assert places(lake) == expected(files)
        passed = {check["check"]: check["passed"] for check in report["checks"]}
        assert passed["no_file_loaded_twice"]
        assert passed["every_file_loaded"]
        assert not passed["no_quarantined_files"], "the bad file stays listed"
    assert not lakehouse_json_here(loaded, "checkpoint", "repair", BRONZE)["reason"]
    assert lakehouse_json_here(loaded, "ingest", BRONZE)["tables"][0]["batches"] == []


@pytest.mark.soak(
    "a replay of orders by command; tests/spark/test_declared_files.py has one, test_orders.py silver behind it"
)
def test_replayed_files_take_the_place_of_their_rows_and_silver_is_computed_again(lake, land, loaded):
    """One file was corrected after it was loaded, another one leaves quarantine."""
    lakehouse_json_here(loaded, "ingest", SILVER)
    bucket, key = lake.settings.landing_bucket, lake.settings.landing_prefix + file_name(2)
    lines = lake.store.read(bucket, key).decode().splitlines()
    changed = [json.dumps({**json.loads(line), "customer_id": "CORRECTED"}) for line in lines[:7]]
    lake.store.write(bucket, key, "\n".join(changed).encode())
    assert lakehouse_json_here(loaded, "ingest", BRONZE)["tables"][0]["batches"] == [], "no news by default"
    dry = lakehouse_json_here(loaded, "replay", "--files", file_name(2))
    assert (dry["done"], dry["rows"], len(dry["files"])) == (False, 10, 1)
    assert lakehouse_json_here(loaded, "replay", "--files", file_name(2), "--yes")["done"]
    report = lakehouse_json_here(loaded, "ingest", BRONZE, SILVER)
    assert places(lake) == sorted(set(expected(4)) - {(file_name(2), row) for row in (7, 8, 9)})
    rows = lake.delta(BRONZE).to_pyarrow_table().to_pylist()
    assert sum(row["customer_id"] == "CORRECTED" for row in rows) == 7
    passed = {check["check"]: check["passed"] for check in report["checks"]}
    assert passed["every_file_loaded"]
    assert passed["no_file_loaded_twice"]
    assert passed["windows_account_for_orders"]
    states = lakehouse_json_here(loaded, "files")["counts"]
    assert states == {"INGESTED": 4, "QUARANTINED": 1, "PASSED_OVER": 1}, "the corrected version by itself is no news"

    assert "WRONG_EXTENSION" in lakehouse_here(loaded, "files", "--state", "quarantined").stdout
    key = lake.settings.landing_prefix + file_name(90)
    lake.store.write(bucket, key, b'{"order_id": "mended", "quantity": 1}')
    assert lakehouse_json_here(loaded, "replay", "--files", file_name(90), "--yes")["done"]
    report = lakehouse_json_here(loaded, "ingest", BRONZE)
    assert report["tables"][0]["rows_added"] == 1
    assert {check["check"]: check["passed"] for check in report["checks"]}["no_quarantined_files"]
    assert lakehouse_json_here(loaded, "ingest", BRONZE)["tables"][0]["batches"] == []


def test_replay_of_nothing_in_particular_is_refused(lake, environment):
    done = lakehouse_here(environment, "replay")
    assert done.returncode == 1
    assert "--files GLOB" in done.stderr


@pytest.mark.soak("backups of what Spark writes, restored; test_checkpoint_backups.py has them of the local engine")
def test_what_spark_writes_goes_back_with_its_checkpoint_and_comes_again(lake, land, environment, spark):
    """Windows with a state, and an upsert that RESTORE took back by hand, which is refused; bronze needs no Spark."""
    computed = (SILVER, ORDERS)
    local = replace(lake, settings=lake.settings.model_copy(update={"engine": "local"}))

    def rows(table):
        found = lake.delta(table).to_pyarrow_table().to_pylist()
        return sorted(repr(sorted(row.items())) for row in found)

    def load(first_file):
        land(files=2, first_file=first_file, rows_per_file=60, late_share=0.1)
        return {table: run_table(spark, local, table) for table in (BRONZE, *computed)}

    first = load(0)
    shown = lakehouse_json_here(environment, "checkpoint", "show", SILVER)["standing"]
    assert shown["state_rows"] == first[SILVER].batches[-1].state_rows > 0
    taken = lakehouse_json_here(environment, "checkpoint", "backup", "--all")["backups"]
    assert {backup["table"]: backup["at_rest"] for backup in taken} == dict.fromkeys((BRONZE, *computed), True)
    load(2)
    expected = {table: rows(table) for table in computed}
    lake.delta(ORDERS).restore(lake.version(ORDERS) - 1)
    refused = lakehouse_here(environment, "ingest", ORDERS)
    assert refused.returncode == 1
    assert "RESTORE took the table back" in refused.stderr
    assert f"lakehouse checkpoint repair {ORDERS}" in refused.stderr
    for table in computed:
        done = lakehouse_json_here(environment, "checkpoint", "restore", table, "--yes")
        assert done["done"] and done["takes_table_back"]
        assert rows(table) != expected[table]
        run_table(spark, local, table)
        assert rows(table) == expected[table], "what came after the backup came again"
    assert {finding.check for finding in check_table(spark, local, SILVER) if not finding.passed} <= {"late_rate"}

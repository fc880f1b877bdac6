"""What a check or an error prints as the way out is run word for word, and ends green."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command import DECLARATION, lakehouse_here, lakehouse_json_here

from lakehouse.orders.samples import file_name
from lakehouse.orders.tables import BRONZE, DAILY_REVENUE, ORDERS, SILVER

_COMMAND = re.compile(r"(?:LAKEHOUSE_\w+=\S+ )?lakehouse (?:(?! && |; |   \().)+")


def commands_of(cure):
    """The commands in a printed cure, in order; what is in brackets behind three blanks is a remark."""
    return [found.group().strip() for found in _COMMAND.finditer(cure)]


def follow(environment, cure, which=slice(None), run=None):
    """Runs the commands of a cure, split as a shell splits them; ``run=in_a_shell`` leaves it to a real one."""
    commands = commands_of(cure)[which]
    assert commands, cure
    for command in commands:
        done = (run or in_this_process)(environment, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def in_a_shell(environment, command):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    told = {"env": {**environment, "PATH": path}, "capture_output": True, "text": True, "check": False}
    return subprocess.run(["bash", "-c", command], **told)


def in_this_process(environment, command):
    words = shlex.split(command)
    first = words.index("lakehouse")
    return lakehouse_here(
        environment, *words[first + 1 :], **dict(variable.split("=", 1) for variable in words[:first])
    )


@pytest.fixture
def orders(lake, environment):
    return Orders(lake, environment)


class Orders:
    """A lake whose files are written here, and its faults."""

    def __init__(self, lake, environment):
        self.lake, self.environment = lake, environment

    def put(self, number, *lines):
        settings = self.lake.settings
        key = settings.landing_prefix + file_name(number)
        self.lake.store.write(settings.landing_bucket, key, ("\n".join(lines) + "\n").encode())

    def ingest(self, *tables):
        done = lakehouse_here(self.environment, "ingest", *tables, "--json")
        report = json.loads(done.stdout)
        assert "checks" in report, done.stdout + done.stderr
        return report

    def failing(self, *tables):
        return {
            check["check"]: check["next_command"] for check in self.ingest(*tables)["checks"] if not check["passed"]
        }

    def sql(self, statement):
        from lakehouse.engine import connect

        connect(self.lake).sql(statement.format(bronze=f"delta.`{self.lake.settings.table_uri(BRONZE)}`")).collect()

    def count(self, table):
        return self.lake.describe(table).rows


def line(id_, day=1, **more):
    order = {"order_id": id_, "customer_id": "c", "order_date": f"2026-01-{day:02d} 10:00:00", "total_amount": 1.0}
    return json.dumps({**order, "payment_method": "cash", "product_id": "p", "quantity": 1, **more})


def test_faults_end_green_by_the_words_of_their_checks(orders, tmp_path):
    """Duplicates and a broken line; by the local engine, and so without the windows."""
    declared = yaml.safe_load(DECLARATION.read_text())
    del declared["tables"][SILVER]
    (tmp_path / "lakehouse.yaml").write_text(yaml.safe_dump(declared))
    orders.environment |= {"LAKEHOUSE_ENGINE": "local", "LAKEHOUSE_DECLARATION": str(tmp_path / "lakehouse.yaml")}
    orders.put(1, line("a1"), line("a2"), line("a2", day=2))
    orders.put(2, line("b1"), '{"order_id": "b2", broken')
    failing = orders.failing(BRONZE)
    assert set(failing) == {"no_duplicate_orders", "no_corrupt_records", "rescue_rate"}
    follow(orders.environment, failing["no_duplicate_orders"], slice(2, 3), in_a_shell)  # keep the newest copy
    orders.put(2, line("b1"), line("b2"))
    follow(orders.environment, failing["no_corrupt_records"])
    assert [orders.count(table) for table in (BRONZE, ORDERS)] == [4, 4]


@pytest.mark.soak("each check of files, to its green end, by Spark and with the windows; the test above has two")
def test_faults_of_files_end_green_by_the_words_of_their_checks(orders):
    """Duplicates, broken lines, rescued values, orders without an id, a file that cannot be read, an order too late."""
    orders.put(1, line("a1"), line("a2"), line("a2", day=2))
    orders.put(2, line("b1"), '{"order_id": "b2", broken')
    orders.put(3, line("c1", quantity="many"), line(None))
    settings = orders.lake.settings
    orders.lake.store.write(settings.landing_bucket, settings.landing_prefix + file_name(4), b"\x1f\x8b\x08\x00broken")
    failing = orders.failing()
    assert set(failing) == {"no_duplicate_orders", "no_corrupt_records", "rescue_rate", "no_quarantined_files"}
    duplicates, corrupt, rescued, quarantined = (
        failing[name] for name in ("no_duplicate_orders", "no_corrupt_records", "rescue_rate", "no_quarantined_files")
    )
    follow(orders.environment, duplicates, slice(2, None))  # keep the newest copy
    assert "no_duplicate_orders" not in orders.failing()
    orders.put(2, line("b1"), line("b2"))
    follow(orders.environment, corrupt)
    orders.put(4, line("d1"))
    follow(orders.environment, quarantined)
    failing = orders.failing()
    of_file_3 = {"no_corrupt_records", "rescue_rate", "every_order_has_an_id"}
    assert set(failing) == of_file_3 | {"late_rate"}, "what was quarantined comes after its window was closed"
    follow(orders.environment, failing["late_rate"])
    failing = orders.failing()
    assert set(failing) == of_file_3, "file 3 is still as it was"
    orders.put(3, line("c1"), line("c2"))
    follow(orders.environment, failing["every_order_has_an_id"])
    assert orders.failing() == {}
    assert rescued != failing["rescue_rate"] or commands_of(rescued)
    assert [orders.count(table) for table in (BRONZE, ORDERS)] == [7, 7]


@pytest.mark.soak("the other way out")
def test_duplicates_end_green_when_their_file_is_corrected(orders):
    orders.put(1, line("a1"), line("a1"))
    cure = orders.failing()["no_duplicate_orders"]
    orders.put(1, line("a1"))
    follow(orders.environment, cure, slice(0, 2))
    assert orders.failing() == {}
    assert orders.count(BRONZE) == 1


@pytest.mark.soak("DELETEs that were meant, loaded again, or kept, by printed words; test_orders.py has the refusal")
def test_a_delete_is_taken_for_a_loss_until_somebody_says_that_it_was_meant(orders):
    orders.put(1, *(line(f"a{number}") for number in range(4)))
    orders.put(2, *(line(f"b{number}", day=2) for number in range(3)))
    assert orders.failing() == {}
    orders.sql("DELETE FROM {bronze} WHERE order_id IN ('a1', 'b2')")
    missing = orders.failing(BRONZE)["every_file_loaded"]
    follow(orders.environment, missing, slice(2, 3))
    assert orders.failing(BRONZE) == {}
    stopped = lakehouse_here(orders.environment, "ingest")
    assert stopped.returncode == 1
    assert "rows were removed from bronze.orders_autoloader: version" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert orders.count(ORDERS) == 7, "what was computed stays until somebody says more"
    follow(orders.environment, stopped.stderr)
    assert orders.failing() == {}
    assert orders.count(ORDERS) == 5

    orders.sql("DELETE FROM {bronze} WHERE order_id = 'a2'")
    missing = orders.failing(BRONZE)["every_file_loaded"]
    follow(orders.environment, missing, slice(0, 1))  # loaded again instead: what was removed on purpose comes, too
    kept = {**orders.environment, "LAKEHOUSE_AFTER_REMOVALS": "keep"}
    report = lakehouse_json_here(kept, "ingest")
    assert [check["check"] for check in report["checks"] if not check["passed"]] == []
    assert orders.count(BRONZE) == 6


@pytest.mark.soak("follow, keep and what is refused")
def test_rows_are_forgotten_and_the_tables_behind_follow_or_keep(orders):
    orders.put(1, *(line(f"a{number}", day=1 + number) for number in range(4)))
    orders.put(2, line("late", day=9))
    assert orders.failing() == {}
    where = ("--where", "order_id = 'a1'")
    dry = lakehouse_json_here(orders.environment, "forget", BRONZE, *where)
    assert (dry["rows"], dry["done"]) == (1, False)
    assert orders.count(BRONZE) == 5
    done = lakehouse_json_here(orders.environment, "forget", BRONZE, *where, "--then", "keep", "--yes")
    assert (done["rows"], done["done"]) == (1, True)
    assert orders.failing() == {}
    assert [orders.count(table) for table in (BRONZE, ORDERS)] == [4, 5]
    orders.put(3, line("new", day=10))
    assert orders.failing() == {}
    assert [orders.count(table) for table in (BRONZE, ORDERS)] == [5, 6]

    # computing it again would lose what it kept: only by name
    lakehouse_json_here(orders.environment, "replay", "--files", file_name(3), "--yes")
    refused = lakehouse_here(orders.environment, "forget", BRONZE, "--where", "order_id = 'a2'", "--yes")
    assert refused.returncode == 1 and "files of bronze.orders_autoloader wait to be loaded again" in refused.stderr
    stopped = lakehouse_here(orders.environment, "ingest")
    assert stopped.returncode == 1
    assert "would lose what it kept" in stopped.stderr
    assert orders.count(ORDERS) == 6
    for _ in range(2):  # for the windows, and for the orders
        stopped = lakehouse_here(orders.environment, "ingest")
        if stopped.returncode:
            follow(orders.environment, stopped.stderr)
    assert orders.failing() == {}
    assert [orders.count(table) for table in (BRONZE, ORDERS)] == [5, 5]

    lakehouse_json_here(orders.environment, "forget", BRONZE, "--where", "order_id = 'a2'", "--then", "follow", "--yes")
    assert orders.failing() == {}
    assert [orders.count(table) for table in (BRONZE, ORDERS, DAILY_REVENUE)] == [4, 4, 4]
    for wrong, why in (
        (("--where", "no_such_column = 1"), "the condition is none for this table"),
        (("--where", "order_id = 'nobody'"), "no row fits"),
        ((), "say which rows"),
        (("--where", "1=1", "--then", "perhaps"), "is no choice"),
    ):
        refused = lakehouse_here(orders.environment, "forget", BRONZE, *wrong)
        assert refused.returncode == 1
        assert why in refused.stderr
        assert "Traceback" not in refused.stderr
    assert (
        "is computed from another table" in lakehouse_here(orders.environment, "forget", SILVER, "--duplicates").stderr
    )


@pytest.mark.soak("RESTORE of what a restart took out")
def test_what_a_restart_takes_out_can_be_restored(orders):
    orders.put(1, line("a1"), line("a2", day=2))
    assert orders.failing() == {}
    dry = lakehouse_here(orders.environment, "checkpoint", "restart", ORDERS)
    (restore,) = re.findall(r"RESTORE TABLE \S+ TO VERSION AS OF \d+", dry.stdout)
    assert orders.count(ORDERS) == 2
    lakehouse_json_here(orders.environment, "checkpoint", "restart", ORDERS, "--yes")
    assert orders.count(ORDERS) == 0
    from lakehouse.engine import connect

    # by path: names of tables are those of one lake an engine, which the suite's tests share
    restore = restore.replace(ORDERS, f"delta.`{orders.lake.settings.table_uri(ORDERS)}`")
    connect(orders.lake).sql(restore).collect()
    assert orders.count(ORDERS) == 2
    lakehouse_json_here(orders.environment, "checkpoint", "restart", ORDERS, "--yes")
    assert orders.failing() == {}
    assert [orders.count(table) for table in (ORDERS, DAILY_REVENUE)] == [2, 2]


def test_no_command_takes_rows_that_nothing_can_write_again(orders, spark):
    """A table that somebody made in a notebook, with a checkpoint that does not fit it."""
    settings = orders.lake.settings
    table, source = "bronze.example", f"s3a://{settings.landing_bucket}/notebook/"
    orders.lake.store.write(settings.landing_bucket, "notebook/a.json", b'{"id": 1}\n{"id": 2}\n')

    def load():
        stream = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json")
        stream = stream.option("cloudFiles.schemaLocation", settings.schema_uri(table)).load(source).drop("_metadata")
        query = stream.writeStream.option("checkpointLocation", settings.checkpoint_uri(table))
        query.trigger(availableNow=True).format("delta").start(settings.table_uri(table)).awaitTermination()

    load()
    for _ in range(2):  # healthy; then without its checkpoint
        for arguments in (("repair", table), ("repair", table, "--yes"), ("restart", table, "--yes")):
            lakehouse_here(orders.environment, "checkpoint", *arguments)
            assert orders.count(table) == 2, arguments
        refused = lakehouse_here(orders.environment, "replay", "--table", table, "--files", "a.json", "--yes")
        assert refused.returncode == 1
        assert f"no table {table} is declared" in refused.stderr
        orders.put(1, line("a1"))
        orders.ingest(BRONZE)
        assert orders.count(table) == 2
        orders.lake.store.delete_prefix(settings.bucket, f"{settings.user}/_checkpoints/{table}/")

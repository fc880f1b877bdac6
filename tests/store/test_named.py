"""Commands that are given the name of a table: one that nobody declared, and one that no run has filled."""

import json

import pytest
from command import lakehouse_here, lakehouse_json_here

from lakehouse.orders.tables import BRONZE, SILVER

COMMANDS = [
    ("files", "--table", "T"),
    ("replay", "--files", "x", "--table", "T"),
    ("quarantine", "--table", "T"),
    ("checkpoint", "show", "T"),
    ("checkpoint", "repair", "T"),
    ("checkpoint", "restart", "T"),
    ("schema", "show", "--table", "T"),
    ("schema", "history", "--table", "T"),
    ("schema", "diff", "0", "--table", "T"),
    ("schema", "approve", "--table", "T"),
    ("schema", "rollback", "0", "--table", "T"),
    ("schema", "promote", "--table", "T"),
    ("schema", "contract", "--table", "T"),
    ("forget", "T", "--already-removed"),
    ("replay-late", "T"),
    ("watermark", "T"),
    ("ingest", "T"),
    ("check", "T"),
    ("stream", "T"),
    ("checkpoint", "size", "T"),
    ("checkpoint", "reset", "T"),
    ("checkpoint", "fork", "T", "bronze.new"),
    ("checkpoint", "fork", BRONZE, "T"),
    ("checkpoint", "backup", "T"),
    ("checkpoint", "restore", "T"),
    ("import-checkpoint", "T", "s3a://elsewhere/checkpoint"),
    ("schema", "export", "T"),
    ("put", __file__, "T"),
    ("doctor", "T"),
    ("checklist", "T"),
    ("alerts", "look", "T"),
    ("events", "enable", "T"),
]
OF_THE_LAKE = [
    ("history", "T"),
    ("detail", "T"),
    ("maintain", "optimize", "T"),
    ("maintain", "vacuum", "T"),
    ("maintain", "retention", "T"),
    ("maintain", "restore-version", "T", "0"),
]
"""Commands about tables that are there, declared or not."""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("table", "said"),
    [("bronze.nobody", "no table bronze.nobody is declared"), ("nobody", "'nobody' is no table name")],
)
def test_a_name_that_is_not_declared_is_told_before_anything_is_started(words, table, said, tmp_path):
    arguments = [table if word == "T" else word for word in words]
    done = lakehouse_here({"LAKEHOUSE_HOME": str(tmp_path / "home")}, *arguments, "--json")
    assert done.returncode == 1
    assert said in json.loads(done.stdout)["what"]
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("words", OF_THE_LAKE, ids=" ".join)
def test_what_is_no_name_of_a_table_is_told_before_anything_is_started(words, tmp_path):
    arguments = ["nobody" if word == "T" else word for word in words]
    done = lakehouse_here({"LAKEHOUSE_HOME": str(tmp_path / "home")}, *arguments, "--json")
    assert done.returncode == 1
    assert "'nobody' is no table name" in json.loads(done.stdout)["what"]
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("words", [COMMANDS[0], COMMANDS[2], COMMANDS[3]], ids=" ".join)
def test_a_named_table_that_no_run_has_filled_is_exit_code_1(words, environment):
    named = lakehouse_here(environment, *(SILVER if word == "T" else word for word in words))
    assert named.returncode == 1
    assert f"{SILVER} is declared, and no run has filled it yet" in named.stderr
    unnamed = [word for word in words if word not in ("T", "--table")]
    done = lakehouse_here(environment, *unnamed)
    assert done.returncode == 0 and f"{BRONZE} is declared, and no run has filled it yet" in done.stdout
    assert lakehouse_json_here(environment, *unnamed)["table"] == BRONZE


def test_a_replay_of_a_table_that_no_run_has_filled_is_exit_code_1(environment):
    done = lakehouse_here(environment, "replay", "--files", "nothing*.json")
    assert done.returncode == 1 and f"{BRONZE} is declared, and no run has filled it yet" in done.stderr


def test_a_state_that_files_cannot_have_is_refused(environment):
    done = lakehouse_here(environment, "files", "--state", "LOST")
    assert done.returncode == 1 and "there is no state LOST" in done.stderr and "QUARANTINED" in done.stderr

"""What the doctor can find and explain is on its page, and every error that is raised can be explained."""

import ast
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
import typer
from minio.commonconfig import DISABLED, ENABLED, AndOperator, Filter, Tags
from minio.lifecycleconfig import Expiration, NoncurrentVersionExpiration, Rule
from typer.testing import CliRunner

from lakehouse.cli import output
from lakehouse.cli.main import app
from lakehouse.doctor.examining import OWN_SIGNS
from lakehouse.doctor.explained import EXPLAINED, explanation_of
from lakehouse.doctor.probes import PROBES, bucket
from lakehouse.errors import LeaseHeld, StreamFailed

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/doctor.md"
SIGNS = [*(sign for probe in PROBES for sign in probe.signs), *OWN_SIGNS]


def row(sign):
    command = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), sign.command)
    return f"| {sign.symptom} | `{sign.name}` ({sign.verdict.value}) | `{command}` |"


def test_the_page_has_each_symptom_with_its_finding_and_its_command():
    section = PAGE.read_text().split("## Symptom, finding, command\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert rows[1:] == [row(sign) for sign in SIGNS]


def test_signs_have_names_of_their_own_and_all_that_a_person_asks():
    names = [sign.name for sign in SIGNS]
    assert len(names) == len(set(names))
    assert [sign.name for sign in SIGNS if not (sign.symptom and sign.why and sign.command)] == []


@cache
def parsed():
    """The classes and calls of the library."""
    trees = (ast.parse(path.read_text()) for path in sorted((ROOT / "lakehouse").rglob("*.py")))
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.Call)]


def errors():
    """Names of all classes of errors that the library raises on purpose."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for node in parsed()
        if isinstance(node, ast.ClassDef)
    }
    found = {"LakehouseError"}
    while more := {name for name, its in bases.items() if its & found} - found:
        found |= more
    return found


def reasons():
    """Why a file is left out."""
    for node in parsed():
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BadFile":
            yield from [node.args[0].value] if isinstance(node.args[0], ast.Constant) else []


def test_every_error_and_every_reason_of_a_file_is_explained():
    assert len(errors()) > 20
    assert sorted(errors() - EXPLAINED.keys()) == []
    assert len(set(reasons())) > 12
    assert sorted(set(reasons()) - EXPLAINED.keys()) == []


def test_an_error_is_known_by_its_class_whatever_its_text_says():
    class OfTomorrow(StreamFailed):
        pass

    assert explanation_of(OfTomorrow("LeaseHeld, AccessDenied")) == EXPLAINED["StreamFailed"]
    assert explanation_of(ValueError("LeaseHeld")) is None


def test_an_explanation_is_printed_and_an_unknown_name_is_refused():
    said = CliRunner().invoke(app, ["explain", "leaseheld"])
    assert said.exit_code == 0
    assert EXPLAINED["LeaseHeld"].command in said.output
    printed = CliRunner().invoke(app, ["explain", "[DELTA_CONCURRENT_APPEND.WITH_PARTITION_HINT]"])
    assert EXPLAINED["DELTA_CONCURRENT_APPEND"].meaning in printed.output
    assert "KILLS_ITS_READER" in CliRunner().invoke(app, ["explain"]).output
    assert CliRunner().invoke(app, ["explain", "nothing"]).exit_code == 1


def test_a_message_names_the_class_that_can_be_explained(capsys):
    with pytest.raises(typer.Exit), output.command(False):
        raise LeaseHeld("bronze.t is being written", next_command="wait")
    assert "  more   lakehouse explain LeaseHeld" in capsys.readouterr().err


def test_looking_imports_no_spark():
    code = "import sys, lakehouse.doctor.examining; assert 'pyspark' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


TAGS = Tags.new_object_tags()
TAGS["kept"] = "no"
OLD = {"expiration": Expiration(days=30)}


@pytest.mark.parametrize(
    ("told", "rule"),
    [
        (True, Rule(ENABLED, **OLD)),
        (True, Rule(ENABLED, rule_filter=Filter(prefix="ann/_journal/"), **OLD)),
        (True, Rule(ENABLED, rule_filter=Filter(prefix="an"), **OLD)),
        (True, Rule(ENABLED, rule_filter=Filter(and_operator=AndOperator(prefix="ann/")), **OLD)),
        (True, Rule(ENABLED, expiration=Expiration(date=datetime(2026, 1, 1, tzinfo=UTC)))),
        (False, Rule(DISABLED, **OLD)),
        (False, Rule(ENABLED, rule_filter=Filter(prefix="landing/"), **OLD)),
        (False, Rule(ENABLED, rule_filter=Filter(and_operator=AndOperator(prefix="tmp/")), **OLD)),
        (False, Rule(ENABLED, rule_filter=Filter(and_operator=AndOperator(prefix="ann/", tags=TAGS)), **OLD)),
        (False, Rule(ENABLED, expiration=Expiration(expired_object_delete_marker=True))),
        (False, Rule(ENABLED, noncurrent_version_expiration=NoncurrentVersionExpiration(3))),
    ],
)
def test_of_the_rules_of_a_bucket_those_are_told_that_remove_what_a_lake_lives_by(told, rule):
    assert (bucket._removes(rule) and bucket._reaches(rule, "ann")) is told

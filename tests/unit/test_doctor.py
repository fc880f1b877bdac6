"""What the doctor can find and explain is on its page, and every error that is raised can be explained."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from lakehouse.cli.main import app
from lakehouse.doctor.examining import OWN_SIGNS
from lakehouse.doctor.explained import EXPLAINED, explanation_of
from lakehouse.doctor.probes import PROBES
from lakehouse.errors import StreamFailed

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


def raised():
    """Names of the classes of errors in the library, and of the reasons for which a file is left out."""
    for path in sorted((ROOT / "lakehouse").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BadFile":
                first = node.args[0]
                yield from [first.value] if isinstance(first, ast.Constant) else []


def kinds(cls):
    for kind in cls.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_error_and_every_reason_of_a_file_is_explained():
    import importlib
    import pkgutil

    import lakehouse
    from lakehouse.errors import LakehouseError

    for one in pkgutil.walk_packages(lakehouse.__path__, "lakehouse."):
        if not one.name.startswith(("lakehouse.dagster", "lakehouse.orders", "lakehouse.engine.in_process")):
            importlib.import_module(one.name)
    named = {kind.__name__ for kind in kinds(LakehouseError) if kind.__module__.startswith("lakehouse.")}
    assert len(named) > 20
    assert sorted(named - EXPLAINED.keys()) == []
    reasons = set(raised())
    assert len(reasons) > 12
    assert sorted(reasons - EXPLAINED.keys()) == []


def test_an_error_is_known_by_its_class_whatever_its_text_says():
    class OfTomorrow(StreamFailed):
        pass

    assert explanation_of(OfTomorrow("LeaseHeld, AccessDenied")) == EXPLAINED["StreamFailed"]
    assert explanation_of(ValueError("LeaseHeld")) is None


def test_an_explanation_is_printed_and_an_unknown_name_is_refused():
    said = CliRunner().invoke(app, ["explain", "leaseheld"])
    assert said.exit_code == 0
    assert EXPLAINED["LeaseHeld"].command in said.output
    assert "KILLS_ITS_READER" in CliRunner().invoke(app, ["explain"]).output
    assert CliRunner().invoke(app, ["explain", "nothing"]).exit_code == 1


def test_looking_imports_no_spark():
    code = "import sys, lakehouse.doctor.examining; assert 'pyspark' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

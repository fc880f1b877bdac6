"""Long tests are listed in docs/testing.md, each with what it adds over its short sibling."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTED = dict(re.findall(r"^\| `(tests/\S+::\w+)` \| (.+?) \|", (ROOT / "docs/testing.md").read_text(), re.MULTILINE))


def marks(path):
    """Names of the long tests of a file, and the words of their marks."""
    for node in ast.parse(path.read_text()).body:
        for mark in getattr(node, "decorator_list", ()):
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.soak":
                yield f"{path.relative_to(ROOT)}::{node.name}", ast.literal_eval(mark.args[0])


def test_the_document_lists_the_long_tests_with_their_own_words():
    found = dict(mark for path in sorted((ROOT / "tests").rglob("test_*.py")) for mark in marks(path))
    assert found
    assert found == LISTED


@pytest.mark.parametrize("words", ["", "()"], ids=["none", "empty"])
def test_a_long_test_that_does_not_say_what_it_adds_stops_the_suite(pytester, words):
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    pytester.mkdir("unit").joinpath("test_a.py").write_text(
        f"import pytest\n@pytest.mark.soak{words}\ndef test_long(): pass\n"
    )
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines("*test_long: soak has to say what it adds*")


def test_a_run_has_the_long_tests_or_the_others(pytester):
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    pytester.mkdir("unit").joinpath("test_a.py").write_text(
        "import pytest\n@pytest.mark.soak('more')\ndef test_long(): pass\ndef test_short(): pass\n"
    )
    for options, chosen in (((), "test_short"), (("--soak",), "test_long")):
        done = pytester.runpytest_inprocess("-v", "-p", "no:cacheprovider", *options)
        done.assert_outcomes(passed=1, deselected=1)
        done.stdout.fnmatch_lines(f"*::{chosen} PASSED*")

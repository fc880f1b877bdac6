"""The mutations fit the library and the tests as they are now; running them takes minutes: tests/mutations.py."""

import re
from pathlib import Path

import pytest
from mutations import MUTATIONS, judged

ROOT = Path(__file__).resolve().parents[2]
PROMISES = (
    *("journal", "transaction", "late", "rescue", "lease"),
    *("split", "schema", "quarantine", "replay", "checkpoint"),
)
each = pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)


def test_each_promise_is_broken_once():
    assert tuple(mutation.name for mutation in MUTATIONS) == PROMISES


@each
def test_a_mutation_changes_one_place_of_the_library(mutation):
    text = (ROOT / mutation.file).read_text()
    assert mutation.file.startswith("lakehouse/")
    assert text.count(mutation.old) == 1
    assert mutation.new != mutation.old
    compile(text.replace(mutation.old, mutation.new), mutation.file, "exec")


@each
def test_the_tests_of_a_mutation_are_there(mutation):
    assert mutation.tests
    for node in mutation.tests:
        file, _, function = node.partition("::")
        text = (ROOT / file).read_text()
        assert not function or re.search(rf"^def {function}\(", text, re.MULTILINE), node


@pytest.mark.parametrize(
    ("code", "output", "verdict"),
    [
        (0, "3 passed", "MISSED"),
        (1, "FAILED tests/a.py::test_b[c d] - assert 1 == 2\n1 failed", "caught"),
        (1, "FAILED tests/a.py::test_b\n1 failed", "caught"),
        (1, "FAILED tests/a.py::test_b - NameError: name 'c' is not defined\n1 failed", "ERROR"),
        (1, "ERROR tests/a.py::test_b - the fixture failed\n1 error", "ERROR"),
        (2, "ERROR tests/a.py\n1 error during collection", "ERROR"),
        (4, "ERROR: file or directory not found: tests/a.py", "ERROR"),
        (5, "no tests ran", "ERROR"),
    ],
)
def test_only_a_test_that_failed_caught_something(code, output, verdict):
    assert judged(code, output)[0] == verdict

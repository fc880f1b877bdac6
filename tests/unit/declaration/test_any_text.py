"""Whatever somebody writes into the file: it is a catalogue, or a list of problems with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.declaration import DeclarationInvalid
from lakehouse.declaration.reading import catalogue_of
from lakehouse.settings import Settings

LINES = (Path(__file__).resolve().parents[3] / "lakehouse.yaml").read_text().splitlines()
PIECES = [*"}*'\"[]{#|>\t\x07é5", "${", "&a ", "<<: ", "- ", ": ", "!x ", "null", "{}", "[]", "on", "---"]
PIECES += ["files: ", "checks: ", "bronze.orders_autoloader", "of: gold.daily_revenue"]


@st.composite
def changed(draw):
    """The tables of the project with some lines taken away, doubled, swapped or spoilt."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "swap", "indent", "insert", "cut"])):
            case "drop":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
            case "indent":
                lines[at] = " " * draw(st.integers(0, 12)) + lines[at].lstrip()
            case "insert":
                place = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:place] + draw(st.sampled_from(PIECES)) + lines[at][place:]
            case "cut":
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
    return "\n".join(lines)


def assert_is_read_or_refused(text):
    try:
        made = catalogue_of(text.encode(), Settings.load())
    except DeclarationInvalid as error:
        assert all(1 <= problem.line <= text.count("\n") + 1 and problem.what for problem in error.problems)
    else:
        places = {name: place for place, name in enumerate(made.names)}
        assert all(places[source] < places[table.name] for table in made for source in table.flow.reads)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(changed())
def test_a_spoilt_declaration_is_read_or_refused_with_lines_of_the_file(text):
    assert_is_read_or_refused(text)


@pytest.mark.soak("fifty times as many files that are spoilt")
@settings(max_examples=5_000, suppress_health_check=[HealthCheck.too_slow])
@given(changed())
def test_many_spoilt_declarations_are_read_or_refused(text):
    assert_is_read_or_refused(text)


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(content):
    try:
        catalogue_of(content, Settings.load())
    except DeclarationInvalid as error:
        assert error.problems

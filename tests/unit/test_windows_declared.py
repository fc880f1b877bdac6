"""What a declaration of windows may say, and what follows from it."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.flows.latest import Latest
from lakehouse.flows.windows import Windows
from lakehouse.late import table_of_windows
from lakehouse.table import Catalogue, Table

READINGS = "bronze.readings"


def windows(**fields):
    return Windows.model_validate({"of": READINGS, "event_time": "at", "window": "5 minutes", **fields})


def catalogue(*names, **fields):
    readings = Table(READINGS, Files(path="s3a://landing/readings/", hints={"celsius": "DOUBLE"}))
    return Catalogue((readings, *(Table(name, windows(**fields)) for name in names)), "a.yaml")


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"window": None}, "either window or session_gap"),
        ({"window": "500 milliseconds"}, "one second or longer"),
        ({"slide": "10 minutes"}, "slide is longer than window"),
        ({"session_gap": "1 minute", "slide": "1 minute"}, "exclude each other"),
        ({"session_gap": "1 minute", "output_mode": "update"}, "no session windows in that mode"),
        ({"watermark": "365 days", "window": "1 minute"}, "525,601 windows open at a time for each key"),
        ({"keys": ["sensor", "Sensor"]}, "one name: Sensor, sensor"),
        ({"keys": "window_start"}, "one name: window_start"),
        ({"aggregates": {"Event_Time": "max(at)"}}, "one name: Event_Time, event_time"),
        ({"keys": "n", "aggregates": {"n": "count(*)"}}, "one name: n"),
        ({"aggregates": {"row_count": "count(celsius)"}}, "row_count is the name of the number of rows"),
        ({"duplicates": "drop"}, "needs row_key"),
        ({"watermark": "soon"}, "is no length of time"),
    ],
)
def test_windows_that_cannot_be_are_refused_with_the_reason(fields, what):
    with pytest.raises(ValidationError) as refused:
        windows(**fields)
    assert what in str(refused.value)


@pytest.mark.parametrize(
    ("aggregates", "counted"),
    [
        ({}, "row_count"),
        ({"mean": "avg(celsius)"}, "row_count"),
        ({"mean": "avg(celsius)", "n": " COUNT( * ) "}, "n"),
        ({"n": "count( 1 )", "again": "count(*)"}, "n"),
        ({"known": "count(celsius)", "warm": "count(*) FILTER (WHERE celsius > 20)"}, "row_count"),
    ],
)
def test_one_aggregate_always_counts_the_rows(aggregates, counted):
    made = windows(aggregates=aggregates)
    assert made.counted_column == counted
    assert list(made.aggregates)[: len(aggregates)] == list(aggregates), "what was declared comes first"
    assert set(made.aggregates) - set(aggregates) <= {"row_count"}


def test_a_session_gap_takes_the_place_of_a_window():
    sessions = windows(session_gap="4 minutes")
    assert (sessions.length, windows().length) == (None, timedelta(minutes=5))
    assert sessions.definition()["session_gap"] == "4 minutes"


@pytest.mark.parametrize(("word", "source"), [("bronze", "table"), ("cloudFiles", "files"), ("files", "files")])
def test_the_source_has_two_words_for_each_choice(word, source):
    assert windows(source=word).source == source


def test_the_definition_changes_with_all_that_shapes_the_state_and_with_nothing_else():
    begun = windows(keys="sensor", aggregates={"low": "min(celsius)", "high": "max(celsius)"})
    for same in ({"watermark": "1 hour"}, {"max_files_per_trigger": 5}, {"row_key": "id"}):
        assert begun.model_copy(update=windows(**same).model_dump(include=set(same))).definition() == begun.definition()
    for other in (
        {"aggregates": {"high": "max(celsius)", "low": "min(celsius)"}},
        {"aggregates": {"low": "min(celsius)", "high": "max(fahrenheit)"}},
        {"keys": ["sensor", "place"]},
        {"window": timedelta(minutes=1)},
        {"duplicates": "drop", "row_key": ["id"]},
    ):
        changed = {"keys": begun.keys, "aggregates": begun.aggregates, **other}
        assert windows(**changed).definition() != begun.definition(), other


def test_columns_that_are_read_are_those_that_keys_times_and_expressions_name():
    made = windows(
        keys="Sensor",
        aggregates={"mean": "avg(celsius)", "n": "count(*)"},
        refuse={"broken": "`a b` IS NULL OR state = 'broken'"},
    )
    columns = ("sensor", "at", "Celsius", "celsius_raw", "a b", "state", "note", "expected")
    assert made.reads_columns(("expected",), columns) == {"sensor", "at", "Celsius", "a b", "state", "expected"}
    assert windows(aggregates={"any": "max(struct(*))"}).reads_columns((), columns) is None
    assert windows(aggregates={"any": "max(celsius * 2)"}).reads_columns((), columns) == {"at", "Celsius"}


def test_a_source_without_declared_columns_makes_no_row_an_invalid_one():
    declared = catalogue("silver.a")
    assert declared["silver.a"].flow.expected(declared) == ("celsius",)
    of_latest = Catalogue(
        (
            Table("silver.newest", Latest(of=READINGS, key="sensor")),
            Table("gold.a", windows(of="silver.newest")),
        )
    )
    assert of_latest["gold.a"].flow.expected(of_latest) == ()


def test_the_only_table_of_windows_needs_no_name_and_of_several_one_has_to_be_named():
    assert table_of_windows(catalogue("silver.a")).name == "silver.a"
    several = catalogue("silver.a", "silver.b")
    assert table_of_windows(several, "silver.b").name == "silver.b"
    for name, what in (
        (None, "none was named"),
        (READINGS, f"no table of windows {READINGS}"),
        ("silver.c", "silver.c"),
    ):
        with pytest.raises(ConfigurationError, match=what) as refused:
            table_of_windows(several, name)
        assert refused.value.next_command == "name one of: silver.a, silver.b"
    with pytest.raises(ConfigurationError, match="no table of windows is declared"):
        table_of_windows(catalogue())

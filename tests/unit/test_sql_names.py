"""Names of three parts, and the states of files, in a query."""

import pytest

from lakehouse.cli.output import in_lake as named_in_lake
from lakehouse.errors import ConfigurationError
from lakehouse.settings import Settings
from lakehouse.sql_names import in_lake
from lakehouse.table import Catalogue
from lakehouse.table_names import require_name

CATALOGS = "lakehouse,main,prod.sales=silver"


@pytest.fixture
def settings(tmp_path):
    return Settings.load(home=tmp_path, catalogs=CATALOGS)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("bronze.orders", "bronze.orders"),
        ("main.bronze.orders", "bronze.orders"),
        ("MAIN.Bronze.orders", "bronze.orders"),
        ("prod.sales.orders", "silver.orders"),
        ("Sales.orders", "silver.orders"),
        ("raw.orders", "raw.orders"),
        ("orders", "orders"),
        ("a.b.c.d", "a.b.c.d"),
    ],
)
def test_a_name_of_three_parts_is_a_table_of_a_layer(settings, given, name):
    assert settings.table_name(given) == name


@pytest.mark.parametrize(
    ("given", "what", "entry"),
    [
        ("dev.bronze.orders", "it has no catalog dev", "add dev to"),
        ("dev.raw.orders", "it has no catalog dev", "add dev.raw=bronze to"),
        ("main.raw.orders", "its catalog main has no schema raw", "add main.raw=bronze to"),
    ],
)
def test_a_catalog_that_nobody_knows_is_an_error_that_says_how_it_is_told(settings, given, what, entry):
    with pytest.raises(ConfigurationError, match=what) as caught:
        settings.table_name(given)
    assert caught.value.where == f"LAKEHOUSE_CATALOGS={CATALOGS}"
    assert entry in caught.value.next_command
    for looks in (require_name, Catalogue().__getitem__):
        with pytest.raises(ConfigurationError) as caught:
            looks(given)
        assert "LAKEHOUSE_CATALOGS" in caught.value.next_command


def test_a_schema_that_two_catalogs_make_different_layers_says_nothing_alone(tmp_path):
    settings = Settings.load(
        home=tmp_path, catalogs="dev.sales=bronze,prod.sales=silver,dev.raw=bronze,prod.raw=bronze"
    )
    assert [settings.table_name(name) for name in ("sales.a", "raw.a")] == ["sales.a", "bronze.a"]


@pytest.mark.parametrize("catalogs", ["", "main,", "main.sales", "main.sales=copper", "main=bronze", "a b"])
def test_what_names_no_catalogs_is_refused(tmp_path, catalogs):
    with pytest.raises(ConfigurationError, match="LAKEHOUSE_CATALOGS"):
        Settings.load(home=tmp_path, catalogs=catalogs)


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("SELECT * FROM main.bronze.orders", "SELECT * FROM bronze.orders"),
        ('FROM "main" . "bronze"."or""ders" o', 'FROM bronze."or""ders" o'),
        ("SELECT prod.sales.t.id FROM prod.sales.t", "SELECT silver.t.id FROM silver.t"),
        ("SELECT 'main.bronze.x' -- main.bronze.y\nFROM main.bronze.z", None),
        ("SELECT o.place.city FROM bronze.orders o", "SELECT o.place.city FROM bronze.orders o"),
        ("SELECT 'Łódź', x.main.bronze.city FROM x", "SELECT 'Łódź', x.main.bronze.city FROM x"),
        ("SELECT 'Łódź' AS ó FROM main.gold.ż", "SELECT 'Łódź' AS ó FROM gold.ż"),
        ("FROM dev.bronze.orders", "FROM dev.bronze.orders"),
    ],
)
def test_names_of_tables_are_the_lake_s_and_all_else_stays(settings, query, meant):
    meant = meant or query.replace("FROM main.", "FROM ")
    assert in_lake(query, settings, pytest.fail, pytest.fail) == meant


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        ("cloud_files_state(TABLE(main.bronze.orders))", "bronze.orders"),
        ("CLOUD_FILES_STATE ( table ( bronze.orders ) )", "bronze.orders"),
        ("cloud_files_state('s3a://lake/it''s')", "s3a://lake/it's"),
    ],
)
def test_the_states_of_files_are_a_relation(settings, call, asked):
    found = []
    query = in_lake(
        f"SELECT path FROM {call} s WHERE s.rows > 1", settings, lambda said: found.append(said) or '"r"', pytest.fail
    )
    assert (found, query) == ([asked], 'SELECT path FROM "r" s WHERE s.rows > 1')


@pytest.mark.parametrize(
    "call", ["cloud_files_state()", "cloud_files_state(bronze.orders)", "cloud_files_state(TABLE(1))"]
)
def test_states_of_something_else_are_refused_with_an_example(settings, call):
    with pytest.raises(ConfigurationError, match="takes a table") as caught:
        in_lake(f"FROM {call}", settings, str, str)
    assert "TABLE(bronze.orders)" in caught.value.next_command


@pytest.mark.parametrize(
    ("call", "path", "options"),
    [
        ("read_files('s3a://b/it''s/', format => 'json')", "s3a://b/it's/", {"format": "json"}),
        (
            "READ_FILES ( path => 's3a://b/' , format := 'csv',header=>TRUE)",
            "s3a://b/",
            {"format": "csv", "header": "true"},
        ),
        ("read_files('x' /* , 1 */, maxColumns => -1, \"sep\" => ',')", "x", {"maxColumns": "-1", "sep": ","}),
        ("read_files('x')", "x", {}),
    ],
)
def test_the_rows_of_files_are_a_relation(settings, call, path, options):
    found = []
    query = in_lake(f"SELECT r.id FROM {call} r, main.gold.b", settings, str, lambda *said: found.append(said) or '"r"')
    assert (found, query) == ([(path, options)], 'SELECT r.id FROM "r" r, gold.b')


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "format => 'json'",
        "'x', 'json'",
        "'x', format => 'json', FORMAT => 'csv'",
        "'x', format => 'a' || 'b'",
        "'x', a =>",
        "'x',",
        "'x' format => 'json'",
        "x",
        "'x', a => NULL",
        "'x', a => (SELECT 1)",
    ],
)
def test_files_that_are_asked_for_otherwise_are_refused_with_an_example(settings, arguments):
    for closed in (")", ""):
        with pytest.raises(ConfigurationError, match="takes a path") as caught:
            in_lake(f"FROM read_files({arguments}{closed}", settings, str, pytest.fail)
        assert "format => 'csv'" in caught.value.next_command


def test_arguments_of_commands_are_names_of_the_lake(monkeypatch):
    monkeypatch.setenv("LAKEHOUSE_CATALOGS", CATALOGS)
    given = ["main.bronze.orders", "dev.bronze.orders", "s3a://b/a.b.c", None]
    assert named_in_lake(given) == ["bronze.orders", *given[1:]]

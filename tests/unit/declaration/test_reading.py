"""What ``read_catalogue`` makes of a declaration that is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from declaration_texts import FILES, WINDOWS, only_problem, problems_of, table

from lakehouse.declaration import read_catalogue
from lakehouse.flows.files import Files
from lakehouse.flows.latest import Latest
from lakehouse.settings import Settings
from lakehouse.table import CHECKS


def test_every_key_of_a_table_is_read(read) -> None:
    [made] = read(
        """
tables:
  bronze.orders:
    description: Orders
    owners: [team:data, somebody@example.com]
    freshness: 2 hours
    after_removals: keep
    on_demand: true
    retention: {column: at, keep: 90 days, then: follow}
    files: {path: s3a://landing/orders/, format: csv, schema: {id: BIGINT, city: STRING}}
    checks:
      - one_row_each: id
        name: ids_are_single
        on_failure: warn
      - plausible_rows
"""
    )
    assert (made.name, made.description, made.owners, made.line) == (
        "bronze.orders",
        "Orders",
        ("team:data", "somebody@example.com"),
        3,
    )
    assert made.freshness is not None and made.freshness.total_seconds() == 7200
    assert (made.after_removals, made.on_demand) == ("keep", True)
    assert made.retention is not None and made.retention.model_dump(mode="json") == {
        "column": "at",
        "keep": "P90D",
        "then": "follow",
    }
    assert isinstance(made.flow, Files)
    assert (made.flow.format, made.flow.columns) == ("csv", "id BIGINT, city STRING")
    assert [(check.called, check.kind, check.blocking) for check in made.checks[:2]] == [
        ("ids_are_single", "one_row_each", False),
        ("plausible_rows", "plausible_rows", True),
    ]
    assert made.checks[0].columns == ("id",)  # type: ignore[attr-defined]


def test_whoever_is_read_comes_before_its_readers_and_else_the_order_is_the_files(read) -> None:
    made = read(f"""
tables:
  gold.z: {{rollup: {{of: silver.m, group: {{day: day}}, aggregates: {{n: count(*)}}}}}}
  silver.m: {{latest: {{of: bronze.b, key: id}}}}
  bronze.c: {FILES}
  bronze.b: {{files: {{path: s3a://landing/b/}}}}
  bronze.a: {{files: {{path: s3a://landing/a/}}}}
""")
    assert made.names == ("bronze.c", "bronze.b", "silver.m", "gold.z", "bronze.a")


def test_anchors_and_merge_keys_are_followed_and_own_keys_win(read) -> None:
    made = read(f"""
x-shared: &shared {{key: id, order: [version]}}
x-more: &more {{order: never, change_data_feed: false}}
tables:
  bronze.src: {FILES}
  silver.a: {{latest: {{<<: [*shared, *more], of: bronze.src, key: other}}}}
""")
    flow = made["silver.a"].flow
    assert isinstance(flow, Latest)
    assert (flow.key, flow.order, flow.change_data_feed) == (("other",), ("version",), False)


def test_off_on_and_dates_without_quotes_stay_words(read) -> None:
    made = read(table("latest: {of: bronze.src, key: on, event_time: {column: t, earliest: 2001-02-03}}"))
    flow = made["silver.a"].flow
    assert isinstance(flow, Latest) and flow.event_time is not None
    assert (flow.key, str(flow.event_time.earliest)) == (("on",), "2001-02-03")
    body = "latest: {of: bronze.src, key: id}\nchecks: [{plausible_rows: , on_failure: off}]"
    assert read(table(body))["silver.a"].checks[0].on_failure == "off"


def test_the_old_words_of_settings_are_understood(read) -> None:
    body = "windows: {of: bronze.src, event_time: t, window: 5 minutes, source: '${OLD}'}\n"
    body += "checks: [{plausible_rows: , on_failure: drop}]"
    for old, new in {"bronze": "table", "cloudFiles": "files", "files": "files"}.items():
        made = read(table(body), OLD=old)["silver.a"]
        assert made.flow.source == new  # type: ignore[attr-defined]
        assert made.checks[0].on_failure == "warn"


def test_a_check_that_the_flow_brings_is_replaced_by_a_declared_one_of_its_kind(read, monkeypatch) -> None:
    monkeypatch.setattr(Latest, "default_checks", lambda self: (CHECKS["plausible_rows"](),))
    body = "latest: {of: bronze.src, key: id}\n"
    assert [check.called for check in read(table(body))["silver.a"].checks] == ["plausible_rows"]
    own = "checks: [{plausible_rows: {max_share: 0.5}, name: mine}]"
    assert [check.called for check in read(table(body + own))["silver.a"].checks] == ["mine"]
    clash = "checks: [{one_row_each: id, name: plausible_rows}]"
    line, said = only_problem(read, table(body + clash))
    assert line == 3 and "named plausible_rows" in said


def test_a_file_without_tables_is_an_empty_catalogue(read) -> None:
    for text in ("", "# nothing yet\n", "tables:\n", "x-a: 1\ntables: {}\n"):
        assert read(text).tables == ()


def test_the_catalogue_names_the_file_as_its_reader_knows_it(read, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read("tables:\n").where == "lakehouse.yaml"


# variables


def test_variables_come_from_settings_then_the_environment_then_the_default(read, monkeypatch) -> None:
    text = "tables:\n  bronze.a: {files: {path: 's3a://${LAKEHOUSE_LANDING_BUCKET:-x}/${A:-d}/'}}"

    def path(**given: str) -> str:
        return read(text, **given)["bronze.a"].flow.path  # type: ignore[attr-defined]

    assert path() == "s3a://landing/d/"
    monkeypatch.setenv("A", "env")
    assert path() == "s3a://landing/env/"
    assert path(A="given", LAKEHOUSE_LANDING_BUCKET="other") == "s3a://other/given/"
    monkeypatch.setenv("A", "")
    assert path() == "s3a://landing/d/"
    assert read(text).variables == {"LAKEHOUSE_LANDING_BUCKET", "A"}


def test_settings_of_every_type_fill_a_variable(read, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LAKEHOUSE_SPARK_UI", "1")
    text = "tables:\n  bronze.a: {description: '${LAKEHOUSE_SPARK_UI}, ${LAKEHOUSE_HOME}', files: {path: s3a://a/b/}}"
    assert read(text)["bronze.a"].description == f"true, {Path('.lakehouse').absolute()}"


def test_numbers_booleans_and_choices_may_be_variables(read) -> None:
    body = """\
on_demand: ${B}
latest:
  of: bronze.src
  key: id
  change_data_feed: ${B}
checks: [{plausible_rows: {max_share: "${S:-0.25}"}, on_failure: "${F:-warn}"}]"""
    made = read(table(body), B="false")["silver.a"]
    assert (made.on_demand, made.flow.change_data_feed) == (False, False)  # type: ignore[attr-defined]
    assert (made.checks[0].max_share, made.checks[0].on_failure) == (0.25, "warn")  # type: ignore[attr-defined]


def test_a_variable_of_the_wrong_type_is_told_where_it_is_asked_for(read) -> None:
    body = "latest:\n  of: bronze.src\n  key: id\n  change_data_feed: ${B}"
    line, said = only_problem(read, table(body), B="perhaps")
    assert line == 7 and "change_data_feed in latest of silver.a is 'perhaps'" in said


def test_a_value_that_becomes_empty_is_as_if_nobody_had_written_it(read) -> None:
    body = "windows: {of: bronze.src, event_time: t, window: 5 minutes, slide: '${S:-}', watermark: '${W:-}'}"
    flow = read(table(body))["silver.a"].flow
    assert flow.slide is None and flow.watermark.total_seconds() == 600  # type: ignore[attr-defined]


def test_two_dollar_signs_keep_the_text_of_a_variable(read) -> None:
    made = read("tables:\n  bronze.a: {description: 'costs $${PRICE} or $5', files: {path: s3a://a/b/}}")
    assert made["bronze.a"].description == "costs ${PRICE} or $5"


def test_a_variable_that_is_not_set_and_has_no_default_is_told_with_its_line(read, monkeypatch) -> None:
    monkeypatch.delenv("NOWHERE_SET", raising=False)
    line, said = only_problem(read, "tables:\n  bronze.a:\n    files:\n      path: s3a://x/${NOWHERE_SET}/")
    assert (line, "NOWHERE_SET is not set" in said) == (4, True)


@pytest.mark.parametrize("name", ["LAKEHOUSE_S3_SECRET_KEY", "LAKEHOUSE_SPARK_REMOTE", "AWS_SECRET_ACCESS_KEY"])
def test_a_secret_is_refused_and_never_shown(read, monkeypatch, name) -> None:
    if name.startswith("AWS"):
        monkeypatch.setenv(name, "hunter2")
    line, said = only_problem(read, f"tables:\n  bronze.a:\n    files: {{path: 's3a://x/${{{name}:-}}/'}}")
    assert line == 3 and f"{name} is a secret" in said and "hunter2" not in said


@pytest.mark.parametrize("written", ["${}", "${a-b}", "${A:-${B:-c}}", "${OPEN"])
def test_what_looks_like_a_variable_and_is_none_is_told(read, written) -> None:
    problems = problems_of(read, f"tables:\n  bronze.a:\n    files:\n      path: 's3a://x/{written}'")
    assert problems[0][0] == 4 and "is no variable: write ${NAME} or ${NAME:-default}" in problems[0][1]


# kept


def test_the_same_catalogue_comes_back_until_the_file_or_a_variable_changes(read, tmp_path, monkeypatch) -> None:
    text = "tables:\n  bronze.a: {files: {path: 's3a://a/${A:-d}/'}}"
    first = read(text)
    assert read(text) is first
    settings = Settings.load(declaration=tmp_path / "lakehouse.yaml")
    assert all(read_catalogue(settings) is first for _ in range(1000))
    monkeypatch.setenv("A", "other")
    second = read(text)
    assert second is not first and second["bronze.a"].flow.path == "s3a://a/other/"  # type: ignore[attr-defined]
    assert read(text + "\n# a comment\n") is not second
    assert read(text, A="third") is not second


def test_two_hundred_tables_in_a_file_are_read(read) -> None:
    rows = ["tables:"]
    for number in range(100):
        rows += [f"  bronze.t{number}: {{files: {{path: s3a://a/t{number}/}}, checks: [one_row_each: id]}}"]
        rows += [f"  silver.t{number}: {{latest: {{of: bronze.t{number}, key: id}}}}"]
    made = read("\n".join(rows))
    assert len(made.tables) == 200
    assert made.names[:2] == ("bronze.t0", "silver.t0")


def test_reading_imports_no_module_that_a_table_names(read) -> None:
    made = read(table("python: {of: bronze.src, function: there_is_no_such_module:f}"))
    assert made["silver.a"].flow.function == "there_is_no_such_module:f"  # type: ignore[attr-defined]


def test_a_table_of_files_may_be_in_any_layer(read) -> None:
    assert read(f"tables:\n  gold.prices: {FILES}\n").names == ("gold.prices",)


def test_a_session_gap_beside_a_window_makes_sessions(read) -> None:
    flow = read(table(f"{WINDOWS}  window: 5 minutes\n  session_gap: 1 minute"))["silver.a"].flow
    assert flow.session_gap.total_seconds() == 60  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("SELECT * FROM main.silver.b", "SELECT * FROM silver.b"),
        ("SELECT Main.`bronze`.src.id FROM main.bronze.src, sales.b", "SELECT bronze.src.id FROM bronze.src, silver.b"),
        ("SELECT 1 FROM sales.b JOIN prod.sales.b AS o ON extract(DAY FROM o.x.y) IS DISTINCT FROM o.a.z", None),
        ("SELECT sales.id FROM silver.b AS sales", "SELECT sales.id FROM silver.b AS sales"),
        ("SELECT 'main.silver.b' FROM delta.`s3a://a/b.c`, v", "SELECT 'main.silver.b' FROM delta.`s3a://a/b.c`, v"),
        ("SELECT FROM main.silver.b FROM", "SELECT FROM main.silver.b FROM"),
    ],
)
def test_tables_are_named_in_of_and_in_a_query_as_elsewhere(read, monkeypatch, query, meant) -> None:
    monkeypatch.setenv("LAKEHOUSE_CATALOGS", "main,prod.sales=silver")
    made = read(
        f"""
tables:
  bronze.src: {FILES}
  silver.b: {{latest: {{of: main.bronze.src, key: id}}}}
  gold.c: {{sql: {{of: [sales.b, main.bronze.src], query: {json.dumps(query)}}}}}
"""
    )
    [flow] = [entry.flow for entry in made if entry.name == "gold.c"]
    meant = meant or query.replace("prod.sales", "silver").replace("FROM sales", "FROM silver")
    assert (flow.reads, flow.query) == (("silver.b", "bronze.src"), meant)


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        ("sql: {of: dev.bronze.src, query: x}", "it has no catalog dev, where LAKEHOUSE_CATALOGS="),
        ("sql: {of: bronze.src, query: SELECT * FROM dev.raw.t}", "add dev.raw=bronze to LAKEHOUSE_CATALOGS"),
        ("sql: {of: bronze.src, query: SELECT * FROM raw.t}", "raw.t names no table of the lake"),
        ("latest: {of: main.raw.t, key: id}", "main.raw.t names no table of the lake: it has no catalog main"),
    ],
)
def test_a_table_of_elsewhere_that_nobody_knows_is_told_with_the_catalogs(read, flow, said) -> None:
    line, told = only_problem(read, table(flow))
    assert line == 4 and said in told and "lakehouse,spark_catalog" in told

"""``docs/declaration.md`` and the JSON Schema say what the models have."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from open_data_contract_standard.model import OpenDataContractStandard

from lakehouse.contract.reading import read
from lakehouse.declaration import json_schema, read_catalogue
from lakehouse.declaration.models import key_names
from lakehouse.declaration.tables import TableKeys
from lakehouse.flows.judged import EventTime
from lakehouse.settings import Settings
from lakehouse.table import CHECKS, FLOWS, Alerting, Check

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "declaration.md").read_text()
*EXAMPLES, CONTRACT = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
BESIDE = key_names(Check)


@pytest.fixture(autouse=True)
def own_kinds(monkeypatch):
    """Kinds of the project alone: other tests may have made some."""
    for known in (FLOWS, CHECKS):
        for kind, model in list(known.items()):
            if not model.__module__.startswith("lakehouse."):
                monkeypatch.delitem(known, kind)


def keys_of(what: str) -> list[str]:
    [table] = re.findall(rf"\| key of {what} \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE)
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_the_page_has_every_flow_with_every_key_and_no_other():
    told = set(re.findall(r"\| key of (\w+) \|", PAGE))
    assert told - {"a", "every", "event_time", "alerts"} == set(FLOWS)
    for kind, model in FLOWS.items():
        assert sorted(keys_of(kind)) == sorted(key_names(model)), kind


def test_the_page_has_every_key_of_a_table_of_alerts_of_event_time_and_of_a_check():
    assert sorted(keys_of("a table")) == sorted([*key_names(TableKeys), "checks"])
    assert sorted(keys_of("alerts")) == sorted(key_names(Alerting))
    assert sorted(keys_of("event_time")) == sorted(key_names(EventTime))
    assert sorted(keys_of("every check")) == sorted(BESIDE)


def test_the_page_has_every_check_with_its_keys_and_what_its_failure_does():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .* \| (block|warn) \|$", PAGE, re.MULTILINE)
    assert sorted(kind for kind, _, _ in rows) == sorted(CHECKS)
    for kind, told, reaction in rows:
        model = CHECKS[kind]
        assert sorted(re.findall(r"`(\w+)`", told)) == sorted(set(key_names(model)) - set(BESIDE)), kind
        assert re.findall(r"\*\*`(\w+)`\*\*", told) == ([model.main] if model.main else []), kind
        assert reaction == ("block" if model.blocks else "warn"), kind


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_page_are_valid(example, tmp_path):
    path = tmp_path / "lakehouse.yaml"
    path.write_text(example)
    assert read_catalogue(Settings.load(declaration=path)).tables
    assert list(VALIDATOR.iter_errors(yaml.safe_load(example))) == []


def test_the_contract_of_the_page_is_of_the_standard_and_is_read():
    document = yaml.safe_load(CONTRACT)
    jsonschema.validate(document, json.loads(OpenDataContractStandard.json_schema()))
    pinned = read(CONTRACT, document["id"])
    assert (pinned.key, pinned.required) == (("customer_id",), ("country",))
    assert pinned.columns["address.city"] == "string"


VALIDATOR = jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / "lakehouse.schema.json").read_text()))
DECLARED = yaml.safe_load((ROOT / "lakehouse.yaml").read_text())


def test_the_schema_in_the_documents_is_the_one_of_the_models():
    kept = (ROOT / "docs" / "lakehouse.schema.json").read_text()
    same = kept == json.dumps(json_schema(), indent=2) + "\n"
    assert same, "lakehouse validate --json-schema > docs/lakehouse.schema.json"


def test_the_schema_accepts_the_tables_of_the_project_with_their_variables():
    jsonschema.Draft202012Validator.check_schema(VALIDATOR.schema)
    assert list(VALIDATOR.iter_errors(DECLARED)) == []
    assert "${" in json.dumps(DECLARED["tables"])
    first = (ROOT / "lakehouse.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=docs/lakehouse.schema.json"


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ([], "tabels", {}),
        (["tables"], "bronce.x", {"files": {"path": "s3a://a/b/"}}),
        (["tables", "silver.orders"], "owner", "team:x"),
        (["tables", "silver.orders"], "files", {"path": "s3a://a/b/"}),
        (["tables", "silver.orders", "latest"], "kee", "order_id"),
        (["tables", "silver.orders", "latest"], "change_data_feed", "perhaps"),
        (["tables", "silver.orders", "latest", "event_time"], "futur_limit", "1 day"),
        (["tables", "silver.orders_windowed_aggregates", "windows"], "output_mode", "apend"),
        (["tables", "silver.orders_windowed_aggregates", "windows"], "max_files_per_trigger", "many"),
        (["tables", "silver.orders", "checks", 0], "on_failur", "warn"),
        (["tables", "silver.orders", "checks", 0], "on_failure", "wrn"),
        (["tables", "silver.orders"], "checks", [{"uniqe": "order_id"}]),
        (["tables", "silver.orders"], "checks", ["uniqe"]),
        (["tables", "silver.orders"], "checks", [{"unique": {"colums": "order_id"}}]),
    ],
)
def test_the_schema_refuses_a_typing_error(place, key, value):
    changed = copy.deepcopy(DECLARED)
    at = changed
    for step in place:
        at = at[step]
    at[key] = value
    assert list(VALIDATOR.iter_errors(changed)) != []


@pytest.mark.parametrize(
    "checks",
    [
        ["schema_drift"],
        [{"unique": ["a", "b"]}],
        [{"rescue_rate": "${SHARE}"}],
        [{"schema": None, "on_failure": "off"}],
    ],
)
def test_the_schema_accepts_every_way_to_write_a_check(checks):
    changed = copy.deepcopy(DECLARED)
    changed["tables"]["silver.orders"]["checks"] = checks
    assert list(VALIDATOR.iter_errors(changed)) == []


def test_the_schema_accepts_an_event_time_that_is_a_column():
    changed = copy.deepcopy(DECLARED)
    changed["tables"]["silver.orders"]["latest"]["event_time"] = "order_date"
    assert list(VALIDATOR.iter_errors(changed)) == []

"""``lakehouse metrics``: the lake as it lies there, for Prometheus; and the names that dashboard and rules ask for."""

import json
import re
import signal
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import exposition
import pytest
import requests
import yaml
from command import COMMAND, lakehouse_here, lakehouse_json_here
from declared import with_declaration
from pydantic import SecretStr
from store.local_world import TABLE, LocalWorld, no_session

from lakehouse.batches import Recorder
from lakehouse.declaration import read_catalogue
from lakehouse.doctor.probes import PROBES
from lakehouse.events.reader import Reader
from lakehouse.events.sqlite_inbox import SqliteInbox
from lakehouse.pipeline import run_table
from lakehouse.service import lake_metrics
from lakehouse.service.health import ServiceHealth, State
from lakehouse.streams.progress import BatchProgress
from lakehouse.streams.run import Run


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(options={"cloudFiles.maxFilesPerTrigger": 1})


def told(things):
    said = lakehouse_here(things.environment, "metrics")
    assert said.returncode == 0, said.stderr
    return exposition.read(said.stdout)[0]


def of(samples, name, **labels):
    return samples.get((f"lakehouse_{name}", frozenset({"table": TABLE, **labels}.items())))


def test_the_lake_is_told_as_it_lies_there(things):
    assert of(told(things), "table_rows") is None, "no table, no number"
    things.put("1.json", [{"id": 1}, {"id": 2}])
    things.put("2.json", [{"id": 3}])
    waiting = told(things)
    assert (of(waiting, "backlog_files"), of(waiting, "table_rows")) == (2, None)
    assert of(waiting, "backlog_bytes") == sum(len(text) for text in ('{"id": 1}\n' * 2, '{"id": 3}\n'))
    before = time.time()
    recorder = Recorder(replace(things.lake, settings=things.lake.settings.model_copy(update=KEPT)))
    things.load(on_batch=recorder.note)
    recorder.note(BatchProgress("silver.late", 9, 5, 2.0, watermark=datetime.now(UTC).isoformat(), late_rows=3))
    recorder.flush()
    things.put("3.json", [{"id": 4}])
    now = told(things)
    assert (of(now, "table_rows"), of(now, "table_files"), of(now, "table_readable")) == (3, 2, 1)
    assert (of(now, "table_last_batch_number"), of(now, "backlog_files")) == (1, 1)
    assert of(now, "backlog_oldest_seconds") < 300
    assert before - 60 < of(now, "table_last_write_timestamp_seconds") < time.time() + 60
    assert (of(now, "last_batch_number"), of(now, "last_batch_input_rows")) == (1, 1), "of the newest batch"
    assert of(now, "last_batch_phase_seconds", phase="triggerExecution") > 0
    late = {"table": "silver.late"}
    assert (of(now, "last_batch_late_rows", **late), of(now, "last_batch_number", **late)) == (3, 9)
    assert 0 <= of(now, "last_batch_watermark_lag_seconds", **late) < 300
    assert now["lakehouse_up", frozenset()] == 1


KEPT = {"keep_batches": timedelta(days=2)}


def test_json_has_the_same_samples(things):
    things.put("1.json", [{"id": 1}])
    things.load()
    text = told(things)
    metrics = lakehouse_json_here(things.environment, "metrics")["metrics"]
    samples = [sample for metric in metrics for sample in metric["samples"]]
    assert {(sample["name"], frozenset(sample["labels"].items())) for sample in samples} == text.keys()
    assert {sample["name"]: sample["value"] for sample in samples}["lakehouse_table_rows"] == 1


def test_a_table_whose_log_is_damaged_is_told_beside_the_others(things):
    things.put("1.json", [{"id": 1}])
    things.load()
    log = f"{things.lake.settings.user}/bronze/things/_delta_log/{0:020d}.json"
    things.lake.store.write(things.lake.settings.bucket, log, b"{")
    now = told(things)
    assert (of(now, "table_readable"), of(now, "table_rows")) == (0, None)
    assert any(name == "lakehouse_finding" for name, _ in now)


def test_files_that_wait_for_too_long_are_a_finding(things):
    things.put("1.json", [{"id": 1}])
    found = [
        *lake_metrics.measure(things.lake, read_catalogue(things.lake.settings), datetime.now(UTC) + timedelta(hours=3))
    ]
    now = exposition.read(lake_metrics.text(found).decode())[0]
    assert of(now, "finding", sign="files_wait", verdict="warn") == 1
    assert of(now, "backlog_oldest_seconds") > 3600


def test_an_exporter_answers_each_time_anew_on_this_machine_and_ends_when_it_is_asked(things, environment):
    with subprocess.Popen(
        [*COMMAND, "metrics", "--port", "0"],
        env={**environment, **things.environment},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            address = next(line for line in process.stderr if "metrics: " in line).split("metrics: ")[1].strip()
            assert address.startswith("http://127.0.0.1:")
            counts = []
            for name in ("1.json", "2.json"):
                things.put(name, [{"id": 1}])
                counts.append(of(exposition.read(requests.get(address, timeout=60).text)[0], "backlog_files"))
            assert counts == [1, 2]
            assert requests.get(address.replace("/metrics", "/"), timeout=10).status_code == 404
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_without_a_store_the_command_says_what_to_run(tmp_path):
    said = lakehouse_here({"LAKEHOUSE_HOME": str(tmp_path)}, "metrics", "--json")
    assert said.returncode == 1 and json.loads(said.stdout)["next"] == "lakehouse up"


ROOT = Path(__file__).resolve().parents[2]
RULES = yaml.safe_load((ROOT / "docker/prometheus/rules.yml").read_text())["groups"][0]["rules"]
PANELS = json.loads((ROOT / "docker/grafana/dashboards/lakehouse.json").read_text())["panels"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
EXPRESSIONS = [(rule["alert"], rule["expr"], " ".join(rule["annotations"].values())) for rule in RULES]
EXPRESSIONS += [(title, target["expr"], target["legendFormat"]) for title, target in TARGETS]


@pytest.fixture
def exposed(things, tmp_path):
    """Every name that a lake and a service tell, with its labels: a lake in which there is something to tell."""
    files = {"path": "{landing}/things/", "engine": "local"}
    declared = {
        TABLE: {"files": files, "freshness": "1 hour"},
        "silver.things": {"latest": {"of": TABLE, "key": "id", "order": ["id"], "engine": "local"}},
    }
    lake = with_declaration(things.plain, tmp_path, json.dumps({"tables": declared}))
    inbox, now = tmp_path / "inbox.sqlite", datetime.now(UTC)
    lake = replace(lake, settings=lake.settings.model_copy(update={**KEPT, "events_inbox": SecretStr(str(inbox))}))
    box = SqliteInbox(inbox, create=True)
    box.listed(Reader("the journal", 0, 0, "s", now))
    box.close()
    things.put("1.json", [{"id": 1}])
    recorder, health = Recorder(lake), ServiceHealth([TABLE])
    for table in declared:
        run_table(no_session, lake, table, Run(on_batch=recorder.note))
    counts = dict.fromkeys(("rescued_rows", "corrupt_rows", "late_rows", "set_aside_rows", "files"), 1)
    counts |= dict.fromkeys(("backlog_files", "backlog_bytes", "state_rows", "state_memory_bytes"), 1)
    for number in range(2):
        newest = BatchProgress(TABLE, number, 5, 2.0, watermark=now.isoformat(), latencies_seconds=(1.0,), **counts)
        health.batch(newest)
        recorder.note(newest)
    recorder.flush()
    things.put("2.json", [{"id": 2}])
    found = [*lake_metrics.measure(lake, read_catalogue(lake.settings), now + timedelta(days=1))]
    names = exposition.names(lake_metrics.text(found).decode())
    assert "lakehouse_last_batch_late_rows" in names, "the lake tells of batches, too"
    for name, labels in exposition.names(health.metrics().decode()).items():
        names.setdefault(name, set()).update(labels)
    return names


NOT_SHOWN = {
    "lakehouse_last_batch_number",
    "lakehouse_last_batch_ended_timestamp_seconds",
    "lakehouse_last_batch_backlog_files",
    "lakehouse_last_batch_backlog_bytes",
    "lakehouse_last_batch_watermark_timestamp_seconds",
    "lakehouse_backlog_bytes",
    "lakehouse_source_commits_waiting",
    "lakehouse_events_files_total",
    "lakehouse_events_lost_files_total",
    "lakehouse_events_listed_timestamp_seconds",
    "lakehouse_events_unread",
}


def test_dashboard_and_rules_ask_for_nothing_that_is_not_told_and_show_what_the_page_says(exposed):
    wrong = []
    for title, expression, text in EXPRESSIONS:
        asked = re.findall(r"\b(lakehouse_\w+)(?:\{([^}]*)\})?", re.sub(r'"[^"]*"', '""', expression))
        assert asked or expression.startswith("up{"), title
        for name, labels in asked:
            missing = set(re.findall(r"(\w+)\s*[=!]~?", labels)) - exposed.get(name, set())
            wrong += [(title, name, sorted(missing))] if name not in exposed or missing else []
        shown = set(re.findall(r"\{\{ *(?:\$labels\.)?(\w+) *\}\}", text)) - {"instance"}
        told = set().union(*(exposed.get(name, set()) for name, _ in asked))
        wrong += [(title, label) for label in shown - told]
    assert wrong == []
    shown = " ".join(expression for _, expression, _ in EXPRESSIONS)
    kept = {name for name in exposed if re.match("lakehouse_(last_batch|backlog|source|events)_", name)}
    assert {name for name in kept if name not in shown} == NOT_SHOWN


def test_the_signs_in_the_rules_are_the_doctor_s():
    asked = {sign for _, expression, _ in EXPRESSIONS for sign in re.findall(r'sign=~"([^"]*)"', expression)}
    signs = {sign.name for probe in PROBES for sign in probe.signs}
    assert asked and {name for some in asked for name in some.split("|")} <= signs


def test_states_in_rules_and_panels_are_those_of_a_stream():
    asked = re.findall(r'lakehouse_stream_state=~"([^"]*)"', " ".join(expression for _, expression, _ in EXPRESSIONS))
    assert len(asked) == 2 and {state for some in asked for state in some.split("|")} <= {*State}

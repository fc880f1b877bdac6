"""A run of the local engine and its command, as spans: each batch with the commit that Delta's log has of it."""

import json

import pytest
from command import lakehouse_here
from store.local_world import TABLE, LocalWorld


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(options={"cloudFiles.maxFilesPerTrigger": 1})


def test_a_command_has_its_runs_their_batches_and_the_version_of_each(things, tmp_path):
    path, here = tmp_path / "spans", things.environment
    for number in range(3):
        things.put(f"{number}.json", [{"id": 1}] * (number + 1))
    assert lakehouse_here(here, "ingest").returncode == 0
    for number in range(3, 5):
        things.put(f"{number}.json", [{"id": 1}] * (number + 1))
    here["LAKEHOUSE_TRACES"] = f"file://{path}"
    assert lakehouse_here(here, "ingest").returncode == 0
    made = [json.loads(line) for line in path.read_text().splitlines()]
    by_id = {span["context"]["span_id"]: span for span in made}
    [command] = [span for span in made if span["name"] == "lakehouse ingest"]
    [run] = [span for span in made if span["name"] == f"run {TABLE}"]
    batches = [span for span in made if span["name"] == f"batch {TABLE}"]
    commits = [span for span in made if span["name"] == "commit"]
    assert run["parent_id"] == command["context"]["span_id"]
    assert {span["parent_id"] for span in batches} == {run["context"]["span_id"]}
    assert [span["attributes"]["lakehouse.input_rows"] for span in batches] == [4, 5]
    logged = {commit.batch_id: commit.version for commit in things.lake.commits_since(TABLE, None)}
    expected = {number: logged[number] for number in (3, 4)}
    told = {
        by_id[span["parent_id"]]["attributes"]["lakehouse.batch_id"]: span["attributes"]["lakehouse.delta_version"]
        for span in commits
    }
    assert told == expected
    attributes = run["attributes"]
    assert (attributes["lakehouse.batches"], attributes["lakehouse.rows_added"]) == (2, 9)
    assert attributes["lakehouse.delta_version"] == max(expected.values())
    phases = {span["name"] for span in made if span["parent_id"] == batches[0]["context"]["span_id"]}
    assert {"addBatch", "commit"} <= phases
    for span in made:
        parent = by_id.get(span["parent_id"])
        assert span["context"]["trace_id"] == command["context"]["trace_id"]
        assert parent is None or parent["start_time"] <= span["start_time"] <= span["end_time"] <= parent["end_time"]

"""Pipelines that are broken on purpose: the doctor names what is wrong, and the command that it prints mends it."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from command import lakehouse, lakehouse_here
from counted import write
from declared import with_declaration
from deltalake import CommitProperties
from forgetful_proxy import forgetful_proxy
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from minio.versioningconfig import SUSPENDED, VersioningConfig
from store.broken_pipelines import BROKEN, BROKEN_OTHERWISE, BY_A_PERSON, Died, Pipeline
from store.local_world import TABLE

from lakehouse.declaration import read_catalogue
from lakehouse.direct import stream as streams
from lakehouse.doctor import examining
from lakehouse.doctor.finding import Verdict
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.storage import find_store, open_store
from lakehouse.storage.lease_holder import Holder
from lakehouse.streams.queries import StopRequest
from lakehouse.table import Catalogue


@pytest.fixture
def pipeline(lake, tmp_path, environment, monkeypatch):
    return Pipeline(lake, tmp_path, environment, monkeypatch)


@pytest.mark.parametrize(("breaks", "sign", "verdict"), BROKEN, ids=[damage.__name__ for damage, *_ in BROKEN])
def test_the_doctor_names_it_and_its_command_mends_it(pipeline, breaks, sign, verdict):
    break_and_mend(pipeline, breaks, sign, verdict)


@pytest.mark.soak("checkpoints, journals, leases, schemas and tables damaged in further ways")
@pytest.mark.parametrize(
    ("breaks", "sign", "verdict"), BROKEN_OTHERWISE, ids=[damage.__name__ for damage, *_ in BROKEN_OTHERWISE]
)
def test_the_doctor_names_other_damage_and_its_command_mends_it(pipeline, breaks, sign, verdict):
    break_and_mend(pipeline, breaks, sign, verdict)


def break_and_mend(pipeline, breaks, sign, verdict):
    breaks(pipeline)
    before = pipeline.versions()
    found = pipeline.examine()
    assert [(seen.sign, seen.verdict.value) for seen in found] == [(sign, verdict)]
    assert pipeline.versions() == before, "looking changes nothing"
    [finding] = found
    assert finding.what and finding.where and finding.why and finding.command
    BY_A_PERSON.get(breaks, lambda broken: None)(pipeline)
    pipeline.run(finding.command)
    assert pipeline.examine() == []
    pipeline.land().load()
    pipeline.assert_exact()
    assert pipeline.examine() == []


TABLES = 50
ASKS = """
import sys
started = []
sys.addaudithook(lambda event, _: started.append(event) if event in STARTS else None)
STARTS = {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}
from lakehouse.cli.main import app
for command in ("tables", "doctor"):
    app([command, "--json"], standalone_mode=False)
    print("====" if command == "tables" else "", flush=True)
    if command == "tables":
        assert not {"minio", "pyarrow.dataset", "sqlglot"} & set(sys.modules)
assert started == [], started
assert not {"pandas", "pyspark", "py4j", "dagster"} & set(sys.modules)
"""


def fifty_tables(pipeline):
    """The same table under many names: each with a checkpoint, a journal and a folder of its own."""
    pipeline.land(2).load()
    lake, flow = pipeline.lake, {"path": "{landing}/things/", "engine": "local"}
    names = [f"bronze.t{number:02}" for number in range(TABLES)]
    own = {name: {"files": {**flow, "path": f"{{landing}}/{name}/"}} for name in names}
    parts = {
        part: pipeline.objects(part) for part in ("bronze/things/", f"_checkpoints/{TABLE}/", "_journal/", "_schemas/")
    }
    before = read_catalogue(lake.settings)[TABLE].flow.cloud_files(lake.settings, TABLE).journal_location
    lake = with_declaration(pipeline.world.plain, pipeline.world.tmp, json.dumps({"tables": own}))

    def copied(table):
        journal = table.flow.cloud_files(lake.settings, table.name).journal_location
        for content in parts.values():
            for key, data in content.items():
                named = key.replace("bronze/things", f"bronze/{table.name.split('.')[1]}").replace(TABLE, table.name)
                named = named.replace(before.rsplit("/", 1)[1], journal.rsplit("/", 1)[1])
                said = data.replace(before.encode(), journal.encode()) if "/offsets/" in key else data
                lake.store.write(pipeline.bucket, named, said)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(copied, read_catalogue(lake.settings)))
    for part in parts:
        pipeline.put_back(part if TABLE in part or "things" in part else "nothing/", {})


def test_doctor_and_tables_look_at_fifty_tables_without_another_process_and_with_few_requests(pipeline):
    fifty_tables(pipeline)
    began, before = time.monotonic(), os.times()
    done = subprocess.run(
        [sys.executable, "-c", ASKS], env=pipeline.environment, capture_output=True, text=True, check=False
    )
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{TABLES} tables: {time.monotonic() - began:.2f} s, {spent:.2f} s of them computing, with Python's start")
    for command in ("tables", "doctor"):
        began = time.monotonic()
        assert lakehouse(pipeline.environment, command).returncode == 0
        print(f"lakehouse {command}, in a process of its own: {time.monotonic() - began:.2f} s")
    assert done.returncode == 0, done.stdout + done.stderr
    told, said = (json.loads(text) for text in done.stdout.split("====\n"))
    bad = [finding for finding in said["findings"] if finding["table"] and finding["verdict"] != "pass"]
    assert (said["tables"], bad) == (TABLES, [])
    assert [(table["rows"], table["problem"]) for table in told["tables"]] == [(6, "")] * TABLES
    print(f"{said['requests']} requests beside those that open Delta tables")
    assert said["requests"] <= 13 * TABLES + 1


def signs(found):
    return {finding.sign for finding in found if finding.verdict != Verdict.PASS}


def test_what_only_a_person_or_spark_mends_is_named(pipeline):
    things, world, silver = pipeline, pipeline.world, "silver.hours"
    things.land(2).load()
    windows = {"of": TABLE, "event_time": "a", "window": "1 hour"}
    latest = {"of": TABLE, "key": "a"}
    flow = {"path": "{landing}/things/", "engine": "local"}

    def declare(**files):
        tables = {
            TABLE: {"files": {**flow, **files}},
            silver: {"windows": windows},
            "silver.newest": {"latest": latest},
        }
        world.lake = with_declaration(world.plain, world.tmp, json.dumps({"tables": tables}))

    def write(table, name, text):
        things.lake.store.write(things.bucket, f"{things.user}/_checkpoints/{table}/{name}", text.encode())

    def found(table):
        now = datetime.now(UTC) + things.later
        catalogue = read_catalogue(things.lake.settings)
        return signs(examining.examine(things.lake, catalogue, [table], now=now, shared=False).findings)

    declare()
    assert found(TABLE) | found(silver) == set()
    declare(path="{landing}/others/")
    assert found(TABLE) == {"folder_changed"}
    declare()
    elsewhere = Holder("h", TABLE, "elsewhere/1/", 7, "1", 0.0)
    things.lake.store.write(things.bucket, f"{things.user}/_checkpoints/{TABLE}.lease", elsewhere.encoded())
    assert found(TABLE) == set(), "it may live"
    things.later = timedelta(minutes=2)
    assert found(TABLE) == {"writer_silent"}
    things.later = timedelta()
    place = {"reservoirId": "r", "reservoirVersion": 0, "index": 0, "isStartingVersion": False}
    write(silver, "definition.json", json.dumps({"length": "2 hours"}))
    assert found(silver) == set(), "no batch was planned by it"
    write(silver, "offsets/0", f"v1\n{{}}\n{json.dumps(place)}")
    assert "definition_changed" in found(silver)
    write("silver.newest", "metadata", '{"id": "q"}')
    write("silver.newest", "offsets/0", f"v1\n{{}}\n{json.dumps(place)}")
    write("silver.newest", "commits/0", "v1\n{}")
    things.later = timedelta(hours=2)
    assert found("silver.newest") == {"table_missing", "source_is_ahead"}


def test_new_columns_that_a_killed_run_left_in_the_schema_come_with_the_next(pipeline):
    def die(*_, **__):
        raise Died

    things = pipeline
    things.land(2).load()
    things.world.put("x.json", [{"a": 7, "n": 0, "new": 1}])
    with things.patch.context() as patch, pytest.raises(Died):
        patch.setattr(streams, "commit", die)
        things.load()
    found = things.examine()
    assert [finding.sign for finding in found] == ["batch_begun", "schema_ahead"]
    things.run(found[1].command)
    assert things.examine() == []
    assert sorted(new for (new,) in things.world.rows("new") if new) == ["1"]


def test_an_older_batch_that_cannot_be_read_harms_nobody(pipeline):
    pipeline.land(3).load().cut_checkpoint("offsets/0")
    assert pipeline.examine() == []
    pipeline.land().load()
    pipeline.assert_exact()


def test_many_rescued_values_are_counted_without_reading_a_row(pipeline):
    world = pipeline.world
    world.declare(hints={"a": "BIGINT"}, options={"cloudFiles.schemaEvolutionMode": "rescue"})
    pipeline.land().load()
    assert pipeline.examine() == []
    world.put("x.json", [{"a": 1, "more": 1}, {"a": 2, "more": 2}])
    pipeline.load()
    [finding] = pipeline.examine()
    assert (finding.sign, finding.evidence["rows"], finding.evidence["rescued_rows"]) == ("much_rescued", 5, 2)


def test_files_that_come_faster_than_they_are_loaded_are_told_with_what_bounds_them(pipeline):
    things = pipeline
    for count in (2, 3, 4):
        stop = StopRequest()
        things.land(count).world.load(stop=stop, on_batch=lambda batch, stop=stop: stop.asked.set())
    [finding] = things.examine()
    assert (finding.sign, finding.what) == ("backlog_grows", "files that waited after each batch: 1, 3, 6")
    assert finding.evidence["bound"] in ("finding", "loading")
    things.run(finding.command)
    assert things.examine() == []
    things.assert_exact()


def test_two_streams_that_take_turns_in_one_table_are_told(pipeline):
    for number, query in enumerate("ABA"):
        said = {"userMetadata": json.dumps({"epochId": number, "queryId": query})}
        write(pipeline.lake, [{"a": number}], commit_properties=CommitProperties(custom_metadata=said))
    assert signs(pipeline.examine()) == {"checkpoint_lost", "two_writers"}


def test_a_store_that_forgets_conditions_and_a_bucket_whose_rules_remove_are_told(lake, tmp_path):
    endpoint, settings = lake.endpoint, lake.settings
    keys = (endpoint.access_key.get_secret_value(), endpoint.secret_key.get_secret_value())
    sdk, bucket = Minio(endpoint.host, *keys, secure=False, region=endpoint.region), settings.bucket

    def found(url=None):
        given = {"s3_endpoint": url, "s3_access_key": keys[0], "s3_secret_key": keys[1]} if url else {}
        own = Settings.load(bucket=bucket, user=settings.user, home=settings.home, **given)
        place = find_store(own)
        examined = examining.examine(Lake(own, place, open_store(place)), Catalogue())
        return signs(finding for finding in examined.findings if finding.probe in ("store", "bucket"))

    assert found() == set()
    rule = Rule(ENABLED, rule_filter=Filter(prefix="tester/_check"), rule_id="old", expiration=Expiration(days=30))
    sdk.set_bucket_lifecycle(bucket, LifecycleConfig([rule]))
    assert found() == {"lifecycle_removes"}
    sdk.delete_bucket_lifecycle(bucket)
    sdk.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    assert found() == {"versions_pile_up"}
    sdk.set_bucket_versioning(bucket, VersioningConfig(SUSPENDED))
    with forgetful_proxy(endpoint, "If-Match") as proxy:
        assert found(proxy.url) == {"conditions_ignored", "rights_too_wide", "store_unmaintained"}
    assert list(lake.store.list(bucket, f"{settings.user}/_probe/")) == []


def test_a_store_that_does_not_run_is_a_finding_and_is_not_started(tmp_path, environment):
    (tmp_path / "lakehouse.yaml").write_text("tables: {}\n")
    home = tmp_path / "home"
    variables = {"LAKEHOUSE_HOME": str(home), "LAKEHOUSE_DECLARATION": str(tmp_path / "lakehouse.yaml")}
    done = lakehouse_here(environment, "doctor", "--json", **variables)
    [finding] = json.loads(done.stdout)["findings"]
    assert (done.returncode, finding["sign"], finding["command"]) == (1, "store_unreachable", "lakehouse up")
    assert not home.exists()

"""Signs of what is rarer: the store's keys and clock, this machine, ages, types and deleted rows; each to its end."""

import base64
import json
import shlex
import struct
from datetime import timedelta

import pytest
from command import lakehouse_here
from counted import write
from declared import with_declaration
from deltalake import CommitProperties
from forgetful_proxy import forgetful_proxy
from minio.commonconfig import ENABLED, Filter
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from store.broken_pipelines import Pipeline
from store.local_world import TABLE
from store.role_keys import Keys

from lakehouse.declaration import read_catalogue
from lakehouse.doctor import examining
from lakehouse.doctor.finding import Verdict
from lakehouse.doctor.probes import machine, weight
from lakehouse.lake import Lake
from lakehouse.maintenance import backup
from lakehouse.settings import Settings
from lakehouse.storage import find_store, open_store
from lakehouse.storage.lease_holder import Holder
from lakehouse.storage.minio_store import MinioStore
from lakehouse.table import Catalogue

SILVER = "silver.hours"


@pytest.fixture
def pipeline(lake, tmp_path, environment, monkeypatch):
    return Pipeline(lake, tmp_path, environment, monkeypatch)


def declare(pipeline, **table):
    flow = {"path": "{landing}/things/", "engine": "local"}
    windows = {"windows": {"of": TABLE, "event_time": "a", "window": "1 hour"}}
    tables = {"tables": {TABLE: {"files": flow, **table}, SILVER: windows}}
    pipeline.world.lake = with_declaration(pipeline.world.plain, pipeline.world.tmp, json.dumps(tables))


def bad(lake, *tables, **more):
    """What is not well, by its sign."""
    catalogue = read_catalogue(lake.settings) if tables else Catalogue()
    found = examining.examine(lake, catalogue, tables, shared=not tables, **more)
    return {finding.sign: finding for finding in found.of(Verdict.FAIL, Verdict.WARN)}


def test_files_wait_until_a_run_and_then_the_sender_is_asked_until_more_arrives(pipeline):
    declare(pipeline, freshness="2 hours")
    pipeline.land(2).later = timedelta(hours=1)
    assert pipeline.examine() == []
    pipeline.later = timedelta(hours=3)
    [waits] = pipeline.examine()
    assert (waits.sign, waits.evidence["files_waiting"]) == ("files_wait", 2)
    pipeline.run(waits.command)
    assert pipeline.examine() == []
    pipeline.later = timedelta(hours=3)
    [nothing] = pipeline.examine()
    assert (nothing.sign, nothing.what) == ("nothing_arrives", "nothing came for 3 hours")
    pipeline.run(nothing.command)
    pipeline.land().load().assert_exact()
    assert pipeline.examine() == []


def test_rows_that_a_second_stream_doubled_are_named_by_the_check_that_the_doctor_prints_and_go(pipeline):
    pipeline.land(2).load()
    said = {"userMetadata": json.dumps({"epochId": 0, "queryId": "another checkpoint over the same files"})}
    doubled = pipeline.lake.delta(TABLE).to_pyarrow_table()
    write(pipeline.lake, doubled, commit_properties=CommitProperties(custom_metadata=said))
    pipeline.land().load()
    [two] = pipeline.examine()
    assert two.sign == "two_writers" and len(pipeline.world.rows()) == 15
    checked = lakehouse_here(pipeline.environment, *shlex.split(two.command)[1:], "--json")
    [failed] = [check for check in json.loads(checked.stdout)["checks"] if not check["passed"]]
    assert (checked.returncode, failed["check"]) == (1, "no_file_loaded_twice")
    pipeline.run(failed["next_command"])
    pipeline.assert_exact()
    pipeline.land(10).load().assert_exact()
    assert pipeline.examine() == [], "the last commits are of one stream"


def test_types_that_differ_from_the_table_s_are_taken_back(pipeline):
    pipeline.world.declare(options={"cloudFiles.inferColumnTypes": True, "cloudFiles.maxFilesPerTrigger": 1})
    pipeline.land(2).load()
    first = f"{pipeline.user}/_schemas/{TABLE}/_schemas/0"
    # as a run leaves it that was killed
    wider = pipeline.lake.store.read(pipeline.bucket, first).replace(b"long", b"double", 1)
    pipeline.lake.store.write(pipeline.bucket, first[:-1] + "1", wider)
    [finding] = pipeline.examine()
    assert (finding.sign, finding.what) == ("types_differ", "columns of another type in the table: a")
    pipeline.run(finding.command)
    assert pipeline.examine() == []
    pipeline.land().load().assert_exact()


def test_large_state_is_gone_when_its_stream_begins_anew(pipeline):
    declare(pipeline)
    pipeline.land().load()
    pipeline.patch.setattr(weight, "_STATE_BYTES", 50)
    pipeline.lake.store.write(pipeline.bucket, f"{pipeline.user}/_checkpoints/{SILVER}/state/0/0/1.zip", b"x" * 51)
    found = bad(pipeline.lake, SILVER)
    assert found.keys() == {"large_state"} and found["large_state"].evidence == {"objects": 1, "bytes": 51}
    restart, again = found["large_state"].command.split(" && ")
    pipeline.run(restart)
    assert again == f"lakehouse ingest {SILVER}" and bad(pipeline.lake, SILVER) == {}


def test_a_checkpoint_that_grows_with_each_backup_is_told_until_its_stream_begins_anew(pipeline):
    declare(pipeline)
    pipeline.land().load()
    pipeline.patch.setattr(weight, "_GROWN_BYTES", 50)
    pipeline.patch.setattr(backup, "_PAUSE_SECONDS", 0)

    def grow(size):
        pipeline.lake.store.write(
            pipeline.bucket, f"{pipeline.user}/_checkpoints/{SILVER}/state/0/0/1.delta", b"x" * size
        )

    for size in (10, 60, 120):
        grow(size)
        assert bad(pipeline.lake, SILVER) == {}
        backup.back_up(pipeline.lake, SILVER)
    assert bad(pipeline.lake, SILVER) == {}, "it is as large as in the newest backup"
    grow(200)
    [(sign, finding)] = bad(pipeline.lake, SILVER).items()
    assert (sign, finding.evidence["first_bytes"], finding.evidence["bytes"]) == ("checkpoint_grows", 10, 200)
    pipeline.run(finding.command.split(" && ")[0])
    assert bad(pipeline.lake, SILVER) == {}


def test_rows_that_are_only_marked_as_deleted_are_counted(pipeline):
    pipeline.land(2).load()
    log = f"{pipeline.user}/bronze/things/_delta_log/"
    add = next(
        json.loads(line)["add"]
        for line in pipeline.lake.store.read(pipeline.bucket, f"{log}{1:020}.json").splitlines()
        if b'"add"' in line
    )
    written = [
        {"commitInfo": {"operation": "DELETE"}},
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features("reader"), **features("writer")}},
        {"remove": {"path": add["path"], "dataChange": True, "deletionTimestamp": 1}},
        {"add": {**add, "deletionVector": deleted(0, 1)}},
    ]
    pipeline.lake.store.write(pipeline.bucket, f"{log}{2:020}.json", "\n".join(map(json.dumps, written)).encode())
    found = {finding.sign: finding for finding in pipeline.examine()}
    assert found["many_deleted_rows"].what == "2 of 6 rows are marked as deleted"
    pipeline.lake.store.delete(pipeline.bucket, f"{log}{2:020}.json")  # what only Spark can do is taken back
    assert pipeline.examine() == []


def features(who):
    return {f"{who}Features": ["deletionVectors"]}


def deleted(*rows):
    """A deletion vector within the log, as the protocol spells it: a roaring bitmap, in Z85."""
    bitmap = struct.pack(f"<IIHHI{len(rows)}H", 12346, 1, 0, len(rows) - 1, 16, *rows)
    data = struct.pack("<IQI", 1681511377, 1, 0) + bitmap
    ours, theirs = (
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~",
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#",
    )
    text = base64.b85encode(data + b"\0" * (-len(data) % 4)).decode().translate(str.maketrans(ours, theirs))
    return {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(data), "cardinality": len(rows)}


def test_a_rule_that_ate_half_of_a_journal_is_told_with_what_it_ate_and_both_are_mended(pipeline):
    for _ in range(4):
        pipeline.land().load()
    for segment in pipeline.segments()[:2]:
        pipeline.lake.store.delete(pipeline.bucket, segment)
    scope = Filter(prefix=f"{pipeline.user}/_journal/")
    rule = Rule(ENABLED, rule_filter=scope, rule_id="old", expiration=Expiration(days=30))
    MinioStore(pipeline.lake.endpoint).client.set_bucket_lifecycle(pipeline.bucket, LifecycleConfig([rule]))
    eats, eaten = bad(pipeline.lake), bad(pipeline.lake, TABLE)
    assert (eats.keys(), eaten.keys()) == ({"lifecycle_removes"}, {"journal_gap"})
    pipeline.run(eats["lifecycle_removes"].command)
    assert bad(pipeline.lake) == {}
    pipeline.run(eaten["journal_gap"].command)
    assert bad(pipeline.lake, TABLE) == {}
    pipeline.land().load().assert_exact()


def test_keys_that_may_not_write_or_read_are_told_once_with_the_way_out(pipeline, tmp_path):
    pipeline.land().load()
    with Keys(pipeline.world, tmp_path) as keys:
        assert bad(keys.of("reader").lake).keys() == {"store_read_only", "store_unmaintained"}
        assert bad(keys.of("writer").lake).keys() == {"store_unmaintained"}
        found = [
            seen
            for seen in examining.examine(keys.of("discoverer").lake, read_catalogue(pipeline.lake.settings)).findings
            if seen.sign == "could_not_look" and "refuses" in seen.what
        ]
        tables = [seen for seen in found if seen.where.endswith("_last_checkpoint")]
        assert len(tables) <= 1, "a reason is told once"
        assert found and all("LAKEHOUSE_S3_ACCESS_KEY" in seen.command and "\x1b" not in seen.what for seen in found)
        assert "files do not wait" in found[0].evidence["not_looked_at"]
        assert bad(keys.of("writer").lake, TABLE) == {}


@pytest.mark.parametrize(("ahead", "verdict"), [(30, Verdict.WARN), (-2000, Verdict.FAIL)])
def test_a_store_with_another_clock_is_told_until_the_clocks_agree(lake, ahead, verdict):
    def found(seconds):
        keys = (lake.endpoint.access_key.get_secret_value(), lake.endpoint.secret_key.get_secret_value())
        with forgetful_proxy(lake.endpoint, ahead_seconds=seconds) as proxy:
            given = {"s3_endpoint": proxy.url, "s3_access_key": keys[0], "s3_secret_key": keys[1]}
            own = Settings.load(bucket=lake.settings.bucket, user=lake.settings.user, home=lake.settings.home, **given)
            place = find_store(own)
            return bad(Lake(own, place, open_store(place)))

    skewed = found(ahead)["clock_skewed"]
    assert skewed.verdict is verdict
    assert ("behind" if ahead > 0 else "ahead of") in skewed.what
    assert "clock_skewed" not in found(0)


def test_a_full_disk_and_other_versions_are_told_until_they_are_mended(lake, tmp_path, monkeypatch):
    assert bad(lake).keys() & {"disk_full", "versions_differ"} == set()
    lock = tmp_path / "requirements.lock"
    lock.write_text("pyarrow==0.0.1 \\\n    --hash=sha256:00\ndeltalake==0.0.1\n")
    with monkeypatch.context() as patch:
        patch.setattr(machine, "_LOCK", lock)
        patch.setattr(machine, "_LITTLE_BYTES", 1 << 60)
        found = bad(lake)
        assert found["disk_full"].verdict is Verdict.WARN and found["versions_differ"].evidence.keys() == {
            "pyarrow",
            "deltalake",
        }
        assert str(lock) in found["versions_differ"].command
        patch.setattr(machine, "_NOTHING_BYTES", 1 << 60)
        assert bad(lake)["disk_full"].verdict is Verdict.FAIL
    assert bad(lake).keys() & {"disk_full", "versions_differ"} == set()


def test_a_silent_writer_elsewhere_is_taken_over_by_the_command(pipeline):
    pipeline.land(2).load()
    silent = Holder("h", TABLE, "elsewhere/1/", 7, "1", 0.0, ttl_seconds=0.5)
    pipeline.lake.store.write(pipeline.bucket, f"{pipeline.user}/_checkpoints/{TABLE}.lease", silent.encoded())
    pipeline.later = timedelta(minutes=2)
    [finding] = pipeline.examine()
    assert finding.sign == "writer_silent"
    pipeline.land().run(finding.command)
    assert pipeline.examine() == []
    pipeline.assert_exact()
    assert lakehouse_here(pipeline.environment, "doctor", TABLE).returncode == 0

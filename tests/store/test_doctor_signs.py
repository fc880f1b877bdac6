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
def one(lake, tmp_path, environment, monkeypatch):
    return Pipeline(lake, tmp_path, environment, monkeypatch)


def declare(one, **table):
    flow = {"path": "{landing}/things/", "engine": "local"}
    windows = {"windows": {"of": TABLE, "event_time": "a", "window": "1 hour"}}
    tables = {"tables": {TABLE: {"files": flow, **table}, SILVER: windows}}
    one.world.lake = with_declaration(one.world.plain, one.world.tmp, json.dumps(tables))


def bad(lake, *tables, **more):
    """What is not well, by its sign."""
    catalogue = read_catalogue(lake.settings) if tables else Catalogue()
    found = examining.examine(lake, catalogue, tables, shared=not tables, **more)
    return {one.sign: one for one in found.of(Verdict.FAIL, Verdict.WARN)}


def test_files_wait_until_a_run_and_then_the_sender_is_asked_until_more_arrives(one):
    declare(one, freshness="2 hours")
    one.land(2).later = timedelta(hours=1)
    assert one.examine() == []
    one.later = timedelta(hours=3)
    [waits] = one.examine()
    assert (waits.sign, waits.evidence["files_waiting"]) == ("files_wait", 2)
    one.run(waits.command)
    assert one.examine() == []
    one.later = timedelta(hours=3)
    [nothing] = one.examine()
    assert (nothing.sign, nothing.what) == ("nothing_arrives", "nothing came for 3 hours")
    one.run(nothing.command)
    one.land().load().assert_exact()
    assert one.examine() == []


def test_rows_that_a_second_stream_doubled_are_named_by_the_check_that_the_doctor_prints_and_go(one):
    one.land(2).load()
    said = {"userMetadata": json.dumps({"epochId": 0, "queryId": "another checkpoint over the same files"})}
    doubled = one.lake.delta(TABLE).to_pyarrow_table()
    write(one.lake, doubled, commit_properties=CommitProperties(custom_metadata=said))
    one.land().load()
    [two] = one.examine()
    assert two.sign == "two_writers" and len(one.world.rows()) == 15
    checked = lakehouse_here(one.environment, *shlex.split(two.command)[1:], "--json")
    [failed] = [check for check in json.loads(checked.stdout)["checks"] if not check["passed"]]
    assert (checked.returncode, failed["check"]) == (1, "no_file_loaded_twice")
    one.run(failed["next_command"])
    one.assert_exact()
    one.land(10).load().assert_exact()
    assert one.examine() == [], "the last commits are of one stream"


def test_types_that_differ_from_the_table_s_are_taken_back(one):
    one.world.declare(options={"cloudFiles.inferColumnTypes": True, "cloudFiles.maxFilesPerTrigger": 1})
    one.land(2).load()
    first = f"{one.user}/_schemas/{TABLE}/_schemas/0"
    wider = one.lake.store.read(one.bucket, first).replace(b"long", b"double", 1)  # as a run leaves it that was killed
    one.lake.store.write(one.bucket, first[:-1] + "1", wider)
    [finding] = one.examine()
    assert (finding.sign, finding.what) == ("types_differ", "columns of another type in the table: a")
    one.run(finding.command)
    assert one.examine() == []
    one.land().load().assert_exact()


@pytest.mark.soak("a stream whose state is large begins anew; the others of this file are quicker")
def test_large_state_is_gone_when_its_stream_begins_anew(one):
    declare(one)
    one.land().load()
    one.patch.setattr(weight, "_STATE_BYTES", 50)
    one.lake.store.write(one.bucket, f"{one.user}/_checkpoints/{SILVER}/state/0/0/1.zip", b"x" * 51)
    found = bad(one.lake, SILVER)
    assert found.keys() == {"large_state"} and found["large_state"].evidence == {"objects": 1, "bytes": 51}
    restart, again = found["large_state"].command.split(" && ")
    one.run(restart)
    assert again == f"lakehouse ingest {SILVER}" and bad(one.lake, SILVER) == {}


def test_a_checkpoint_that_grows_with_each_backup_is_told_until_its_stream_begins_anew(one):
    declare(one)
    one.land().load()
    one.patch.setattr(weight, "_GROWN_BYTES", 50)
    one.patch.setattr(backup, "_PAUSE_SECONDS", 0)

    def grow(size):
        one.lake.store.write(one.bucket, f"{one.user}/_checkpoints/{SILVER}/state/0/0/1.delta", b"x" * size)

    for size in (10, 60, 120):
        grow(size)
        assert bad(one.lake, SILVER) == {}
        backup.back_up(one.lake, SILVER)
    assert bad(one.lake, SILVER) == {}, "it is as large as in the newest backup"
    grow(200)
    [(sign, finding)] = bad(one.lake, SILVER).items()
    assert (sign, finding.evidence["first_bytes"], finding.evidence["bytes"]) == ("checkpoint_grows", 10, 200)
    one.run(finding.command.split(" && ")[0])
    assert bad(one.lake, SILVER) == {}


def test_rows_that_are_only_marked_as_deleted_are_counted(one):
    one.land(2).load()
    log = f"{one.user}/bronze/things/_delta_log/"
    add = next(
        json.loads(line)["add"]
        for line in one.lake.store.read(one.bucket, f"{log}{1:020}.json").splitlines()
        if b'"add"' in line
    )
    written = [
        {"commitInfo": {"operation": "DELETE"}},
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features("reader"), **features("writer")}},
        {"remove": {"path": add["path"], "dataChange": True, "deletionTimestamp": 1}},
        {"add": {**add, "deletionVector": deleted(0, 1)}},
    ]
    one.lake.store.write(one.bucket, f"{log}{2:020}.json", "\n".join(map(json.dumps, written)).encode())
    found = {finding.sign: finding for finding in one.examine()}
    assert found["many_deleted_rows"].what == "2 of 6 rows are marked as deleted"
    one.lake.store.delete(one.bucket, f"{log}{2:020}.json")  # what only Spark can do is taken back
    assert one.examine() == []


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


def test_a_rule_that_ate_half_of_a_journal_is_told_with_what_it_ate_and_both_are_mended(one):
    for _ in range(4):
        one.land().load()
    for segment in one.segments()[:2]:
        one.lake.store.delete(one.bucket, segment)
    scope = Filter(prefix=f"{one.user}/_journal/")
    rule = Rule(ENABLED, rule_filter=scope, rule_id="old", expiration=Expiration(days=30))
    MinioStore(one.lake.endpoint).client.set_bucket_lifecycle(one.bucket, LifecycleConfig([rule]))
    eats, eaten = bad(one.lake), bad(one.lake, TABLE)
    assert (eats.keys(), eaten.keys()) == ({"lifecycle_removes"}, {"journal_gap"})
    one.run(eats["lifecycle_removes"].command)
    assert bad(one.lake) == {}
    one.run(eaten["journal_gap"].command)
    assert bad(one.lake, TABLE) == {}
    one.land().load().assert_exact()


@pytest.mark.soak("the doctor with the keys of each role; test_roles.py has the roles")
def test_keys_that_may_not_write_or_read_are_told_once_with_the_way_out(one, tmp_path):
    one.land().load()
    with Keys(one.world, tmp_path) as keys:
        assert bad(keys.of("reader").lake).keys() == {"store_read_only", "store_unmaintained"}
        assert bad(keys.of("writer").lake).keys() == {"store_unmaintained"}
        found = [
            seen
            for seen in examining.examine(keys.of("discoverer").lake, read_catalogue(one.lake.settings)).findings
            if seen.sign == "could_not_look" and "refuses" in seen.what
        ]
        tables = [seen for seen in found if seen.where.endswith("_last_checkpoint")]
        assert len(tables) <= 1, "a reason is told once"
        assert found and all("keys" in seen.command and "\x1b" not in seen.what for seen in found)
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


@pytest.mark.soak("what the doctor prints of it is run; test_doctor.py has its sign")
def test_a_silent_writer_elsewhere_is_taken_over_by_the_command(one):
    one.land(2).load()
    silent = Holder("h", TABLE, "elsewhere/1/", 7, "1", 0.0, ttl_seconds=0.5)
    one.lake.store.write(one.bucket, f"{one.user}/_checkpoints/{TABLE}.lease", silent.encoded())
    one.later = timedelta(minutes=2)
    [finding] = one.examine()
    assert finding.sign == "writer_silent"
    one.land().run(finding.command)
    assert one.examine() == []
    one.assert_exact()
    assert lakehouse_here(one.environment, "doctor", TABLE).returncode == 0

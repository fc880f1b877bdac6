"""``lakehouse checklist``: a line is red when what it is about is wrong, and no other is."""

import json
import os
import time
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import psutil
import pyarrow as pa
import pytest
from command import lakehouse_here
from declared import with_declaration
from deltalake import write_deltalake
from store.local_world import TABLE, LocalWorld
from store.notified_world import until

from lakehouse.checklist import _fleeting
from lakehouse.checkpoints.agreement import lease_key
from lakehouse.errors import LakehouseError
from lakehouse.maintenance.backup import back_up, backup_key
from lakehouse.maintenance.optimize import Thresholds
from lakehouse.storage.lease_holder import Holder, birth_of, this_host
from lakehouse.streams.services import forget_dead, leaving_marks, service_of
from lakehouse.upkeep import optimize_tables

OPTIONS = {"cloudFiles.maxFilesPerTrigger": 1, "cloudFiles.schemaEvolutionMode": "addNewColumns"}
BACKUP = {"backup_is_fresh", "backup_can_be_restored", "rollback_is_possible"}
BEGUN = {"checkpoint_is_kept", "one_writer_at_a_time", "columns_are_kept"}
NO_CHECKS = [
    {name: None, "on_failure": "off"} for name in ("no_file_loaded_twice", "every_file_loaded", "no_quarantined_files")
]


class Production(LocalWorld):
    """A table that has all that the list asks for, and ways to take one thing of it away."""

    def __init__(self, lake, folder):
        super().__init__(lake, folder)
        self.alerts = f"file://{folder}/told.jsonl"
        self.declare(options=OPTIONS)

    def declare(self, checks=(), alerts=None, owners=(), **flow):
        said = {"path": "{landing}/things/", "engine": "local", **flow}
        table = {"files": said, "checks": list(checks), "owners": list(owners)}
        self.lake = with_declaration(self.plain, self.tmp, json.dumps({"tables": {TABLE: table}, "alerts": alerts}))

    def red(self, *words):
        """The lines that fail; and what the exit code and the numbers say is the same."""
        names = ("home", "user", "bucket", "landing_prefix", "declaration")
        variables = {f"LAKEHOUSE_{name.upper()}": str(getattr(self.lake.settings, name)) for name in names}
        variables |= {"LAKEHOUSE_ALERTS": self.alerts} if self.alerts else {}
        if words[:1] == ("alerts",):
            return lakehouse_here(variables, *words)
        done = lakehouse_here(variables, "checklist", "--json", *words)
        told = json.loads(done.stdout)
        found = {line["item"] for line in told["lines"] if not line["passed"]}
        assert (done.returncode, told["failed"]) == (int(bool(found)), len(found))
        assert all(line["evidence"] and bool(line["next_command"]) is not line["passed"] for line in told["lines"])
        self.items = [line["item"] for line in told["lines"]]
        return found

    @contextmanager
    def without(self, *keys):
        """While the body runs, objects below the user's folder are not there."""
        bucket = self.lake.settings.bucket
        kept = {}
        for key in keys:
            found = [info.key for info in self.lake.store.list(bucket, f"{self.lake.settings.user}/{key}")]
            assert found, key
            kept |= {full_key: self.lake.store.read(bucket, full_key) for full_key in found}
        for full_key in kept:
            self.lake.store.delete(bucket, full_key)
        yield
        for full_key, data in kept.items():
            self.lake.store.write(bucket, full_key, data)

    @contextmanager
    def declared(self, **flow):
        self.declare(**flow)
        yield
        self.declare(options=OPTIONS)

    @contextmanager
    def with_dead_service(self):
        """A service of the table ended with an error."""
        told = {"table": TABLE, "state": "failed", "begun": True, "last_error": "no", "batches": 1, "restarts": 0}
        told |= {"seconds_since_progress": 1.0, "seconds_since_batch": 1.0, "last_batch_id": 1}
        with suppress(LakehouseError), leaving_marks(self.lake, lambda: [told], "", timedelta(minutes=15)):
            raise LakehouseError("it ended", where="", state="", next_command="")
        yield
        assert forget_dead(self.lake, [TABLE], datetime.now(UTC))

    @contextmanager
    def written_by_a_stranger(self):
        """Somebody adds rows without the lease; then its commit is taken away again."""
        opened = self.lake.delta(TABLE)
        write_deltalake(opened, pa.table({"a": pa.array([9], pa.int64())}), mode="append", schema_mode="merge")
        log = f"{self.lake.settings.user}/bronze/things/_delta_log/{opened.version():020d}.json"
        yield
        self.lake.store.delete(self.lake.settings.bucket, log)

    @contextmanager
    def with_a_service_beside(self):
        """A service keeps the table up to date, and another process holds the lease."""
        told = {"table": TABLE, "state": "running", "begun": True, "last_error": "", "batches": 1, "restarts": 0}
        told |= {"seconds_since_progress": 1.0, "seconds_since_batch": 1.0, "last_batch_id": 1}
        key = lease_key(self.lake, TABLE)
        other = Holder("1", TABLE, this_host(), os.getppid(), birth_of(os.getppid()), time.time())
        before = self.lake.store.read(self.lake.settings.bucket, key)
        with leaving_marks(self.lake, lambda: [told], "", timedelta(minutes=15), every_seconds=0.05):
            until(lambda: service_of(self.lake.store, self.lake, TABLE, datetime.now(UTC)) is not None)
            self.lake.store.write(self.lake.settings.bucket, key, other.encoded())
            yield
            self.lake.store.write(self.lake.settings.bucket, key, before)

    @contextmanager
    def forgetting(self):
        """Delta forgets the numbers of batches after an hour: a batch that is done again would come twice."""
        name = "delta.setTransactionRetentionDuration"
        self.lake.delta(TABLE).alter.set_table_properties({name: "interval 1 hour"})
        yield
        self.lake.delta(TABLE).alter.set_table_properties({name: "interval 2 weeks"})

    @contextmanager
    def told_at(self, alerts):
        before, self.alerts = self.alerts, alerts
        yield
        self.alerts = before


def test_each_line_turns_red_alone_when_what_it_is_about_is_broken(lake, tmp_path, monkeypatch):
    world = Production(lake, tmp_path)
    assert world.red() == {*BACKUP, *BEGUN, "alerts_are_tested"}, "nothing has run"
    assert world.red("alerts", "test").returncode == 0
    for name in "ab":
        world.put(f"{name}.json", [{"a": 1}])
    world.load()
    assert world.red() == {*BACKUP, "checkpoint_is_kept"}, "the embedded store of a test is temporary, or in memory"
    folder = backup_key(lake, TABLE, back_up(world.lake, TABLE).taken).removeprefix(f"{lake.settings.user}/")
    [of_backup, _] = [add["path"] for add in world.adds()]
    assert optimize_tables(world.lake, thresholds=Thresholds(least_fewer=1), really=True)[0].done

    disks = psutil.disk_partitions

    @contextmanager
    def kept_for_good(really=True):
        with monkeypatch.context() as patch:
            # wherever the suite's store is
            patch.setattr("tempfile.tempdir", str(tmp_path) if really else None)
            patch.setattr("psutil.disk_partitions", (lambda all: []) if really else disks)
            yield

    with kept_for_good():
        assert world.red() == set()
        broken = {
            "checkpoint_is_kept": kept_for_good(really=False),
            "checkpoint_and_table_agree": world.without(
                f"_checkpoints/{TABLE}/offsets/1", f"_checkpoints/{TABLE}/commits/1"
            ),
            "one_writer_at_a_time": world.written_by_a_stranger(),
            "services_are_alive": world.with_dead_service(),
            "checks_are_declared": world.declared(options=OPTIONS, checks=NO_CHECKS),
            "batches_are_limited": world.declared(
                source="spark", schema="a BIGINT", checks=[{"row_count": {"min": 1}}]
            ),
            "columns_are_kept": world.without(f"_schemas/{TABLE}"),
            "new_columns_are_decided": world.declared(options={"cloudFiles.maxFilesPerTrigger": 1}),
            "backup_is_fresh": nullcontext(),
            "backup_can_be_restored": world.without(f"{folder}checkpoint/metadata"),
            "history_is_kept": world.forgetting(),
            "rollback_is_possible": world.without(f"bronze/things/{of_backup}"),
            "alerts_are_tested": world.told_at(f"{world.alerts}.other"),
        }
        assert sorted(broken) == sorted(world.items), "a line that nothing breaks"
        for item, breaking in broken.items():
            with breaking:
                words = ("--max-backup-age", "0 seconds") if item == "backup_is_fresh" else ()
                assert world.red(*words) == {item}
        for breaking in (world.without(f"_checkpoints/{TABLE}.lease"), world.with_a_service_beside()):
            with breaking:
                assert world.red() == {"one_writer_at_a_time"}
        with world.told_at(""):
            assert world.red() == {"alerts_are_tested"}, "no channel at all"
        world.put("c.json", [{"a": 1}])
        world.load()
        later = f"{world.folder}c.json"
        kept = lake.store.read(world.bucket, later)
        lake.store.delete(world.bucket, later)
        assert world.red() == {"rollback_is_possible"}, "what came after the backup cannot be read again"
        lake.store.write(world.bucket, later, kept)
        assert world.red() == set(), "all is as it was"
    tried = f"{lake.settings.user}/_backups/_tried/"
    assert list(lake.store.list(lake.settings.bucket, tried)) == [], "what was tried is removed again"


@pytest.mark.parametrize(("kind", "found"), [("tmpfs", "in memory"), ("ramfs", "in memory"), ("ext4", "")])
def test_data_in_memory_is_gone_after_a_restart_as_that_below_a_temporary_folder_is(kind, found, tmp_path, monkeypatch):
    home, link = tmp_path / "disk/lake", tmp_path / "link"
    home.mkdir(parents=True)
    link.symlink_to(home)
    assert _fleeting(home) == "temporary"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    mounts = {tmp_path: "xfs", home.parent: kind}
    disks = [SimpleNamespace(mountpoint=str(place), fstype=of) for place, of in mounts.items()]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: disks)
    assert _fleeting(home) == _fleeting(link) == found
    assert _fleeting(tmp_path / "other") == ""


@pytest.mark.parametrize("owners", [["team:sales"], []])
def test_a_table_counts_as_watched_when_the_channels_of_its_owners_took_a_test(lake, tmp_path, monkeypatch, owners):
    world = Production(lake, tmp_path)
    world.declare(owners=owners, alerts={"owners": {"team:sales": "SALES_ALERTS"}})
    world.alerts = ""
    monkeypatch.setenv("SALES_ALERTS", f"file://{tmp_path}/sales.jsonl")
    world.red("alerts", "test")
    assert ("alerts_are_tested" in world.red()) is (owners == [])

"""Pipelines that are broken on purpose, each in a way that the doctor has to name."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from command import lakehouse_here
from store.local_world import TABLE, LocalWorld, no_session

from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.declaration import read_catalogue
from lakehouse.doctor import examining
from lakehouse.doctor.finding import Verdict
from lakehouse.doctor.probes import weight
from lakehouse.pipeline import run_table
from lakehouse.storage.lease_holder import Holder, this_host


class Died(Exception):
    """In place of a kill."""


class Pipeline:
    """A table of files that are loaded one a batch; each has three rows."""

    def __init__(self, lake, folder, environment, monkeypatch):
        self.world = LocalWorld(lake, folder).declare(options={"cloudFiles.maxFilesPerTrigger": 1})
        self.files, self.patch, self.later = 0, monkeypatch, timedelta()
        self.environment = {**environment, "LAKEHOUSE_DECLARATION": str(folder / "lakehouse.yaml")}
        self.bucket, self.user = lake.settings.bucket, lake.settings.user

    @property
    def lake(self):
        return self.world.lake

    def land(self, count=1):
        for _ in range(count):
            self.world.put(f"{self.files:03}.json", [{"a": self.files, "n": row} for row in range(3)])
            self.files += 1
        return self

    def load(self):
        self.world.load()
        return self

    def objects(self, folder):
        """Content by key, of everything under a folder of the user's."""
        listed = self.lake.store.list(self.bucket, f"{self.user}/{folder}")
        return {info.key: self.lake.store.read(self.bucket, info.key) for info in listed}

    def versions(self):
        """What the bucket has, by key."""
        return {info.key: (info.e_tag, info.last_modified) for info in self.lake.store.list(self.bucket)}

    def put_back(self, folder, content):
        self.lake.store.delete_prefix(self.bucket, f"{self.user}/{folder}")
        for key, data in content.items():
            self.lake.store.write(self.bucket, key, data)

    def cut(self, key):
        """An object loses its second half."""
        data = self.lake.store.read(self.bucket, key)
        self.lake.store.write(self.bucket, key, data[: len(data) // 2])

    def cut_checkpoint(self, name):
        self.cut(f"{self.user}/_checkpoints/{TABLE}/{name}")

    def segments(self):
        return sorted(key for key in self.objects("_journal/") if "/segments/" in key)

    def examine(self):
        now = datetime.now(UTC) + self.later
        found = examining.examine(self.lake, read_catalogue(self.lake.settings), [TABLE], now=now, shared=False)
        return found.of(Verdict.FAIL, Verdict.WARN)

    def run(self, command):
        """As a shell does; what stands behind three blanks is for people."""
        self.later = timedelta()
        for step in command.split("   ")[0].split(" && "):
            words = shlex.split(step)
            if words[0] == "python":
                done = subprocess.run(
                    [sys.executable, *words[1:]], env=self.environment, capture_output=True, text=True
                )
            else:
                done = lakehouse_here(self.environment, *words[1:])
            assert done.returncode == 0, done.stdout + done.stderr

    def assert_exact(self):
        found = sorted((int(a), int(n)) for a, n in self.world.rows("a", "n"))
        assert found == [(a, n) for a in range(self.files) for n in range(3)]
        assert self.world.failed_checks() == set()


def checkpoint_lost(pipeline):
    pipeline.land(2).load().world.set_checkpoint({})


def checkpoint_of_another_table(pipeline):
    content = pipeline.land(2).load().world.checkpoint()
    other = {**content, "metadata": b'{"id": "11111111-2222-3333-4444-555555555555"}'}
    pipeline.world.set_checkpoint(other)


def checkpoint_of_another_user(pipeline):
    """Who reads the same files: its places are in another journal."""
    pipeline.land(2).load()
    theirs = replace(pipeline.lake, settings=pipeline.lake.settings.model_copy(update={"user": f"{pipeline.user}2"}))
    assert run_table(no_session, theirs, TABLE).rows_added == 6
    there = f"{pipeline.user}2/_checkpoints/{TABLE}/"
    keys = [info.key for info in pipeline.lake.store.list(pipeline.bucket, there)]
    pipeline.world.set_checkpoint(
        {key.removeprefix(there): pipeline.lake.store.read(pipeline.bucket, key) for key in keys}
    )


def checkpoint_of_yesterday(pipeline):
    content = pipeline.land(2).load().world.checkpoint()
    pipeline.land(2).load().world.set_checkpoint(content)


def table_of_yesterday(pipeline):
    log = pipeline.land(2).load().objects("bronze/things/_delta_log/")
    pipeline.land(2).load().put_back("bronze/things/_delta_log/", log)


def table_gone(pipeline):
    pipeline.land(2).load().put_back("bronze/things/", {})


def offset_cut_off(pipeline):
    pipeline.land(2).load().cut_checkpoint("offsets/1")


def commit_emptied(pipeline):
    pipeline.land(2).load()
    pipeline.lake.store.write(pipeline.bucket, f"{pipeline.user}/_checkpoints/{TABLE}/commits/1", b"")


def metadata_cut_off(pipeline):
    pipeline.land(2).load().cut_checkpoint("metadata")


def killed_in_a_batch(pipeline):
    planned = SparkLog.plan

    def plan(log, *given):
        planned(log, *given)
        raise Died

    pipeline.land(2).load().land()
    with pipeline.patch.context() as patch, pytest.raises(Died):
        patch.setattr(SparkLog, "plan", plan)
        pipeline.load()


def journal_lost(pipeline):
    pipeline.land(2).load()
    for key in pipeline.segments():
        pipeline.lake.store.delete(pipeline.bucket, key)


def journal_of_yesterday(pipeline):
    content = pipeline.land(2).load().objects("_journal/")
    pipeline.land(2).load().put_back("_journal/", content)


def journal_restored_and_grown_otherwise(pipeline):
    pipeline.land(2).load()
    kept = pipeline.objects("_journal/")
    pipeline.land().load()
    pipeline.put_back("_journal/", kept)
    source = read_catalogue(pipeline.lake.settings)[TABLE].flow.cloud_files(pipeline.lake.settings, TABLE)
    from lakehouse.autoloader.files.journal import Journal

    journal = Journal.at(pipeline.lake.store, source.journal_location)
    journal.append(pipeline.world.bucket, list(pipeline.lake.store.list(pipeline.world.bucket, pipeline.world.folder)))


def journal_without_a_segment(pipeline):
    for _ in range(3):
        pipeline.land().load()
    pipeline.lake.store.delete(pipeline.bucket, pipeline.segments()[1])


def journal_cut_off(pipeline):
    pipeline.land(2).load().land().load()
    pipeline.cut(pipeline.segments()[0])


def writer_killed(pipeline):
    pipeline.land(2).load()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    holder = Holder("h", TABLE, this_host(), gone.pid, "1", 0.0)
    pipeline.lake.store.write(pipeline.bucket, f"{pipeline.user}/_checkpoints/{TABLE}.lease", holder.encoded())
    pipeline.land()


def lease_written_over(pipeline):
    pipeline.land(2).load()
    pipeline.lake.store.write(pipeline.bucket, f"{pipeline.user}/_checkpoints/{TABLE}.lease", b"no lease")


def file_in_quarantine(pipeline):
    pipeline.land(2)
    pipeline.world.put(f"{pipeline.files:03}.json.gz", b"\x1f\x8b\x08\x00broken")
    pipeline.load()


def file_corrected(pipeline):
    import gzip

    rows = "".join(json.dumps({"a": pipeline.files, "n": row}) + "\n" for row in range(3))
    pipeline.world.put(f"{pipeline.files:03}.json.gz", gzip.compress(rows.encode()))
    pipeline.files += 1


def files_that_nobody_loads(pipeline):
    pipeline.land(2).load().land(3)
    pipeline.later = timedelta(hours=5)


def schema_cut_off(pipeline):
    pipeline.land(2).load()
    pipeline.cut(f"{pipeline.user}/_schemas/{TABLE}/_schemas/0")


def first_offset_half_written(pipeline):
    pipeline.land(2)
    pipeline.lake.store.write(pipeline.bucket, f"{pipeline.user}/_checkpoints/{TABLE}/offsets/.0.tmp", b"v1")


def newest_commit_cut_off(pipeline):
    pipeline.land(3).load().cut(f"{pipeline.user}/bronze/things/_delta_log/{2:020}.json")


def newest_commit_emptied(pipeline):
    pipeline.land(3).load().lake.store.write(
        pipeline.bucket, f"{pipeline.user}/bronze/things/_delta_log/{2:020}.json", b""
    )


def summary_of_the_log_cut_off(pipeline):
    pipeline.land(3).load().lake.delta(TABLE).create_checkpoint()
    pipeline.cut(f"{pipeline.user}/bronze/things/_delta_log/{2:020}.checkpoint.parquet")


def data_file_gone(pipeline):
    pipeline.land(3).load()
    pipeline.lake.store.delete(
        pipeline.bucket, next(key for key in pipeline.objects("bronze/things/") if key.endswith(".parquet"))
    )


def many_versions(pipeline):
    pipeline.land(3).load()
    pipeline.patch.setattr(weight, "_LOG_VERSIONS", 1)


def many_small_files(pipeline):
    pipeline.land(10).load()
    pipeline.patch.setattr(weight, "_SMALL_FILES", 3)


BROKEN = [
    (checkpoint_lost, "checkpoint_lost", "warn"),
    (checkpoint_of_another_table, "checkpoint_foreign", "warn"),
    (checkpoint_of_yesterday, "checkpoint_older", "warn"),
    (table_of_yesterday, "checkpoint_ahead", "fail"),
    (table_gone, "table_missing", "fail"),
    (offset_cut_off, "checkpoint_unreadable", "warn"),
    (killed_in_a_batch, "batch_begun", "warn"),
    (journal_lost, "journal_lost", "fail"),
    (journal_without_a_segment, "journal_gap", "fail"),
    (writer_killed, "writer_dead", "warn"),
    (file_in_quarantine, "files_quarantined", "warn"),
    (files_that_nobody_loads, "no_progress", "fail"),
    (newest_commit_cut_off, "log_damaged", "fail"),
]
BROKEN_OTHERWISE = [
    (checkpoint_of_another_user, "checkpoint_foreign", "warn"),
    (commit_emptied, "checkpoint_unreadable", "fail"),
    (metadata_cut_off, "checkpoint_unreadable", "fail"),
    (journal_of_yesterday, "journal_behind", "fail"),
    (journal_restored_and_grown_otherwise, "journal_foreign", "fail"),
    (journal_cut_off, "journal_damaged", "fail"),
    (lease_written_over, "lease_strange", "fail"),
    (schema_cut_off, "schema_unreadable", "fail"),
    (many_small_files, "small_files", "warn"),
    (many_versions, "long_log", "warn"),
    (newest_commit_emptied, "checkpoint_ahead", "fail"),
    (summary_of_the_log_cut_off, "log_damaged", "fail"),
    (data_file_gone, "data_missing", "fail"),
    (first_offset_half_written, "checkpoint_half_written", "warn"),
]
BY_A_PERSON = {file_in_quarantine: file_corrected}
"""What has to be done beside the command."""

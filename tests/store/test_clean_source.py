"""``cloudFiles.cleanSource`` on a real store: what was loaded in full goes in its time, all else stays."""

import gzip
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql.types import StructType

from lakehouse.autoloader.options import CloudFilesOptions
from lakehouse.autoloader.state import file_states
from lakehouse.autoloader.stream import Stream
from lakehouse.storage.environment import environment_of

ROW = b'{"a": 1}\n'
SCHEMA = StructType().add("a", "long")


@pytest.fixture
def world(lake, monkeypatch):
    return World(lake, monkeypatch)


class World:
    """A landing folder, streams on it, and their clock."""

    def __init__(self, lake, monkeypatch):
        self.lake, self.now = lake, datetime.now(UTC)
        for name, value in environment_of(lake.endpoint).items():
            monkeypatch.setenv(name, value)

    @property
    def bucket(self):
        return self.lake.settings.landing_bucket

    @property
    def folder(self):
        return self.lake.settings.landing_prefix

    @property
    def journal(self):
        return f"s3a://{self.lake.settings.bucket}/journal/"

    def put(self, name, data=ROW):
        self.lake.store.write(self.bucket, self.folder + name, data)

    def names(self, below=None):
        prefix = self.folder if below is None else below
        return {one.key.removeprefix(prefix) for one in self.lake.store.list(self.bucket, prefix)}

    def run(self, query="one", *, commit=True, **options):
        """A run to the end of what is there; without ``commit`` it dies before its batch is finished."""
        stream = Stream(
            CloudFilesOptions.parse(
                {
                    "path": f"s3a://{self.bucket}/{self.folder}",
                    "cloudFiles.format": "json",
                    "cloudFiles.journalLocation": self.journal,
                    "cloudFiles.schemaLocation": f"s3a://{self.lake.settings.bucket}/schemas/{query}",
                    **options,
                }
            ),
            None,
            now=lambda: self.now,
        )
        stream.fix_target()
        place = self.__dict__.setdefault(query, {"start": stream.beginning()})
        while (end := stream.next_end(place["start"], max_files=2, max_bytes=None)) != place["start"]:
            for task in stream.parts(place["start"], end):
                list(stream.read(task, SCHEMA))
            if not commit:
                return
            place["start"] = end

    def states(self):
        self.lake.store.write(
            self.lake.settings.bucket, "schemas/one/_source.json", f'{{"journal": "{self.journal}"}}'.encode()
        )
        found = file_states(self.lake.store, f"s3a://{self.lake.settings.bucket}/schemas/one")
        return {one.path.rsplit("/", 1)[1]: one for one in found}


def moving(world, seconds=0):
    return {
        "cloudFiles.cleanSource": "MOVE",
        "cloudFiles.cleanSource.moveDestination": f"s3a://{world.bucket}/loaded/{world.folder}",
        "cloudFiles.cleanSource.retentionDuration": f"{seconds} seconds",
    }


DELETING = {"cloudFiles.cleanSource": "DELETE", "cloudFiles.cleanSource.retentionDuration": "8 days"}


def test_loaded_files_are_moved_with_their_folders_and_say_where_they_are(world):
    for name in ("a.json", "b/c 1.json", "b/d.json"):
        world.put(name)
    world.run(**moving(world))
    assert world.names() == set()
    assert world.names(f"loaded/{world.folder}") == {"a.json", "b/c 1.json", "b/d.json"}
    state = world.states()["a.json"]
    assert (state.archive_mode, state.archive_time) == ("MOVE", world.now)
    assert state.move_location == f"s3a://{world.bucket}/loaded/{world.folder}a.json"


def test_the_retention_counts_from_the_end_of_the_batch(world):
    world.put("a.json")
    world.run(**DELETING)
    world.now += timedelta(days=5)
    world.put("b.json")
    world.run(**DELETING)
    world.now += timedelta(days=3, seconds=1)
    world.run(**DELETING)
    assert world.names() == {"b.json"}
    world.now += timedelta(days=5)
    world.run(**DELETING)
    assert world.names() == set()
    assert world.states()["b.json"].archive_mode == "DELETE"


def test_files_of_a_batch_that_was_never_finished_stay(world):
    world.put("a.json")
    world.run(commit=False, **moving(world))
    world.run(commit=False, **moving(world))
    assert world.names() == {"a.json"}


def test_files_that_did_not_give_all_their_rows_stay(world):
    world.put("good.json")
    world.put("broken.json.gz", b"not gzip at all")
    world.put("long.json.gz", gzip.compress(ROW + b'{"a": "' + b"x" * 20_000_000 + b'"}\n'))
    world.run(**moving(world), **{"cloudFiles.maxLineBytes": "1m"})
    assert world.names() == {"broken.json.gz", "long.json.gz"}
    assert world.states()["broken.json.gz"].archive_time is None


def test_a_version_that_came_later_is_not_taken_for_the_loaded_one(world):
    world.put("a.json")
    world.run()
    world.put("a.json", ROW * 2)
    world.run(**moving(world))
    assert world.names() == {"a.json"}


def test_a_later_version_of_a_moved_file_does_not_replace_it_there(world):
    again = {**moving(world), "cloudFiles.allowOverwrites": "true"}
    world.put("a.json")
    world.run(**again)
    world.put("a.json", ROW * 2)
    world.run(**again)
    assert world.names() == set()
    assert len(world.names(f"loaded/{world.folder}")) == 2


def test_a_file_stays_until_every_stream_on_the_journal_has_loaded_it(world):
    world.put("a.json")
    world.run("two")
    world.put("b.json")
    world.run("one", **moving(world))
    assert world.names() == {"b.json"}, "stream two has loaded a.json only"
    world.run("two")
    world.run("one", **moving(world))
    assert world.names() == set()


def test_a_crash_between_the_removal_and_its_record_is_made_good(world):
    world.put("a.json")
    world.run()
    world.put("b.json")
    world.run()
    key = f"{world.folder}a.json"
    world.lake.store.copy(world.bucket, key, f"loaded/{key}", if_match=world.lake.store.info(world.bucket, key).e_tag)
    for name in ("a.json", "b.json"):
        world.lake.store.delete(world.bucket, world.folder + name)
    world.run(**moving(world))
    assert world.states()["a.json"].move_location == f"s3a://{world.bucket}/loaded/{key}"
    assert world.states()["b.json"].archive_mode is None, "somebody else removed it"

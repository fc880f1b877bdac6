"""``cloudFiles.cleanSource`` on a real store: what was loaded in full goes in its time, all else stays."""

import gzip
from datetime import timedelta

import pytest
from store.landed import ROW

from lakehouse.autoloader.context import shared_stream_id
from lakehouse.errors import ConfigurationError


def moving(world, seconds=0):
    return {
        "cleanSource": "MOVE",
        "cleanSource.moveDestination": f"s3a://{world.bucket}/loaded/{world.folder}",
        "cleanSource.retentionDuration": f"{seconds} seconds",
    }


DELETING = {"cleanSource": "DELETE", "cleanSource.retentionDuration": "8 days"}


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
    world.run(**moving(world), maxLineBytes="1m")
    assert world.names() == {"broken.json.gz", "long.json.gz"}
    assert world.states()["broken.json.gz"].archive_time is None


def test_a_version_that_came_later_is_not_taken_for_the_loaded_one(world):
    world.put("a.json")
    world.run()
    world.put("a.json", ROW * 2)
    world.run(**moving(world))
    assert world.names() == {"a.json"}


def test_a_later_version_of_a_moved_file_does_not_replace_it_there(world):
    again = {**moving(world), "allowOverwrites": "true"}
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


def test_checkpoints_with_the_same_options_are_streams_of_their_own(world):
    """The slower of two must not lose what the faster one has read."""
    same = {"schemaLocation": f"s3a://{world.lake.settings.bucket}/schemas/shared", **DELETING}
    for name in ("a.json", "b.json", "c.json"):
        world.put(name)
    world.run("slow", commit=False, max_files=1, **same)
    world.run("fast", **same)
    world.now += timedelta(days=9)
    world.put("d.json")
    world.run("fast", **same)
    assert world.names() == {"a.json", "b.json", "c.json", "d.json"}
    assert len(world.run("slow", **same)) == 4
    world.now += timedelta(days=9)
    for query in ("slow", "fast"):
        world.run(query, **same)
    assert world.names() == set()


def test_a_checkpoint_whose_name_others_may_have_does_not_clean_up(world):
    """Streams had the names of their options once."""
    stream = world.stream(**DELETING)
    world.place = {"start": {**stream.beginning(), "stream": shared_stream_id(stream._options)}}
    world.put("a.json")
    with pytest.raises(ConfigurationError, match="another checkpoint may have the same name") as refused:
        world.run("place", schemaLocation=f"s3a://{world.lake.settings.bucket}/schemas/one", **DELETING)
    assert "without cloudFiles.cleanSource" in refused.value.next_command
    assert len(world.run("place", schemaLocation=f"s3a://{world.lake.settings.bucket}/schemas/one")) == 1


def test_a_new_checkpoint_has_a_beginning_of_its_own(world):
    """Without ``includeExistingFiles``, whatever an earlier one with the same options began with."""
    new_only = {
        "includeExistingFiles": "false",
        "schemaLocation": f"s3a://{world.lake.settings.bucket}/schemas/shared",
    }
    world.put("a.json")
    assert world.run("first", **new_only) == []
    world.put("b.json")
    assert len(world.run("first", **new_only)) == 1
    assert world.run("second", **new_only) == []
    world.put("c.json")
    assert [name for name, *_ in world.run("second", **new_only)] == ["c.json"]

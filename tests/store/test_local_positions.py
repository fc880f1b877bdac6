"""A checkpoint that was lost, restored or swapped: the local engine's next run loses nothing and doubles nothing."""

import itertools
import json

import pytest
from store.local_world import TABLE, LocalWorld

from lakehouse.checkpoints.agreement import CheckpointMismatch
from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.direct import stream as streams
from lakehouse.pipeline import repair_table

LIMIT = {"cloudFiles.maxFilesPerTrigger": 1}


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(options=LIMIT)


class Died(Exception):
    """In place of a kill."""


class Story:
    """Files that come one after another, and runs that end at a moment."""

    def __init__(self, world, monkeypatch):
        self.world, self.files, self.patch = world, 0, monkeypatch

    def land(self, count=1):
        for _ in range(count):
            self.world.put(f"{self.files:03}.json", [{"a": self.files, "n": row} for row in range(3)])
            self.files += 1

    def die(self, moment):
        """A run with a new file that ends at that moment."""
        self.land()
        self.world.load() if moment == "at rest" else self._die(moment)

    def _die(self, moment):
        def die(*_, **__):
            raise Died

        after_plan = SparkLog.plan

        def plan(log, *given):
            after_plan(log, *given)
            raise Died

        with self.patch.context() as patch, pytest.raises(Died):
            if moment == "planned":
                patch.setattr(SparkLog, "plan", plan)
            elif moment == "written":
                patch.setattr(streams, "commit", die)
            else:
                patch.setattr(SparkLog, "finish", die)
            self.world.load()

    def assert_exact(self):
        found = sorted((int(a), int(n)) for a, n in self.world.rows("a", "n"))
        assert found == [(a, n) for a in range(self.files) for n in range(3)]
        assert self.world.failed_checks() == set()


MOMENTS = ("at rest", "planned", "written", "committed")


def whole(content):
    return {}


def without(folder):
    return lambda content: {name: data for name, data in content.items() if not name.startswith(folder)}


def without_older(folder):
    """All but the newest of a folder."""

    def left(content):
        numbers = sorted(int(name.split("/")[1]) for name in content if name.startswith(folder))
        return {
            name: data
            for name, data in content.items()
            if not name.startswith(folder) or int(name.split("/")[1]) == numbers[-1]
        }

    return left


DAMAGES = {
    "all of it": whole,
    "metadata": without("metadata"),
    "offsets": without("offsets/"),
    "commits": without("commits/"),
    "offsets and commits": lambda content: without("offsets/")(without("commits/")(content)),
    "older offsets": without_older("offsets/"),
    "older commits": without_older("commits/"),
}


@pytest.fixture
def story(things, monkeypatch):
    return Story(things, monkeypatch)


FEW = [
    ("at rest", "all of it"),
    ("planned", "older offsets"),
    ("written", "metadata"),
    ("committed", "offsets"),
    ("committed", "commits"),
]


@pytest.mark.parametrize(("moment", "damage"), FEW)
def test_what_a_checkpoint_has_lost_the_table_knows(story, moment, damage):
    lose_a_part(story, moment, damage)


@pytest.mark.soak("every part of a checkpoint, at every moment of a run")
@pytest.mark.parametrize(
    ("moment", "damage"), [case for case in itertools.product(MOMENTS, DAMAGES) if case not in FEW]
)
def test_whatever_a_checkpoint_has_lost_at_any_moment_the_table_knows(story, moment, damage):
    lose_a_part(story, moment, damage)


def lose_a_part(story, moment, damage):
    story.land(2)
    story.world.load()
    story.die(moment)
    story.world.set_checkpoint(DAMAGES[damage](story.world.checkpoint()))
    story.land()
    story.world.load()
    story.assert_exact()
    assert story.world.load().batches == ()


@pytest.mark.soak("the same before there is a table, where nothing can be known of it")
@pytest.mark.parametrize("moment", MOMENTS[1:])
@pytest.mark.parametrize("damage", DAMAGES)
def test_nothing_is_lost_before_the_first_commit(story, moment, damage):
    story.die(moment)
    story.world.set_checkpoint(DAMAGES[damage](story.world.checkpoint()))
    story.land()
    story.world.load()
    story.assert_exact()


@pytest.mark.parametrize(("yesterday", "today"), [("at rest", "planned"), ("planned", "committed")])
def test_yesterdays_copy_of_a_checkpoint_is_brought_up_to_the_table(story, yesterday, today):
    restore_yesterdays(story, yesterday, today)


@pytest.mark.soak("copies of every moment, at every moment")
@pytest.mark.parametrize(("yesterday", "today"), list(itertools.product(MOMENTS, MOMENTS)))
def test_a_copy_of_any_moment_is_brought_up_to_the_table(story, yesterday, today):
    restore_yesterdays(story, yesterday, today)


def restore_yesterdays(story, yesterday, today):
    story.land()
    story.world.load()
    story.die(yesterday)
    copy = story.world.checkpoint()
    story.land(2)
    story.world.load()
    story.die(today)
    story.world.set_checkpoint(copy)
    story.land()
    story.world.load()
    story.assert_exact()
    assert story.world.load().batches == ()


@pytest.mark.parametrize("part", ["offsets/", "commits/", "metadata"])
def test_a_part_of_yesterdays_checkpoint_over_todays_loses_nothing(story, part):
    story.land(2)
    story.world.load()
    copy = story.world.checkpoint()
    story.land(2)
    story.world.load()
    now = story.world.checkpoint()
    mixed = without(part)(now) | {name: data for name, data in copy.items() if name.startswith(part)}
    story.world.set_checkpoint(mixed)
    story.land()
    story.world.load()
    story.assert_exact()


@pytest.mark.parametrize(("moment", "batches"), [("at rest", 0), ("planned", 5)])
def test_another_tables_checkpoint_is_replaced_by_the_tables_own_place(story, moment, batches):
    swap_in_another(story, moment, batches)


@pytest.mark.soak("checkpoints of several lengths, at every moment")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("batches", [0, 1, 5])
def test_any_other_tables_checkpoint_is_replaced_by_the_tables_own_place(story, moment, batches):
    swap_in_another(story, moment, batches)


def swap_in_another(story, moment, batches):
    """The other one reads the same files by the same journal: its places are places there, too."""
    story.land(2)
    story.world.load()
    story.die(moment)
    swapped = _of_another_stream(story.world.checkpoint(), batches)
    story.world.set_checkpoint(swapped)
    story.land()
    story.world.load()
    story.assert_exact()
    assert story.world.load().batches == ()


def _of_another_stream(content, batches):
    """What a second table over the same files would have: other ids, the places of its own batches."""
    [offset] = [json.loads(content["offsets/0"].decode().splitlines()[2])]
    lines = content["offsets/0"].decode().splitlines()
    made = {"metadata": b'{"id": "11111111-2222-3333-4444-555555555555"}'}
    for number in range(max(batches, 1)):
        place = {**offset, "stream": "ffffffffffffffff"}
        made[f"offsets/{number}"] = "\n".join([*lines[:2], json.dumps(place)]).encode()
        if number < batches:
            made[f"commits/{number}"] = content["commits/0"]
    return made


def test_a_table_that_was_taken_back_is_refused_and_the_printed_cure_mends_it(story):
    world = story.world
    story.land(2)
    world.load()
    bucket, prefix = world.lake.settings.bucket, f"{world.lake.settings.user}/bronze/things/_delta_log/"
    copy = {info.key: world.lake.store.read(bucket, info.key) for info in world.lake.store.list(bucket, prefix)}
    story.land(2)
    world.load()
    world.lake.store.delete_prefix(bucket, prefix)
    for key, data in copy.items():
        world.lake.store.write(bucket, key, data)
    before = world.checkpoint()
    for _ in range(2):
        with pytest.raises(CheckpointMismatch) as refused:
            world.load()
        assert refused.value.next_command.startswith(f"lakehouse checkpoint repair {TABLE}")
        assert world.checkpoint() == before, "a refusal writes nothing"
    assert repair_table(world.lake, TABLE, really=True).done
    story.land()
    world.load()
    story.assert_exact()
    assert world.load().batches == ()


def test_a_version_that_restore_brought_back_is_refused_and_the_printed_cure_mends_it(story):
    """Delta keeps the transaction of the newest batch: the stream would go on behind rows that are gone."""
    world = story.world
    story.land(2)
    world.load()
    version, copy = world.lake.version(TABLE), world.checkpoint()
    story.land(2)
    world.load()
    world.lake.delta(TABLE).restore(version)
    for content in (world.checkpoint(), copy, {}):  # as it is, yesterday's, none
        world.set_checkpoint(content)
        with pytest.raises(CheckpointMismatch) as refused:
            world.load()
        assert refused.value.next_command.startswith(f"lakehouse checkpoint repair {TABLE}")
        assert world.checkpoint() == content, "a refusal writes nothing"
    assert repair_table(world.lake, TABLE, really=True).done
    story.land()
    world.load()
    story.assert_exact()
    assert world.load().batches == ()
    there = world.lake.version(TABLE)
    world.lake.delta(TABLE).restore(version)
    world.lake.delta(TABLE).restore(there)
    story.land()
    world.load()
    story.assert_exact()


def test_a_table_that_is_gone_is_refused_and_nothing_is_written(story):
    world = story.world
    story.land()
    world.load()
    world.lake.store.delete_prefix(world.lake.settings.bucket, f"{world.lake.settings.user}/bronze/things/")
    with pytest.raises(CheckpointMismatch, match="the table is gone"):
        world.load()
    assert world.lake.version(TABLE) is None


def test_an_older_start_is_not_asked_again_for_a_first_batch_without_existing_files(story):
    world = story.world
    world.declare(options={**LIMIT, "cloudFiles.includeExistingFiles": False})
    story.land(2)
    story._die("planned")
    story.files = 0
    world.put("new.json", [{"a": 0, "n": row} for row in range(3)])
    world.load()
    assert sorted((int(a), int(n)) for a, n in world.rows("a", "n")) == [(0, 0), (0, 1), (0, 2)]


def test_rewriting_a_checkpoint_can_be_done_again_after_a_crash(story, monkeypatch):
    world = story.world
    story.land(2)
    world.load()
    world.set_checkpoint({})
    written = type(world.lake.store).write
    for survived in range(4):
        calls = iter(range(survived))

        def write(store, bucket, key, *given, **named):
            if "/_checkpoints/bronze.things/" in key and next(calls, None) is None:  # noqa: B023
                raise Died
            return written(store, bucket, key, *given, **named)

        with monkeypatch.context() as patch:
            patch.setattr(type(world.lake.store), "write", write)
            with pytest.raises(Died):
                world.load()
    story.land()
    world.load()
    story.assert_exact()

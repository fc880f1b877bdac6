"""A check of windows reads the data files of its source that it has not read before; a full one reads all."""

import pyarrow as pa
import pytest
from counted import SparkWasAsked, opened, remove_data_files
from deltalake import CommitProperties, Transaction
from store.test_accounts_here import LENGTH, MINUTE, SOURCE, START, TABLE, World, good

from lakehouse.checks import accounts_here, accounts_kept
from lakehouse.checks.kept import finding_of
from lakehouse.counting.state import State, read_state, write_state
from lakehouse.errors import LakehouseError, TerminalError
from lakehouse.streams.run import Run

LATER = START + 30 * MINUTE


@pytest.fixture
def world(lake):
    """Two files that a check has read, each with a row of its own window and one that is not believed."""
    world = World(lake)
    for number in range(2):
        commit(world, number)
    assert world.examine().passed
    return world


def commit(world, number):
    """A further file, and the table with all windows so far."""
    world.commit([good(5 * number, "a"), {**good(0, "a"), "at": "noon"}])
    world.checkpoint(LATER, reservoirVersion=number + 1, index=-1)
    world.count([(START + at * LENGTH, START + (at + 1) * LENGTH, "a", 1) for at in range(number + 1)])
    world.set_aside([], number + 1)


def kept(world):
    return read_state(world.lake, TABLE, "accounts", str(opened(world.lake, SOURCE).metadata().id))


def test_files_that_were_read_before_are_not_read_again(world):
    remove_data_files(world.lake, [uri.rsplit("/", 1)[1] for uri in opened(world.lake, SOURCE).file_uris()], SOURCE)
    assert world.examine().passed
    commit(world, 2)
    found = world.examine()
    assert (found.passed, found.numbers["windows"], found.numbers["set_aside_rows"]) == (True, 3, 3)
    with pytest.raises(TerminalError, match="a data file is gone"):
        world.examine(full=True)


def test_a_fault_behind_files_that_are_not_read_is_found(world):
    world.count([(START, START + LENGTH, "a", 1)])
    lost = world.examine()
    assert (lost.passed, lost.numbers["unaccounted_rows"]) == (False, 1)
    world.count([(START, START + LENGTH, "a", 2), (START + LENGTH, START + 2 * LENGTH, "a", 1)])
    assert not world.examine().passed
    world.set_aside([], 1)
    assert not world.examine().passed


def test_rows_that_stand_in_another_file_now_are_read_there_and_the_old_file_is_forgotten(world):
    before = set(kept(world).files["path"].to_pylist())
    opened(world.lake, SOURCE).optimize.compact()
    world.checkpoint(LATER, reservoirVersion=2, index=0, isStartingVersion=True)
    assert world.examine().passed
    after = set(kept(world).files["path"].to_pylist())
    assert (len(before), len(after), before & after) == (2, 1, set())


@pytest.mark.parametrize("declared", [{"window": "10 minutes"}, {"slide": "1 minute"}, {"refuse": {"a": "Kind = 'a'"}}])
def test_what_another_declaration_has_counted_does_not_count(world, declared):
    assert not world.examine(**declared).passed
    assert world.examine().passed


def test_a_full_check_finds_kept_counts_that_are_wrong_and_puts_them_right(world):
    state = kept(world)
    files = state.files.set_column(
        state.files.column_names.index("window_start"), "window_start", pa.array([None, 0, None, 0], pa.int64())
    )
    metadata = str(opened(world.lake, SOURCE).metadata().id)
    assert write_state(world.lake, TABLE, "accounts", metadata, State(files, state.manifest, state.e_tag))
    assert not world.examine().passed
    places = []
    assert world.examine(full=True, places=places).passed
    told = finding_of(places[0])
    assert (told.passed, told.numbers["counts_that_differ"]) == (False, 1)
    assert world.examine().passed
    places = []
    assert world.examine(full=True, places=places).passed
    assert finding_of(places[0]).passed


def test_more_windows_than_are_worth_it_are_not_kept_and_a_large_source_is_then_left_to_spark(world, monkeypatch):
    monkeypatch.setattr(accounts_kept, "_MOST_KEPT", 3)
    commit(world, 2)
    assert world.examine().passed
    assert kept(world).files.num_rows == 0
    assert world.examine().passed
    monkeypatch.setattr(accounts_here, "_MOST_ROWS", 5)
    with pytest.raises(SparkWasAsked):
        world.examine()


def test_a_large_source_is_read_once_and_then_what_is_new(world, monkeypatch):
    monkeypatch.setattr(accounts_here, "_MOST_NEW_ROWS", 3)
    commit(world, 2)
    assert world.examine().passed, "two of six rows are new"
    monkeypatch.setattr(accounts_here, "_MOST_NEW_ROWS", 1)
    commit(world, 3)
    with pytest.raises(SparkWasAsked):
        world.examine()


def test_windows_of_a_source_without_news_are_brought_up_to_date_without_a_session(world):
    lake, settings = world.lake, world.lake.settings
    told = CommitProperties(app_transactions=[Transaction("q", 0)])
    table = opened(lake, TABLE)
    table.create_write_transaction([], "append", table.schema(), commit_properties=told)
    world.checkpoint(LATER, reservoirVersion=2, index=-1, isStartingVersion=False)
    place = f"{settings.user}/_checkpoints/{TABLE}/set_aside.json"
    lake.store.write(settings.bucket, place, b'{"batch": 0}')
    places = []
    world.examine(places=places)
    [at] = places
    assert at.table.flow.bring_up_to_date(at, Run()).batches == ()
    lake.store.write(settings.bucket, place, b'{"batch": -1}')  # a batch whose rows nobody has looked at
    with pytest.raises(LakehouseError, match="SparkWasAsked"):  # its class depends on an engine that may be there
        at.table.flow.bring_up_to_date(at, Run())


def test_a_damaged_object_is_counted_anew(world):
    bucket, prefix = world.lake.settings.bucket, f"{world.lake.settings.user}/_checks/{TABLE}/"
    [info] = world.lake.store.list(bucket, prefix)
    world.lake.store.write(bucket, info.key, b"no Parquet")
    assert world.examine().passed
    assert kept(world).files.num_rows == 4

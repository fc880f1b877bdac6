"""A journal on a local disk: a discoverer may die at any call of the file system, and others may discover beside it."""

import os
import shutil

import pytest
from killed_calls import run_and_die, run_together

from lakehouse.autoloader.files.discovery import discover
from lakehouse.autoloader.files.journal import Journal, utc_now
from lakehouse.autoloader.options.paths import SourcePath, split_uri
from lakehouse.errors import AccessDenied
from lakehouse.storage.local_store import LocalStore


class Landing:
    """A folder where files land, and the journal of it."""

    def __init__(self, path):
        self.path = path
        (path / "in").mkdir()
        self.source = SourcePath.parse(f"{path}/in/")
        self.place = split_uri(f"file://{path}/journal/")

    def land(self, *names):
        for name in names:
            (self.path / "in" / name).write_text(name)

    def journal(self, **given):
        return Journal(LocalStore(), *self.place, **given)

    def discover(self, journal=None):
        bucket, prefix = self.place
        known = journal or self.journal()
        return discover(
            LocalStore(),
            self.source,
            known,
            (bucket, f"{prefix}audit.json"),
            now=utc_now,
            audit_interval_seconds=3600,
        )

    def numbered(self):
        """Numbers and names of all files in the journal."""
        journal = self.journal()
        return [(file.seq, file.key.rsplit("/", 1)[1]) for file in journal.files(0, journal.high_water)]

    def assert_each_once(self):
        numbers, names = zip(*self.numbered(), strict=True)
        assert list(numbers) == list(range(1, len(numbers) + 1))
        assert sorted(names) == sorted(path.name for path in (self.path / "in").iterdir())


@pytest.fixture
def landing(tmp_path):
    return Landing(tmp_path)


@pytest.mark.parametrize("earlier", [0, 3], ids="behind {} segments".format)
def test_a_discoverer_that_is_killed_at_any_call_loses_and_repeats_no_file(landing, tmp_path, earlier):
    def find():
        landing.discover(landing.journal(fan_in=2))  # the fourth segment is merged with all before it

    for number in range(earlier):
        landing.land(f"{number}.json")
        find()
    landing.land("9.json", "x.json")
    before, at, ended = landing.numbered(), 0, False
    (landing.path / "journal").mkdir(exist_ok=True)
    shutil.copytree(landing.path / "journal", tmp_path / "before", copy_function=os.link)
    while not ended:
        shutil.rmtree(landing.path / "journal")
        shutil.copytree(tmp_path / "before", landing.path / "journal", copy_function=os.link)
        ended = run_and_die(find, at)
        kept = landing.numbered()
        assert kept[:earlier] == before, "a number that was given stays"
        assert len(kept) in (earlier, earlier + 2), "a segment is there whole, or not at all"
        find()
        landing.assert_each_once()
        if len(kept) > earlier:
            assert landing.numbered() == kept
        at += 1 + earlier // 3  # behind segments every second call: the others are those of the first
    assert at > 8


def test_discoverers_in_several_processes_give_each_file_one_number(landing):
    def discoverer(begins):
        def run():
            journal = landing.journal(fan_in=4)
            for number in range(25):
                landing.land(f"{begins}{number}.json")
                landing.discover(journal)
            return 0

        return run

    run_together(*map(discoverer, "abc"))
    landing.discover()
    landing.assert_each_once()
    assert len(landing.numbered()) == 75


def test_a_journal_in_a_folder_that_may_not_be_written_is_an_error_and_loses_no_file(landing):
    landing.land("a")
    landing.discover()
    landing.land("b")
    state = landing.path / "journal"
    folders = [folder for folder in (state, *state.rglob("*")) if folder.is_dir()]
    for above in landing.path.parents:  # pytest keeps its folders for their owner
        if not above.stat().st_mode & 0o001:
            above.chmod(0o755)
    landing.path.chmod(0o755)
    for folder in folders:
        folder.chmod(0o555)

    def discover_as_nobody():
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            landing.discover()
            return 0
        except AccessDenied as error:
            return 1 if "/journal/" in error.where else 2

    assert run_together(discover_as_nobody) == [1]
    for folder in folders:
        folder.chmod(0o755)
    assert [name for _, name in landing.numbered()] == ["a"]
    landing.discover()
    landing.assert_each_once()

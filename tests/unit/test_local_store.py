"""The store of local paths, on a real disk: order, conditions, crashes at every step, and what is no file."""

import os
import random
import socket

import pytest
from killed_calls import run_and_die, run_together

from lakehouse.errors import AccessDenied, TerminalError
from lakehouse.storage.local_paths import LOCAL
from lakehouse.storage.local_store import LocalStore
from lakehouse.storage.store import ObjectExists, ObjectMissing


class Folder:
    """A folder of the disk as the store sees it."""

    def __init__(self, path):
        self.path, self.prefix, self.store = path, f"{str(path)[1:]}/", LocalStore()

    def write(self, name, data, **condition):
        return self.store.write(LOCAL, self.prefix + name, data, **condition)

    def read(self, name):
        return self.store.read(LOCAL, self.prefix + name)

    def names(self, start_after=None, below=""):
        after = None if start_after is None else self.prefix + start_after
        found = self.store.list(LOCAL, self.prefix + below, start_after=after)
        return [info.key.removeprefix(self.prefix) for info in found]

    def everything(self):
        return sorted(path.name for path in self.path.iterdir())

    def info(self, name):
        return self.store.info(LOCAL, self.prefix + name)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_files_come_in_the_order_of_keys_behind_any_of_them(folder):
    letters = "a-./0é~"
    chosen = random.Random(7)
    wanted = set()
    while len(wanted) < 60:
        parts = ["".join(chosen.choices("a-.0é~ ", k=chosen.randint(1, 3))) for _ in range(chosen.randint(1, 3))]
        name = "/".join(parts)
        ends = {part for part in parts if part.strip(".")}
        taken = any(name.startswith(f"{other}/") or other.startswith(f"{name}/") for other in wanted)
        if len(ends) == len(set(parts)) and not taken:
            wanted.add(name)
            folder.write(name, b"x")
    expected = sorted(wanted)
    assert folder.names() == expected
    for after in [*expected, *letters, "b/", ""]:
        assert folder.names(start_after=after) == [name for name in expected if name > after]
    assert folder.names(below="a") == [name for name in expected if name.startswith("a")]


def test_a_folder_that_is_not_there_has_no_files(folder):
    folder.write("file", b"x")
    assert folder.names(below="none/") == folder.names(below="file/") == []
    assert folder.info("none") is folder.info("file/x") is folder.info("") is None
    with pytest.raises(ObjectMissing):
        folder.read("none")
    folder.store.delete(LOCAL, f"{folder.prefix}none/x")


def test_a_condition_is_about_the_file_that_is_there(folder):
    first = folder.write("one", b"1", if_absent=True)
    assert folder.info("one").e_tag == first
    with pytest.raises(ObjectExists):
        folder.write("one", b"2", if_absent=True)
    second = folder.write("one", b"2", if_match=first)
    assert second != first
    with pytest.raises(ObjectExists):
        folder.write("one", b"3", if_match=first)
    with pytest.raises(ObjectMissing):
        folder.write("none", b"3", if_match=first)
    assert folder.read("one") == b"2"
    assert folder.everything() == ["one"]


def test_a_file_system_without_links_keeps_the_conditions(folder, monkeypatch):
    def no_links(*names, **more):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    folder.write("one", b"1", if_absent=True)
    with pytest.raises(ObjectExists):
        folder.write("one", b"2", if_absent=True)
    folder.store.copy(LOCAL, f"{folder.prefix}one", f"{folder.prefix}two", if_match=folder.info("one").e_tag)
    assert folder.read("one") == folder.read("two") == b"1"


def test_of_processes_that_write_the_same_absent_file_one_wins_each_time(folder):
    def races():
        won = 0
        for number in range(40):
            try:
                folder.write(f"{number}", str(os.getpid()).encode() * 1000, if_absent=True)
                won += 1
            except ObjectExists:
                pass
        return won

    assert sum(run_together(races, races, races)) == 40
    written = [folder.read(name) for name in folder.names()]
    assert [data == data[: len(data) // 1000] * 1000 for data in written] == [True] * 40, "each is of one writer, whole"


def test_of_processes_that_count_under_a_condition_no_step_is_lost(folder):
    folder.write("count", b"0")

    def count():
        done = 0
        while done < 30:
            there = folder.info("count")
            try:
                folder.write("count", str(int(folder.read("count")) + 1).encode(), if_match=there.e_tag)
                done += 1
            except ObjectExists:
                pass
        return done

    run_together(count, count)
    assert folder.read("count") == b"60"


@pytest.mark.parametrize("how", ["if_absent", "overwrite", "if_match"])
def test_a_writer_that_is_killed_anywhere_leaves_the_old_file_or_the_new_one(folder, how):
    old, new = b"old" * 100, b"new" * 1000
    seen = set()
    for at in range(200):
        name = f"deep/{at}/file"
        condition = {"if_absent": True} if how == "if_absent" else {}
        if how != "if_absent":
            e_tag = folder.write(name, old)
            condition = {"if_match": e_tag} if how == "if_match" else {}
        ended = run_and_die(lambda name=name, condition=condition: folder.write(name, new, **condition), at)
        left = folder.read(name) if folder.info(name) else None
        seen.add(left)
        assert left in ((None, new) if how == "if_absent" else (old, new))
        assert folder.names(below=f"deep/{at}/") == ([name] if left else [])
        if left != new:
            folder.write(name, new, if_absent=left is None)  # nothing that was left stands in the way
        if ended:
            assert at > 5
            break
    assert len(seen) == 2


def test_what_is_no_file_is_left_out_and_never_waited_for(folder, caplog, monkeypatch):
    folder.write("in/good", b"x")
    os.mkfifo(folder.path / "in" / "pipe")
    (folder.path / "in" / "nowhere").symlink_to("nothing")
    (folder.path / "in" / "itself").symlink_to("itself")
    (folder.path / "in" / "up").symlink_to("..")
    (folder.path / "linked").symlink_to("in")
    (folder.path / "one").symlink_to("in/good")
    (folder.path / "in" / os.fsdecode(b"caf\xe9")).write_bytes(b"x")
    monkeypatch.chdir(folder.path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as unix_socket:
        unix_socket.bind("in/socket")
        assert folder.names() == ["in/good", "linked/good", "one"]
    said = caplog.messages
    for name, why in {"pipe": "a pipe", "socket": "a socket", "itself": "leads nowhere", "up/": "leads back"}.items():
        assert any(line.endswith(f"in/{name}'") and why in line for line in said), (name, said)
    assert any("not UTF-8" in line for line in said)
    for name in ("in/pipe", "in/socket", "in/nowhere", "in/itself"):
        with pytest.raises((ObjectMissing, TerminalError)):
            folder.read(name)


def test_links_on_ways_without_end_are_an_error_and_no_endless_listing(folder):
    for name in map(str, range(8)):
        folder.write(f"{name}/file", b"x")
        for other in map(str, range(8)):
            (folder.path / name / f"to{other}").symlink_to(f"../{other}")
    with pytest.raises(TerminalError, match="more than can be followed"):
        folder.names()


def test_folders_that_may_not_be_read_or_written_are_errors(folder):
    folder.write("in/closed/file", b"x")
    folder.path.chmod(0o755)
    (folder.path / "in" / "closed").chmod(0o000)
    said = folder.path / "said"
    said.touch()
    said.chmod(0o666)

    def try_as_nobody():
        if os.geteuid() == 0:
            os.setuid(65534)
        for body in (folder.names, lambda: folder.write("in/x", b"x"), lambda: folder.read("in/closed/file")):
            try:
                body()
                return 0
            except AccessDenied as error:
                with said.open("a") as out:
                    out.write(f"{error.where}\n")
        return 1

    (folder.path / "in").chmod(0o555)
    for above in folder.path.parents:  # pytest keeps its folders for their owner
        if not above.stat().st_mode & 0o001:
            above.chmod(0o755)
    assert run_together(try_as_nobody) == [1]
    (folder.path / "in" / "closed").chmod(0o755)
    (folder.path / "in").chmod(0o755)
    closed, into, read = said.read_text().splitlines()
    assert closed.endswith("/in/closed/") and "/in/" in into and read.endswith("/in/closed/file")


def test_a_file_in_the_place_of_a_folder_and_the_reverse_are_told(folder):
    folder.write("a", b"x")
    folder.write("b/c", b"x")
    with pytest.raises(TerminalError, match="a file stands where a folder is needed"):
        folder.write("a/b", b"x")
    with pytest.raises(TerminalError, match="a folder stands where a file is needed"):
        folder.write("b", b"x")
    with pytest.raises(TerminalError, match="no path that can be followed"):
        folder.write("n" * 300, b"x")
    with pytest.raises(TerminalError, match="not a path"):
        folder.read("b/../a")


def test_a_copy_has_the_e_tag_of_its_original(folder):
    e_tag = folder.write("in/one", b"1")
    for _ in range(2):
        folder.store.copy(LOCAL, f"{folder.prefix}in/one", f"{folder.prefix}done/one", if_match=e_tag)
    folder.store.delete(LOCAL, f"{folder.prefix}in/one")
    assert (folder.read("done/one"), folder.info("done/one").e_tag) == (b"1", e_tag)
    with pytest.raises(ObjectExists):
        folder.store.copy(LOCAL, f"{folder.prefix}done/one", f"{folder.prefix}x", if_match="other")
    with pytest.raises(ObjectMissing):
        folder.store.copy(LOCAL, f"{folder.prefix}in/one", f"{folder.prefix}x", if_match=e_tag)
    assert folder.everything() == ["done", "in"], "the folder where files land stays"


def test_a_copy_of_a_link_is_a_file(folder):
    e_tag = folder.write("elsewhere/one", b"1")
    (folder.path / "link").symlink_to("elsewhere/one")
    folder.store.copy(LOCAL, f"{folder.prefix}link", f"{folder.prefix}done/deep/one", if_match=e_tag)
    folder.store.delete(LOCAL, f"{folder.prefix}link")
    assert folder.read("done/deep/one") == folder.read("elsewhere/one") == b"1"
    assert not (folder.path / "done" / "deep" / "one").is_symlink()


def test_a_removed_folder_takes_no_file_with_it_that_a_link_led_to(folder):
    folder.write("kept/file", b"x")
    folder.write("gone/deep/file", b"x")
    (folder.path / "gone" / "link").symlink_to("../kept")
    (folder.path / "gone" / f".~{'0' * 32}").write_bytes(b"of a writer that was killed")
    assert folder.store.delete_prefix(LOCAL, f"{folder.prefix}gone/") == 2
    assert folder.everything() == ["kept"]
    assert folder.names() == ["kept/file"]


def test_the_folder_of_a_batch_goes_with_its_last_file(folder):
    name = f"receipts/stream/{7:020d}/one"
    folder.write(name, b"x")
    folder.store.delete(LOCAL, folder.prefix + name)
    assert folder.store.folders(LOCAL, f"{folder.prefix}receipts/") == ["stream"]
    assert folder.store.folders(LOCAL, f"{folder.prefix}receipts/stream/") == []
    assert folder.write(name, b"y")

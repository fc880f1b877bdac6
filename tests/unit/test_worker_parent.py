"""Processes of Python that are forked in place of started: they are what ``python`` would run, and end as it would."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lakehouse.engine import worker_launcher, workers
from lakehouse.engine.worker_launcher import SOCKET

STATED = """
import json, os, random, sys, threading
imported = "pyspark.sql.connect.session" in sys.modules
told = [sys.argv[1:], os.environ.get("TOLD"), os.getcwd(), __name__, imported, os.getppid(), os.environ.get("HOME")]
print(json.dumps([*told, threading.active_count()]))
print(random.random(), file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""
WAITING = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"


class Folder:
    """An engine's folder, with a parent of processes in it; the engine is this process."""

    def __init__(self, path):
        self.path = path
        (path / "stated.py").write_text(STATED)
        (path / "waiting.py").write_text(WAITING)
        (path / "elsewhere").mkdir()
        self.parent = None

    def start(self, path=""):
        command = [sys.executable, "-m", "lakehouse.engine.worker_parent", str(self.path)]
        self.parent = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
        self.ready()

    def ready(self):
        deadline = time.monotonic() + 60
        while not (self.path / SOCKET).exists():
            assert self.parent.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)

    def launch(self, *arguments):
        """A launcher's process."""
        asking = [sys.executable, "-I", "-S", worker_launcher.__file__, sys.executable, str(self.path)]
        variables = {"PYTHONPATH": str(self.path), "TOLD": "zażółć"}
        return subprocess.Popen(
            [*asking, "-m", *arguments],
            env=variables,
            cwd=self.path / "elsewhere",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def stop(self):
        self.parent.kill()
        self.parent.wait()
        (self.path / SOCKET).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = Folder(tmp_path_factory.mktemp("engine"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def own(tmp_path):
    made = Folder(tmp_path)
    yield made
    if made.parent is not None:
        made.stop()


def told_by(launcher):
    printed, complained = launcher.communicate(timeout=60)
    return json.loads(printed), complained.decode(), launcher.returncode


def assert_as_python_runs_it(folder, code, *, forked):
    told, complained, ended = told_by(folder.launch("stated", str(code), "żółć x"))
    parent = folder.parent.pid if forked else os.getpid()
    place = str(folder.path / "elsewhere")
    assert told == [[str(code), "żółć x"], "zażółć", place, "__main__", forked, parent, None, 1]
    assert ended == code
    return complained


@pytest.mark.parametrize("code", [0, 3, 255])
def test_a_process_has_arguments_folder_variables_streams_and_end_of_its_own(shared, code):
    first, second = (assert_as_python_runs_it(shared, code, forked=True) for _ in range(2))
    assert first != second, "each draws numbers of its own"


def test_where_nobody_forks_python_is_started(tmp_path):
    folder = Folder(tmp_path)
    assert_as_python_runs_it(folder, 4, forked=False)


def test_a_module_that_fails_says_why_and_a_process_that_is_killed_is_told_as_killed(shared):
    launcher = shared.launch("not_there")
    _, complained = launcher.communicate(timeout=60)
    assert (launcher.returncode, b"No module named not_there" in complained) == (1, True)
    launcher = shared.launch("waiting")
    os.kill(int(launcher.stdout.readline()), 9)
    assert launcher.wait(10) == 128 + 9


def test_a_process_ends_with_its_launcher_and_others_go_on(shared):
    ended, other = shared.launch("waiting"), shared.launch("waiting")
    pids = [int(launcher.stdout.readline()) for launcher in (ended, other)]
    ended.kill()
    ended.wait()
    psutil.wait_procs([psutil.Process(pids[0])], timeout=10)
    assert [psutil.pid_exists(pid) for pid in pids] == [False, True]
    other.terminate()
    other.wait()


def test_all_ends_with_the_engine(own):
    engine = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-m', 'lakehouse.engine.worker_parent', "
        f"{str(own.path)!r}]); time.sleep(600)"
    )
    own.parent = subprocess.Popen([sys.executable, "-c", engine])
    own.ready()
    launcher = own.launch("waiting")
    process = psutil.Process(int(launcher.stdout.readline()))
    parent = process.parent()
    own.parent.kill()
    own.parent.wait()
    gone, left = psutil.wait_procs([process, parent], timeout=20)
    assert (len(gone), left, launcher.wait(10) != 0) == (2, [], True)


def test_after_a_new_version_of_the_library_python_is_started_until_that_is_imported(own, tmp_path):
    library = tmp_path / "library"
    library.mkdir()
    (library / "sitecustomize.py").write_text("import theirs\n")
    (library / "theirs.py").write_text("")
    own.start(str(library))
    assert_as_python_runs_it(own, 0, forked=True)
    (library / "theirs.py").write_text("CHANGED = True\n")
    assert_as_python_runs_it(own, 0, forked=False)
    time.sleep(0.1)
    own.ready()
    deadline = time.monotonic() + 60
    while not told_by(own.launch("stated", "0"))[0][4]:
        assert time.monotonic() < deadline
    assert own.parent.poll() is None, "the same process"


def test_only_what_is_started_for_each_stream_is_forked(tmp_path):
    folder = tmp_path / "with blanks' and quotes"
    folder.mkdir()
    script = Path(workers.launcher(folder))
    assert script.stat().st_mode & 0o777 == 0o700
    said = [script, "-c", "import sys; print(sys.executable)"]
    done = subprocess.run(said, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sys.executable
    for module in workers.PROCESSES[1:]:  # without an engine it ends by itself
        done = subprocess.run([script, "-m", module], capture_output=True, text=True, check=False, env={})
        assert (done.returncode, "get_sock_file_to_executor" in done.stderr) == (1, True)


def test_where_nothing_may_be_run_the_engine_takes_python_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as in a file system that is mounted so
    python = workers.launcher(tmp_path)
    assert python == sys.executable
    assert workers.with_parent(tmp_path, python, ["java"]) == ["java"]

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.processes import Server, free_port, free_ports, port_is_free, private_folder, write_private

SLEEPER = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(600)"]


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path / "server")
    yield made
    made.stop()


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start(server, command=SLEEPER, timeout_seconds=20, **record):
    with server.lock():
        return server.running() or server.start(
            command,
            environment=dict(os.environ),
            record=record,
            ready=lambda: "ready" in server.log_tail(),
            timeout_seconds=timeout_seconds,
        )


def test_a_started_server_is_found_again_and_stopped(server):
    running = start(server, port=4711)
    assert server.running().pid == running.pid
    assert server.running().record["port"] == 4711
    assert server.stop()
    deadline = time.monotonic() + 10
    while is_alive(running.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(running.pid)
    assert server.running() is None
    assert not server.stop()


def test_a_server_hears_sigterm_though_its_starter_ignores_it(server, tmp_path):
    # no shell can trap what was ignored when it began
    script = f"trap 'echo heard > {tmp_path}/heard; exit' TERM; echo ready; while :; do sleep 0.05; done"
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        start(server, ["bash", "-c", script])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert server.stop(timeout_seconds=5)
    assert (tmp_path / "heard").exists()


def test_many_starters_make_one_server(server):
    with ThreadPoolExecutor(8) as pool:
        assert len({running.pid for running in pool.map(lambda _: start(server), range(8))}) == 1


def test_what_a_server_prints_before_its_starter_goes_on_is_behind_the_line_of_its_start(server, monkeypatch):
    plain = subprocess.Popen

    def slowly(*arguments, **options):
        child = plain(*arguments, **options)
        deadline = time.monotonic() + 10
        while not (server.log.exists() and b"ready" in server.log.read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return child

    monkeypatch.setattr(subprocess, "Popen", slowly)
    assert start(server, timeout_seconds=1)
    assert server.log_tail().strip().endswith("ready")


def test_a_killed_server_is_not_running(server):
    psutil.Process(start(server).pid).kill()
    deadline = time.monotonic() + 10
    while server.running() is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.running() is None
    assert start(server) is not None


def test_a_reused_pid_is_a_stranger(server):
    start(server)
    record = json.loads((server.folder / "server.json").read_text())
    write_private(server.folder / "server.json", json.dumps({**record, "pid": os.getpid()}))
    assert server.running() is None
    write_private(server.folder / "server.json", json.dumps(record))
    assert server.running().pid == record["pid"]


@pytest.mark.parametrize("seconds", [2, -2, 86_400])
def test_a_server_is_itself_after_the_clock_was_set(server, monkeypatch, seconds):
    running = start(server)
    told = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: told(process) + seconds)
    assert server.running().pid == running.pid
    assert start(server).pid == running.pid


def test_a_record_of_another_boot_is_of_a_server_that_is_gone(server, monkeypatch):
    start(server)
    record = json.loads((server.folder / "server.json").read_text())
    boot, _, ticks = record["started"].partition("/")
    assert boot and ticks.isdigit()
    write_private(server.folder / "server.json", json.dumps({**record, "started": f"another/{ticks}"}))
    assert server.running() is None
    write_private(server.folder / "server.json", json.dumps(record))


@pytest.mark.parametrize(("seconds_off", "found"), [(0, True), (0.5, True), (3600, False)])
def test_records_of_older_versions_are_understood(server, seconds_off, found):
    private_folder(server.folder)
    here = psutil.Process()
    record = {"pid": here.pid, "created": here.create_time() - seconds_off}
    write_private(server.folder / "server.json", json.dumps(record))
    assert (server.running() is not None) == found
    (server.folder / "server.json").unlink()


@pytest.mark.parametrize("record", [{"started": None, "pid": 2**22 + 1}, {"started": None, "pid": 1}, {"pid": "x"}, []])
def test_a_record_of_nothing_is_of_no_server(server, record):
    private_folder(server.folder)
    write_private(server.folder / "server.json", json.dumps(record))
    assert server.running() is None


def test_half_a_record_is_no_record(server):
    private_folder(server.folder)
    (server.folder / "server.json").write_text('{"pid": 1')
    assert server.running() is None


def test_a_server_that_dies_at_once_leaves_its_reason(server):
    assert start(server, [sys.executable, "-c", "raise SystemExit('no such disk')"]) is None
    assert "no such disk" in server.log_tail()


def test_a_server_that_never_gets_ready_is_not_left_running(server):
    with server.lock():
        running = server.start(
            SLEEPER, environment=dict(os.environ), record={}, ready=lambda: False, timeout_seconds=0.5
        )
    assert running is None
    assert server.running() is None


def test_a_lock_that_another_process_keeps_is_an_error_with_a_cure(server):
    late = pytest.raises(TransientError, match=r"starting or stopping the server for 0\.2 s")
    with server.lock(), late as caught, server.lock(timeout_seconds=0.2):
        raise AssertionError("two processes held the lock")
    assert "server.lock" in caught.value.next_command
    with server.lock(timeout_seconds=0.2):  # the first holder gave it back
        pass


def test_a_server_that_ends_while_it_is_stopped_was_running(server, monkeypatch):
    """Between the look at its record and the look at its process."""
    running, found = start(server), Server.running

    def and_it_ends(self):
        record = found(self)
        if record is not None:
            psutil.Process(record.pid).kill()
            while is_alive(record.pid):
                time.sleep(0.01)
            os.waitpid(record.pid, 0)
        return record

    monkeypatch.setattr(Server, "running", and_it_ends)
    assert server.stop()
    assert not is_alive(running.pid)


def test_private_files_are_for_their_owner_only(tmp_path):
    write_private(tmp_path / "token", "x")
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert private_folder(tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_put_in_the_way_of_a_draft_is_not_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda count: "known")
    (tmp_path / "theirs").write_text("")
    (tmp_path / ".token.known").symlink_to(tmp_path / "theirs")
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "token", "secret")
    assert (tmp_path / "theirs").read_text() == ""
    assert not (tmp_path / "token").exists()


def test_a_write_that_fails_leaves_no_draft(tmp_path):
    (tmp_path / "token").mkdir()
    with pytest.raises(OSError):
        write_private(tmp_path / "token", "secret")
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755])
def test_a_folder_of_ours_that_others_may_use_is_closed(tmp_path, mode):
    folder = tmp_path / "home"
    folder.mkdir()
    folder.chmod(mode)
    assert private_folder(folder).stat().st_mode & 0o777 == 0o700


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir(mode=0o777)
    before = folder.stat().st_mode
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match="belongs to another user") as caught:
        private_folder(folder)
    assert "LAKEHOUSE_HOME" in caught.value.next_command
    assert folder.stat().st_mode == before
    assert list(folder.iterdir()) == []


def test_a_home_that_is_a_file_is_an_error_with_a_cure(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="LAKEHOUSE_HOME"):
        private_folder(tmp_path / "file" / "home")


def test_ports_taken_and_free_are_told_apart():
    port = free_port()
    assert port_is_free(port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not port_is_free(port)


def test_what_a_server_prints_is_in_its_log_without_the_secrets_also_its_last_words(tmp_path):
    server = Server(tmp_path / "server")
    program = (
        "import os, sys\nprint('the key is canary, canary', flush=True)\nos.write(2, b'died of canary')\nsys.exit(1)"
    )
    started = server.start(
        [sys.executable, "-c", program],
        environment=dict(os.environ),
        record={},
        ready=lambda: False,
        timeout_seconds=30,
        hidden=["canary", "another"],
    )
    assert started is None
    assert server.log_tail().splitlines()[-2:] == ["the key is ***, ***", "died of ***"]


def test_no_connection_can_take_the_port_of_a_server_that_is_down():
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = free_ports(200)
    assert len(set(ports)) == 200
    assert not [port for port in ports if lowest <= port <= highest]


def test_where_connections_have_all_ports_a_server_has_any_that_is_free(monkeypatch, tmp_path):
    for text in ("1024 65535", "20002 60999"):
        (tmp_path / "range").write_text(text)
        monkeypatch.setattr("lakehouse.processes._PORTS_OF_CONNECTIONS", tmp_path / "range")
        ports = free_ports(5)
        assert len(set(ports)) == 5
        assert all(port_is_free(port) for port in ports)

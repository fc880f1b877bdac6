"""Clients that are killed in mid-stream, and those who write while the engine goes on with what they began."""

import threading
import time

import psutil
from command import lakehouse, start_lakehouse
from e2e.kill_matrix import TABLE, KillMatrix

from lakehouse.engine import engine_pid
from lakehouse.orders.samples import file_name

FILES = 6
INGEST = ["ingest", TABLE]


def processes_with(port):
    return {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.laddr and connection.laddr.port == port
    }


class Orphans(KillMatrix):
    """A lake whose clients are killed in mid-stream."""

    def __init__(self, home, other_home, proxy, name):
        super().__init__(home, f"orphan-{name}", proxy)
        self.settings = self.lake.settings
        self.environment["LAKEHOUSE_BRONZE_MAX_FILES_PER_TRIGGER"] = "1"
        self.others = {
            "replay": (["replay", "--table", TABLE, "--files", file_name(0), "--yes"], {}),
            "repair": (["checkpoint", "repair", TABLE, "--yes"], {}),
            "in process": (["ingest", TABLE], {"LAKEHOUSE_SPARK_REMOTE": "local[2]"}),
            "other home": (["ingest", TABLE], {"LAKEHOUSE_HOME": str(other_home)}),
            "same engine": (["ingest", TABLE], {}),
        }

    def orphan(self, commands, after_commits=2, slow_seconds=3.0, files=FILES):
        """Kills a client in a batch, starts ``commands`` at once; returns what they said.

        The orphan's commits are slow, so that it lasts.
        """
        self.land(files)
        process, commits, due = start_lakehouse(self.environment, *commands[0]), [], threading.Event()

        def on_write(path, port):
            if "_delta_log" not in path:
                return
            commits.append(path)
            if len(commits) == after_commits:
                process.kill()
                due.set()
            if due.is_set() and engine_pid(self.settings) in processes_with(port):
                time.sleep(slow_seconds)

        said = {}

        def run(name):
            said[name] = self.run(name)

        self.proxy.on_write = on_write
        try:
            assert due.wait(240), process.communicate(timeout=5)
            process.communicate(timeout=10)
            threads = [threading.Thread(target=run, args=(command,)) for command in commands[1:]]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self.proxy.on_write = lambda path, port: None
        return said

    def run(self, name):
        arguments, variables = self.others[name]
        return lakehouse({**self.environment, **variables}, *arguments)

    def twice(self):
        return [path for path in self.proxy.twice() if path.startswith(f"/{self.settings.bucket}/")]


def assert_one_writer(orphans, said):
    assert not orphans.twice(), said
    for name, done in said.items():
        told = any(text in done.stderr for text in ("is being written by", "may still be", "was faster"))
        refused = done.returncode == 1 and told
        assert done.returncode == 0 or refused, f"{name}: {done.stdout}{done.stderr}"
    assert any(done.returncode == 0 for done in said.values()), "a dead client keeps nobody out"
    clean = orphans.run("same engine")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert not orphans.twice()
    assert orphans.is_exact()

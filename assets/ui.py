"""``./dev ui``: Dagster's webserver and daemon on the lake's own instance, on 127.0.0.1 only."""

import argparse
import os
import signal
import sys

from assets.instance import PROJECT, use_instance
from lakehouse.engine import warm_up
from lakehouse.errors import ConfigurationError, LakehouseError
from lakehouse.lake import Lake
from lakehouse.processes import Server, dagster_pages, free_port, port_is_free
from lakehouse.settings import Settings


def main() -> None:
    """Starts the servers, prints the address and stays until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="./dev ui", description=__doc__)
    parser.add_argument("--port", type=int, default=3000, help="port on 127.0.0.1")
    port = parser.parse_args().port
    try:
        settings = Settings.load()
        pages = dagster_pages(settings.home)
        _require_free(pages, port)
        lake = Lake.open(settings, say=print)
        warm_up(lake, print)
    except LakehouseError as error:
        sys.exit(f"error: {error}")
    # runs are processes of their own, perhaps with another working folder: they must find the same lake
    os.environ["LAKEHOUSE_HOME"] = str(lake.settings.home)
    if "LAKEHOUSE_DECLARATION" in os.environ:
        os.environ["LAKEHOUSE_DECLARATION"] = str(lake.settings.declaration)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
    use_instance(lake.settings)
    print(f"Dagster on http://127.0.0.1:{port}   (Ctrl-C stops it; the engine and the store go on: lakehouse down)")
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", "workspace.yaml", "--live-data-poll-rate", "2000"]
    os.chdir(PROJECT)
    sys.stdout.flush()
    pages.take_place(port=port)
    # Dagster replaces this process: Ctrl-C and SIGTERM reach Dagster itself, which then stops its servers. It handles
    # SIGTERM by its handler of SIGINT, which a process that a shell starts in the background would ignore
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.execv(command[0], [*command, "--host", "127.0.0.1", "--port", str(port)])


def _require_free(pages: Server, port: int) -> None:
    """Makes sure that nobody has the port, and that no other daemon looks after these tables: both would ask for runs.

    Raises:
        ConfigurationError: one of them is taken.
    """
    running, where, state = pages.running(), f"127.0.0.1:{port}", "nothing was started"
    if running is not None:
        address = f"http://127.0.0.1:{running.record['port']}"
        raise ConfigurationError(
            f"Dagster's pages of these tables are on already: {address}, process {running.pid}",
            where=str(pages.folder),
            state=state,
            next_command=f"open them; or end them, then begin again: kill {running.pid}",
        )
    if not port_is_free(port):
        raise ConfigurationError(
            f"port {port} is taken by another program",
            where=where,
            state=state,
            next_command=f"./dev ui --port {free_port()}",
        )


if __name__ == "__main__":
    main()

"""Dagster as a user runs it, ``dagster dev`` with webserver, daemon and code location; the lake needs no JVM."""

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil
import requests
import yaml
from store.local_world import TABLE, LocalWorld

from lakehouse.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
NEWEST = "silver.things"
JOB = "ingest"
_PATIENCE_SECONDS = 600
_PLACE = "repositoryLocationName: $place, repositoryName: $repository"
PLACES = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
LAUNCH = (
    "mutation($place: String!, $repository: String!, $job: String!) { launchRun(executionParams: "
    f"{{selector: {{{_PLACE}, jobName: $job}}}}) {{ __typename ... on LaunchRunSuccess {{ run {{ runId }} }} "
    "... on PythonError { message } } }"
)
STOP = "mutation($run: String!) { terminateRun(runId: $run) { __typename } }"
ENDED = frozenset({dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED})


def wait_for(what, told, *, seconds=_PATIENCE_SECONDS, pause=0.2):
    """The first true value; the times are those of a busy machine."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited in vain: {told}"
        time.sleep(pause)
    return found


class House:
    """The servers, their instance, and the lake.

    Args:
        lake: An empty lake.
        folder: Where declaration, definitions and instance are.
        soon: Whether the daemon looks often at what has ended; else as the project's ``dagster.yaml`` says.
            A run may take long to begin in any case.
    """

    def __init__(self, lake, folder, *, soon=True):
        self.world, self.folder, self.port = LocalWorld(lake, folder), folder, free_port()
        files = {"path": "{landing}/things/", "engine": "local", "options": {"cloudFiles.maxFilesPerTrigger": 1}}
        newest = {"of": TABLE, "key": "id", "order": ["id"], "engine": "local"}
        two = {TABLE: {"files": {**files, "hints": {"id": "BIGINT"}}}, NEWEST: {"latest": newest}}
        self.world.lake.settings.declaration.write_text(
            json.dumps({"tables": two}).replace("{landing}", self.world.lake.settings.landing_uri.rstrip("/"))
        )
        (folder / "definitions.py").write_text("from lakehouse.dagster import definitions\n\ndefs = definitions()\n")
        self.home = folder / "dagster"
        self.home.mkdir()
        config = yaml.safe_load((ROOT / "dagster.yaml").read_text())
        if soon:
            config["run_monitoring"] |= {"poll_interval_seconds": 5, "free_slots_after_run_end_seconds": 5}
        config["run_monitoring"]["start_timeout_seconds"] = _PATIENCE_SECONDS // 2
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(config))
        self.environment = {**os.environ, **self.world.environment, "DAGSTER_HOME": str(self.home)}
        self.environment["DAGSTER_GRPC_TIMEOUT_SECONDS"] = str(_PATIENCE_SECONDS)  # of a machine that has other work
        self.instance = dg.DagsterInstance.from_config(str(self.home))
        self.landed, self._servers = 0, None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop(hard=True)
            raise
        return self

    def __exit__(self, *error):
        self.stop()
        self.instance.dispose()

    def start(self):
        """Starts the servers, and waits until they answer."""
        command = [sys.executable, "-m", "dagster", "dev", "-f", "definitions.py", "-h", "127.0.0.1"]
        with (self.folder / "house.log").open("ab") as log:
            self._servers = psutil.Popen(
                [*command, "-p", str(self.port)], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        wait_for(self._answers, f"the webserver; see {self.folder / 'house.log'}")

    def stop(self, *, hard=False):
        """Stops the servers; ``hard`` is a power cut: with everything that they started."""
        family = [self._servers, *self._servers.children(recursive=True)]
        for process in family if hard else family[:1]:
            with suppress(psutil.Error):
                process.kill() if hard else process.terminate()
        _, alive = psutil.wait_procs(family, timeout=60)
        for process in alive:
            with suppress(psutil.Error):
                process.kill()

    def ask(self, query, **variables):
        """What the webserver says."""
        answer = requests.post(
            f"http://127.0.0.1:{self.port}/graphql", json={"query": query, "variables": variables}, timeout=60
        ).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def _answers(self):
        assert self._servers.is_running(), (self.folder / "house.log").read_text()[-3000:]
        with suppress(requests.RequestException, KeyError, TypeError):
            [found] = self.ask(PLACES)["repositoriesOrError"]["nodes"]
            self.place = {"place": found["location"]["name"], "repository": found["name"]}
            return True
        return False

    def land(self, files=3):
        """Files of one row each, each row another."""
        for number in range(self.landed, self.landed + files):
            self.world.put(f"{number:05d}.json", [{"id": number}])
        self.landed += files

    def launch(self):
        """Asks for a run as the page does; its id."""
        done = self.ask(LAUNCH, **self.place, job=JOB)["launchRun"]
        assert done["__typename"] == "LaunchRunSuccess", done
        return done["run"]["runId"]

    def status(self, run):
        """How the run is."""
        return self.instance.get_run_by_id(run).status

    def ended(self, run):
        """Waits for its end; its status."""
        wait_for(lambda: self.status(run) in ENDED, f"the end of run {run}: {self.status(run)}")
        return self.status(run)

    def process(self, run):
        """The process that the run is in; None before there is one, and when it has gone."""
        for record in self.instance.all_logs(run):
            data = getattr(record.dagster_event, "event_specific_data", None)
            said = (getattr(data, "metadata", None) or {}).get("pid")
            if said is not None:
                with suppress(psutil.Error, ValueError):
                    return psutil.Process(int(said.value))
        return None

    def held(self):
        """Pools with a slot that a step has, or waits for."""
        storage = self.instance.event_log_storage
        infos = [storage.get_concurrency_info(name) for name in storage.get_concurrency_keys()]
        return {info.concurrency_key for info in infos if info.claimed_slots or info.pending_steps}

    def is_exact(self):
        """Whether each row that landed is in both tables once."""
        wanted = [*range(self.landed)]
        return all(self.ids(table) == wanted for table in (TABLE, NEWEST))

    def ids(self, table):
        """Of its rows."""
        rows = self.world.lake.rows(table)
        return sorted(rows.to_table(columns=["id"])["id"].to_pylist()) if rows is not None else []

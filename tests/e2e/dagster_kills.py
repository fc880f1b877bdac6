"""Runs of Dagster that end in the wrong way at random seconds: cancelled, killed, crashed, or with the whole machine.

``python -m e2e.dagster_kills --strikes 20 --seed 1 --home FOLDER`` makes as many as asked for, of the four kinds
in turn, each followed by a clean run and an audit, and prints a JSON line a strike.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.dagster_house import ENDED, STOP, House, wait_for

from lakehouse.dagster.failures import UNFINISHED
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.storage import stop_store

KINDS = ("cancel", "kill", "crash", "power cut")
_PARENT = "dagster/parent_run_id"


class Strikes:
    """Strikes against the runs of one house, which takes in three files for each.

    Args:
        house: Its servers run.
        seed: Of the seconds.
    """

    def __init__(self, house, seed):
        self.house, self.random = house, random.Random(seed)
        began = time.monotonic()
        house.land()
        first = house.ended(house.launch())
        assert first == dg.DagsterRunStatus.SUCCESS and house.is_exact()
        self.longest = time.monotonic() - began

    def strike(self, kind):
        """What was struck, how it ended, and how the tables and pools were then."""
        house, seconds = self.house, self.random.uniform(0, self.longest)
        self._quiet()
        house.land()
        run = house.launch()
        time.sleep(seconds)  # the moment is the point
        if kind in ("kill", "crash"):
            wait_for(lambda: house.process(run) or house.status(run) in ENDED, "the process of the run")
        struck = house.status(run)
        self._do(kind, run)
        ended = house.ended(run)
        clean = house.ended(house.launch())
        exact = house.is_exact()
        self._quiet()
        again = [retry.run_id for retry in house.instance.get_runs() if retry.tags.get(_PARENT) == run]
        return {
            "kind": kind,
            "seconds": round(seconds, 1),
            "struck": struck.value,
            "ended": ended.value,
            "next": clean.value,
            "exact": exact and house.is_exact(),
            "held": sorted(house.held()),
            "tried_again": len(again),
        }

    def _do(self, kind, run):
        if kind == "cancel":
            wait_for(lambda: self._stopped(run), "the run to be stopped: one that just starts cannot be")
        elif kind == "power cut":
            self.house.stop(hard=True)
            self.house.start()
        elif process := self.house.process(run):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL if kind == "kill" else signal.SIGSEGV)

    def _stopped(self, run):
        said = self.house.ask(STOP, run=run)["terminateRun"]["__typename"]
        return said == "TerminateRunSuccess" or self.house.status(run) in ENDED

    def _quiet(self):
        """Waits until no run is under way, also none that Dagster tries again, and every pool is free."""
        under_way = dg.RunsFilter(statuses=UNFINISHED)
        wait_for(
            lambda: not self.house.instance.get_runs_count(under_way) and not self.house.held(),
            f"the end of all runs; held: {self.house.held()}",
        )


def is_good(outcome):
    """Whether a strike was survived; a run that a person stopped must not begin again by itself."""
    stopped_for_good = outcome["ended"] != "CANCELED" or outcome["tried_again"] == 0
    return outcome["next"] == "SUCCESS" and outcome["exact"] and not outcome["held"] and stopped_for_good


def main():
    """Ends with 1 when a strike was not survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strikes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path, required=True, help="of the object store")
    parser.add_argument("--slowly", action="store_true", help="the daemon looks as seldom as dagster.yaml says")
    asked = parser.parse_args()
    name = f"struck-{uuid.uuid4().hex[:8]}"
    settings = Settings.load(home=asked.home, user="struck", bucket=name, landing_prefix=f"{name}/")
    failed = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with House(Lake.open(settings), Path(folder), soon=not asked.slowly) as house:
            strikes = Strikes(house, asked.seed)
            for number in range(asked.strikes):
                outcome = strikes.strike(KINDS[number % len(KINDS)])
                failed += not is_good(outcome)
                print(json.dumps({**outcome, "good": is_good(outcome)}), flush=True)
        stop_store(settings)
    print(f"{asked.strikes - failed} of {asked.strikes} survived")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

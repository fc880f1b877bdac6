"""Files drop without a pause while streams and inboxes are killed, and listing and events change places.

``python -m store.notified_kills --inbox postgresql --files 300 --seed 1 --home FOLDER`` plays one such time. What is
killed beside the stream: the receiver of a file, the server of PostgreSQL; a queue has messages twice and late.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import quote_plus

sys.path.insert(0, str(Path(__file__).parents[1]))

from command import COMMAND
from postgres import running_postgres
from store.inboxes import KINDS, Servers, body_of

from lakehouse.errors import LakehouseError
from lakehouse.events import receiver_process, setup
from lakehouse.events.address import InboxAddress
from lakehouse.events.places import open_inbox
from lakehouse.lake import Lake
from lakehouse.pipeline import check_table, run_table
from lakehouse.settings import Settings
from lakehouse.storage import stop_store
from lakehouse.storage.webhook import target_of
from lakehouse.streams.run import Run

TABLE, FOLDER, BUCKET = "bronze.told", "told/", "landing"
DECLARATION = """
tables:
  bronze.told:
    files: {path: s3a://landing/told/, engine: local, options: {cloudFiles.useNotifications: EVENTS}}
"""
_PATIENCE_SECONDS = 240


class Dropping:
    """A table, its inbox with a server of its own, and who kills what."""

    def __init__(self, kind, folder, seed):
        self.kind, self.chance, self.kills = kind, random.Random(seed), Counter()
        self._ends, self._queue = ExitStack(), None
        given = {}
        if kind == "postgresql":
            self._server = self._ends.enter_context(running_postgres())
            given["events_inbox"] = self._server.address
        elif kind == "sqs":
            servers = self._ends.enter_context(closing(Servers(folder)))
            self._queue = servers.make("sqs")
            given["events_inbox"] = self._queue.address.public
        declaration = folder / "lakehouse.yaml"
        self.settings = Settings.load(home=folder / "home", user="tester", declaration=declaration, **given)
        self._ends.callback(stop_store, self.settings)
        self._ends.callback(receiver_process.stop_receiver, self.settings)
        self.declare(True)
        if kind != "sqs":  # to which the embedded store sends nothing
            setup.enable(self.settings, {BUCKET: [FOLDER]})
        self.lake = Lake.open(self.settings)

    def declare(self, events):
        self.settings.declaration.write_text(DECLARATION.replace("EVENTS", str(events).lower()))

    def play(self, files):
        """Drops them all; afterwards one look by events alone has to have the rest."""
        dropped = threading.Event()
        dropping = threading.Thread(target=self._drop, args=(files, dropped))
        dropping.start()
        names = ("home", "user", "declaration")
        environment = {f"LAKEHOUSE_{name.upper()}": str(getattr(self.settings, name)) for name in names}
        if self.settings.events_inbox is not None:
            environment["LAKEHOUSE_EVENTS_INBOX"] = self.settings.events_inbox.get_secret_value()
        while not dropped.is_set():
            self.declare(self.chance.random() < 0.6)
            stream = subprocess.Popen(
                [*COMMAND, "stream", TABLE, "--trigger", "default"],
                env=os.environ | environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            dropped.wait(self.chance.uniform(3, 9))
            if self.chance.random() < 0.5:
                self._kill_inbox()
            stream.kill()
            stream.wait()
            self.kills["stream"] += 1
        dropping.join()
        self.declare(True)
        self.lake = Lake.open(self.settings)
        self._await_events()
        run_table(lambda: None, self.lake, TABLE, Run())

    def numbers(self):
        """What the rows say, in order."""
        rows = self.lake.delta(TABLE).to_pyarrow_table(columns=["n"])["n"].to_pylist()
        return sorted(map(int, rows))

    def failed_checks(self):
        return [finding.check for finding in check_table(lambda: None, self.lake, TABLE) if not finding.passed]

    def close(self):
        self._ends.close()

    def _drop(self, files, dropped):
        for number in range(files):
            key = f"{FOLDER}{random.Random(number).randrange(10**6):06d}-{number}.json"
            self.lake.store.write(BUCKET, key, json.dumps({"n": number}).encode())
            if self._queue is not None:
                [info] = self.lake.store.list(BUCKET, key)
                said = {"eTag": info.e_tag, "size": info.size_bytes, "sequencer": f"{number:016X}"}
                self._queue.send([body_of(quote_plus(key), **said)] * (1 + (number % 7 == 0)), None)
            time.sleep(0.1)
        dropped.set()

    def _kill_inbox(self):
        if self.kind == "sqlite":
            receiver = receiver_process.receiver_server(self.settings).running()
            if receiver is not None:
                receiver.process().kill()
        elif self.kind == "postgresql":
            self._server.stop()
            time.sleep(self.chance.uniform(0, 3))
            self._server.start()
        else:
            return
        self.kills["inbox"] += 1

    def _await_events(self):
        """Until no event waits anywhere: a message whose taker died comes again after a minute."""
        target = target_of(setup.store_server(self.settings).folder)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with closing(open_inbox(InboxAddress.of(self.settings))) as inbox:
            while target.waiting() if target is not None else self._queue.left():
                assert time.monotonic() < deadline, "events wait still"
                with suppress(LakehouseError):
                    inbox.gather()
                time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inbox", choices=KINDS, default="sqlite")
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", required=True)
    chosen = parser.parse_args()
    folder = Path(chosen.home)
    folder.mkdir(parents=True)
    with closing(Dropping(chosen.inbox, folder, chosen.seed)) as world:
        world.play(chosen.files)
        counted, checks = Counter(world.numbers()), world.failed_checks()
    lost, doubled = chosen.files - len(counted), counted.total() - len(counted)
    said = {"inbox": chosen.inbox, "seed": chosen.seed, "files": chosen.files, "kills": dict(world.kills)}
    print(json.dumps({**said, "lost": lost, "doubled": doubled, "failed_checks": checks}))
    sys.exit(bool(lost or doubled or checks))


if __name__ == "__main__":
    main()

"""An outage of the inbox: files come while nobody takes their events; then every file is in the journal, once.

Each kind of inbox with its own server. SQLite: the receiver is away; PostgreSQL: the server is away; each time MinIO
keeps what its folder can hold. SQS: readers are away, the queue keeps all; messages play the part of S3, and
every ``_UNSENT``-th is not sent, so that there is a loss to report.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote_plus

from pydantic import SecretStr

from lakehouse.autoloader.context import Source
from lakehouse.autoloader.files import notified
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.events import receiver_process, setup
from lakehouse.events.address import InboxAddress
from lakehouse.events.inbox import Inbox, Reader
from lakehouse.events.places import open_inbox
from lakehouse.lake import Lake
from lakehouse.storage.store import ObjectInfo
from lakehouse.storage.webhook import target_of

KINDS = ("sqlite", "postgresql", "sqs")
BUCKET, FOLDER = "landing", "many/"
PATIENCE_SECONDS = 2400.0
_UNSENT = 50
_AT_ONCE = 10_000


@dataclass(frozen=True)
class Place:
    """Where an inbox is, and how its outage is made.

    Attributes:
        inbox: Its address; None for the one that a home has.
        away: From now on nobody takes events.
        back: From now on they are taken.
        tell: Tells of files that were put, where the store does not.
    """

    inbox: SecretStr | None
    away: Callable[[Lake], object]
    back: Callable[[Lake], object]
    tell: Callable[[Lake, Sequence[str]], object] = lambda lake, keys: None


@contextmanager
def place_of(kind: str) -> Iterator[Place]:
    """The server that a kind of inbox needs, until the end."""
    if kind == "sqlite":
        yield Place(
            None,
            lambda lake: receiver_process.stop_receiver(lake.settings),
            lambda lake: receiver_process.ensure_receiver(lake.settings),
        )
    elif kind == "postgresql":
        from tests.postgres import running_postgres

        with running_postgres() as server:
            yield Place(SecretStr(server.address), lambda lake: server.stop(), lambda lake: server.start())
    else:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            yield _queue(f"http://{host}:{port}")
        finally:
            server.stop()


def outage(lake: Lake, place: Place, files: int) -> dict[str, Any]:
    """Puts files while the inbox is away; fails where one is missing in the journal afterwards, or there twice."""
    source = source_of(lake, "a", events=True, listOnStart="true")
    source.discover()
    before, names = source.journal.high_water, [f"{FOLDER}~{number:08d}.json" for number in range(files)]
    place.away(lake)
    put(lake, names)
    place.back(lake)
    place.tell(lake, names)
    target = target_of(setup.store_server(lake.settings).folder)
    if target is not None:
        until(lambda: target.waiting() == 0, lambda: f"{target.waiting():,} events wait", every_seconds=1.0)
    notified.GRACE = notified.timedelta(0)
    with closing(open_inbox(InboxAddress.of(lake.settings))) as inbox:
        if place.inbox is not None:
            gathered(inbox)
        started = time.monotonic()
        source.discover()
        seconds = time.monotonic() - started
        by_look, [reader] = source.journal.high_water - before, readers_of(inbox)
        source = source_of(lake, "a", events=True, listOnStart="true")
        source.discover()
        lost_by_the_first, rate = reader.lost_before, reader.loss_rate
        [reader] = readers_of(inbox)
        rate = rate if lost_by_the_first else reader.loss_rate
        arrived = len(inbox.has(BUCKET, names))
    entries = Counter(file.key for file in source.journal.files(before, source.journal.high_water))
    lost, doubled = len(set(names) - set(entries)), sum(count - 1 for count in entries.values())
    result = {
        "files": files,
        "told": arrived,
        "found_by_the_first_look": by_look,
        "seconds_of_the_first_look": round(seconds, 1),
        "lost": lost,
        "doubled": doubled,
        "told_of_by_no_event": reader.lost_in_all,
        "loss_rate": round(rate, 4),
        "listed_by_the_first_look": lost_by_the_first > 0,
    }
    as_it_was = reader.lost_in_all == files - arrived and round(rate, 4) == round((files - arrived) / files, 4)
    if lost or doubled or len(entries) != files or not as_it_was:
        raise SystemExit(f"not each file once, or another loss than there was: {json.dumps(result)}")
    return result


def source_of(lake: Lake, journal: str, *, events: bool, **options: str) -> Source:
    """The folder of many files, with a journal of that name."""
    given = {"useNotifications": str(events).lower(), "journalLocation": f"{lake.settings.lake_uri}/{journal}/"}
    given |= {"format": "json", "eventsInbox": InboxAddress.of(lake.settings).public, **options}
    parsed = CloudFilesOptions.parse(
        {"path": f"s3a://{BUCKET}/{FOLDER}", **{f"cloudFiles.{name}": value for name, value in given.items()}}
    )
    return Source(parsed, None, endpoint=lake.endpoint)


def put(lake: Lake, keys: Iterable[str]) -> None:
    """Writes small files, eight at a time."""
    left = iter(keys)
    with ThreadPoolExecutor(8) as pool:
        while some := list(islice(left, _AT_ONCE)):  # a pool takes in all that it is given
            for _ in pool.map(lambda key: lake.store.write(BUCKET, key, b'{"a": 1}\n'), some):
                pass


def readers_of(inbox: Inbox) -> list[Reader]:
    """Who reads the folder of many files."""
    return [reader for reader in inbox.readers() if f"/{FOLDER}" in reader.name]


def gathered(inbox: Inbox) -> None:
    """Takes in all that waits elsewhere."""
    before = -1
    while (now := inbox.last_number()) > before:
        before = now
        inbox.gather(1.0)


def until(condition: Callable[[], bool], what: Callable[[], str], every_seconds: float = 0.02) -> None:
    """Waits for what happens in other processes.

    Raises:
        SystemExit: it did not happen.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not in time: {what()}")
        time.sleep(every_seconds)


def _queue(server: str) -> Place:
    import boto3

    os.environ |= {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
    client = boto3.client("sqs", endpoint_url=server, region_name="us-east-1")
    url = client.create_queue(QueueName="outage")["QueueUrl"]

    def tell(lake: Lake, keys: Sequence[str]) -> None:
        wanted = set(keys)
        sent = [info for info in lake.store.list(BUCKET, FOLDER) if info.key in wanted]
        records = [_record(info) for at, info in enumerate(sent) if (at + 1) % _UNSENT]
        # ten in a message: each call of this server costs as much as its queue is long
        bodies = [json.dumps({"Records": records[start : start + 10]}) for start in range(0, len(records), 10)]
        for start in range(0, len(bodies), 10):
            some = bodies[start : start + 10]
            client.send_message_batch(
                QueueUrl=url, Entries=[{"Id": str(at), "MessageBody": body} for at, body in enumerate(some)]
            )

    return Place(SecretStr(f"sqs+{url}?region=us-east-1"), lambda lake: None, lambda lake: None, tell)


def _record(info: ObjectInfo) -> dict[str, Any]:
    entry = {"key": quote_plus(info.key), "size": info.size_bytes, "eTag": info.e_tag, "sequencer": "00"}
    return {
        "eventSource": "aws:s3",
        "eventTime": info.last_modified.isoformat(),
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": BUCKET}, "object": entry},
    }

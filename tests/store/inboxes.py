"""The three kinds of inboxes, each with its real server, filled as its store fills it."""

import json
import os
import uuid
from contextlib import closing

import boto3
import psycopg2
from moto.server import ThreadedMotoServer
from postgres import postgres_server

from lakehouse.events.address import InboxAddress
from lakehouse.events.event import events_of
from lakehouse.events.places import open_inbox

KINDS = ("sqlite", "postgresql", "sqs")


def body_of(key="f%2Fa+b%2Bc%25%C3%A9.json", name="s3:ObjectCreated:Put", **changes):
    """What MinIO sends."""
    said = {"key": key, "size": 5, "eTag": "5d41402abc4b2a76b9719d911017c592", "sequencer": "18EBA29744BE0AB9"}
    s3 = {"bucket": {"name": changes.pop("bucket", "landing")}, "object": {**said, **changes}}
    record = {"eventVersion": "2.0", "eventSource": "minio:s3", "eventTime": "2026-11-26T15:40:47.016Z"}
    return json.dumps({"EventName": name, "Records": [{**record, "eventName": name, "s3": s3}]}).encode()


class Sqlite:
    """A file, and a receiver that puts events into it."""

    def __init__(self, folder):
        self.address = InboxAddress.parse(f"sqlite:{folder / uuid.uuid4().hex / 'inbox.sqlite'}")

    def send(self, bodies, now):
        with closing(open_inbox(self.address)) as inbox:
            for body in bodies:
                inbox.put(events_of(body)[0], now)


class Postgres:
    """A database, and MinIO that writes rows into it."""

    def __init__(self, server):
        name = f"inbox_{uuid.uuid4().hex}"
        with closing(psycopg2.connect(server)) as opened:
            opened.autocommit = True
            opened.cursor().execute(f"CREATE DATABASE {name}")
        self.address = InboxAddress.parse(server.replace("@", ":sec%2Fret@").removesuffix("postgres") + name)

    def send(self, bodies, now):
        with closing(psycopg2.connect(self.address.secret.get_secret_value())) as opened:
            opened.autocommit = True
            for body in bodies:
                said = (json.loads(body)["Records"] or [{}])[0].get("eventTime", now)
                row = (said, body.decode())
                opened.cursor().execute("INSERT INTO lakehouse_events (event_time, event_data) VALUES (%s, %s)", row)


class Sqs:
    """A queue, and S3 that sends messages to it."""

    def __init__(self, server, folder):
        os.environ |= {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
        self.client = boto3.client("sqs", endpoint_url=server, region_name="us-east-1")
        self.url = self.client.create_queue(QueueName=f"landing-{uuid.uuid4().hex}")["QueueUrl"]
        place = f"sqs+{self.url}?region=us-east-1&file={folder / uuid.uuid4().hex / 'sqs.sqlite'}"
        self.address = InboxAddress.parse(place)

    def send(self, bodies, now):
        for body in bodies:
            self.client.send_message(QueueUrl=self.url, MessageBody=body.decode())

    def left(self):
        """Messages that were not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        said = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(map(int, said.values()))


class Servers:
    """What the kinds need, started when the first inbox of a kind is made."""

    def __init__(self, folder):
        self.folder, self._ends = folder, []
        self._postgres = self._sqs = None

    def make(self, kind):
        if kind == "sqlite":
            return Sqlite(self.folder)
        return Postgres(self.postgres) if kind == "postgresql" else Sqs(self.sqs, self.folder)

    @property
    def postgres(self):
        if self._postgres is None:
            server = postgres_server()
            self._postgres = server.__enter__()
            self._ends.append(lambda: server.__exit__(None, None, None))
        return self._postgres

    @property
    def sqs(self):
        if self._sqs is None:
            server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            server.start()
            host, port = server.get_host_and_port()
            self._sqs = f"http://{host}:{port}"
            self._ends.append(server.stop)
        return self._sqs

    def close(self):
        for end in self._ends:
            end()

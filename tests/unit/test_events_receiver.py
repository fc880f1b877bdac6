"""The receiver acknowledges an event when the inbox has it, and takes harm from no sender."""

import http.client
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.events import sqlite_inbox
from lakehouse.events.event import Malformed, events_of
from lakehouse.events.receiver import MOST_BYTES, Receiver
from lakehouse.events.sqlite_inbox import SqliteInbox

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "the token"


def body_of(key="f%2Fa+b%2Bc%25%C3%A9.json", name="s3:ObjectCreated:Put", **changes):
    """What MinIO sends."""
    said = {"key": key, "size": 5, "eTag": "5d41402abc4b2a76b9719d911017c592", "sequencer": "18EBA29744BE0AB9"}
    s3 = {"bucket": {"name": changes.pop("bucket", "landing")}, "object": {**said, **changes}}
    record = {"eventVersion": "2.0", "eventSource": "minio:s3", "eventTime": "2026-11-26T15:40:47.016Z"}
    return json.dumps({"EventName": name, "Records": [{**record, "eventName": name, "s3": s3}]}).encode()


@pytest.fixture
def inbox(tmp_path):
    made = SqliteInbox(tmp_path / "inbox" / "inbox.sqlite", create=True)
    yield made
    made.close()


@pytest.fixture
def receiver(inbox):
    made = Receiver(inbox, TOKEN)
    serving = threading.Thread(target=made.run)
    serving.start()
    yield made
    made.close()
    serving.join()


def ask(receiver, method="POST", body=None, token=TOKEN, **headers):
    asked = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=30)
    try:
        asked.request(method, "/", body, {"Authorization": f"Bearer {token}", **headers})
        return asked.getresponse().status
    finally:
        asked.close()


def test_an_event_says_key_version_and_the_time_that_a_listing_has():
    [event], others = events_of(body_of())
    assert (event.bucket, event.key, event.size_bytes, others) == ("landing", "f/a b+c%é.json", 5, 0)
    assert event.e_tag == "5d41402abc4b2a76b9719d911017c592"
    assert event.modified == datetime(2026, 11, 26, 15, 40, 47, 14_000, tzinfo=UTC)


@pytest.mark.parametrize("sequencer", ["", "zz", "1", "F" * 400, "18EBA29744BE0AB9" * 2])
def test_a_sequencer_that_is_no_time_of_that_moment_says_none(sequencer):
    assert events_of(body_of(sequencer=sequencer))[0][0].modified is None


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b'{"Records": 1}', b'{"Records": {"eventName": 1}}', b"[" * 100_000),
        *(body_of(size="5"), body_of(size=-1), body_of(size=True), body_of(size=1 << 63), body_of(size=1e400)),
        *(body_of(key=5), body_of(key=""), body_of(key="%FF"), body_of(key="a%00b"), body_of(key="\ud800")),
        *(body_of(eTag=None), body_of(bucket=""), body_of().replace(b"2026-11", b"2026-13")),
        *(body_of(eTag="\ud800"), body_of(sequencer="\ud800"), body_of(bucket="\ud800"), body_of(size=1 << 50)),
        *(
            body_of().replace(b"2026-11-26T15:40:47.016", time)
            for time in (b"9999-12-31T23:59:59.999999", b"0001-01-01")
        ),
        body_of().replace(b'"eventTime"', b'"time"'),
    ],
)
def test_what_is_no_event_is_malformed(body):
    with pytest.raises(Malformed):
        events_of(body)


def test_events_are_taken_once_whoever_sends_them_again(receiver, inbox):
    assert [ask(receiver, body=body_of()) for _ in range(3)] == [200] * 3
    assert ask(receiver, body=body_of(sequencer="18EBA29744BE0ABA")) == 200
    assert ask(receiver, body=body_of(name="s3:ObjectRemoved:Delete")) == 200
    assert [entry.event.sequencer for entry in inbox.read("landing", "f/", 0, 9, 9)] == [
        "18EBA29744BE0AB9",
        "18EBA29744BE0ABA",
    ]
    assert dict(receiver.counts) == {"new": 2, "known": 2, "ignored": 1}
    assert inbox.last_number() == 2


def test_who_asks_whether_somebody_listens_is_answered(receiver):
    assert ask(receiver, "HEAD") == ask(receiver, "GET") == ask(receiver, body=b"") == 200


def test_without_the_token_nothing_is_taken(receiver, inbox):
    assert ask(receiver, body=body_of(), token="another") == 403
    assert ask(receiver, body=body_of(), Authorization=TOKEN) == 403
    assert ask(receiver, body=body_of(), Authorization="Bearer the tokén".encode().decode("latin-1")) == 403
    assert inbox.last_number() == 0
    assert receiver.counts["forbidden"] == 3


def test_malformed_and_endless_bodies_are_refused_and_counted(receiver, inbox):
    assert ask(receiver, body=b"{") == 400
    assert ask(receiver, body=b"x", **{"Content-Length": str(MOST_BYTES + 1)}) == 413
    assert ask(receiver, body=b"x", **{"Content-Length": "x"}) == 411
    assert ask(receiver, body=b"x", **{"Content-Length": "-5"}) == 413
    assert (receiver.counts["malformed"], inbox.last_number()) == (4, 0)


def test_a_sender_that_dies_in_the_middle_leaves_nothing(receiver, inbox):
    with socket.create_connection(("127.0.0.1", receiver.port)) as dying:
        dying.sendall(f"POST / HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 900\r\n\r\n{{".encode())
    assert ask(receiver, body=body_of()) == 200
    assert inbox.last_number() == 1


def test_an_inbox_that_takes_nothing_is_no_thanks(receiver, inbox, monkeypatch):
    # the file cannot grow: as on a full disk
    inbox._opened.execute(f"PRAGMA max_page_count={inbox._opened.execute('PRAGMA page_count').fetchone()[0]}")
    answers = [ask(receiver, body=body_of(key="k" * 900 + str(number))) for number in range(20)]
    assert 503 in answers
    inbox._opened.execute("PRAGMA max_page_count=1000000")
    assert ask(receiver, body=body_of()) == 200
    assert inbox.size()[0] == answers.count(200) + 1


def test_two_receivers_on_one_inbox_take_each_event_once_and_number_them_in_order(receiver, inbox):
    second = SqliteInbox(inbox.path)
    other = Receiver(second, TOKEN)
    serving = threading.Thread(target=other.run)
    serving.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            sent = [(listener, f"k{number}") for number in range(60) for listener in (receiver, other)]
            assert set(pool.map(lambda pair: ask(pair[0], body=body_of(key=pair[1])), sent)) == {200}
    finally:
        other.close()
        serving.join()
        second.close()
    read = inbox.read("landing", "k", 0, inbox.last_number(), 999)
    assert {entry.event.key for entry in read} == {f"k{number}" for number in range(60)}
    assert len(read) == 60
    assert receiver.counts["new"] + other.counts["new"] == 60


def test_an_event_is_on_the_disk_before_it_is_acknowledged(inbox):
    for opened in (inbox, SqliteInbox(inbox.path)):
        asked = [opened._opened.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
        assert asked == ["wal", 2], "each commit is written through, in every process"
    opened.close()


def test_a_taken_port_is_told(receiver, inbox):
    with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{receiver.port}"):
        Receiver(inbox, TOKEN, receiver.port)


def test_an_inbox_outlives_its_process_and_is_private(inbox):
    inbox.put(events_of(body_of())[0], NOW)
    again = SqliteInbox(inbox.path)
    assert [entry.event for entry in again.read("landing", "f/", 0, 1, 9)] == events_of(body_of())[0]
    again.close()
    assert inbox.path.stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigurationError, match="there is no inbox"):
        SqliteInbox(inbox.path.with_name("another"))


def test_a_damaged_inbox_and_a_locked_one_are_told_apart(inbox, tmp_path, monkeypatch):
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"no database at all, and long enough to be taken for one" * 100)
    with pytest.raises(ConfigurationError, match="is damaged") as refused:
        SqliteInbox(damaged)
    assert "move the file away" in refused.value.next_command
    monkeypatch.setattr(sqlite_inbox, "_BUSY_SECONDS", 0)
    with inbox._changing(), pytest.raises(TransientError, match="database is locked"):
        SqliteInbox(inbox.path).put(events_of(body_of())[0], NOW)

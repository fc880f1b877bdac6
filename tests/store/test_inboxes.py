"""The same of all inboxes: a file, PostgreSQL and a queue of SQS, real servers, each filled as its store fills it."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_plus, urlsplit

import boto3
import pytest
from postgres import running_postgres
from store.inboxes import KINDS, Servers, body_of
from unit.autoloader.memory_store import MemoryStore
from unit.autoloader.test_discovery import SOURCE, opened

from lakehouse.autoloader.files import notified as notified_module
from lakehouse.autoloader.files.notified import Folder, discover_notified, opened_inbox
from lakehouse.errors import TransientError
from lakehouse.events import setup
from lakehouse.events.address import InboxAddress
from lakehouse.events.bell import Bell
from lakehouse.events.event import Event, events_of
from lakehouse.events.inbox import KEPT_AT_LEAST, KEPT_AT_MOST, Reader
from lakehouse.events.places import open_inbox
from lakehouse.processes import free_port
from lakehouse.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = ["f/a b+c%é.json", "f/~&=?#", "f/x", "f_/x", "F/x", "f/" + "k" * 1000, "f/\\'\"$1%s"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    made = Servers(tmp_path_factory.mktemp("inboxes"))
    yield made
    made.close()


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def place(servers, kind):
    """Where an inbox is to be, and who fills it."""
    return servers.make(kind)


@pytest.fixture
def inbox(place):
    made = open_inbox(place.address, create=True)
    yield made
    made.close()


def keys_of(inbox, prefix="", after=0, most=9999):
    return [entry.event.key for entry in inbox.read("landing", prefix, after, inbox.last_number(), most)]


def test_events_are_taken_once_in_the_order_in_which_they_came(place, inbox):
    bodies = [body_of(quote_plus(key)) for key in KEYS]
    place.send([*bodies, bodies[0], body_of(bucket="another"), body_of(quote_plus(KEYS[0]), sequencer="F" * 16)], NOW)
    place.send(bodies, NOW)
    inbox.gather()
    assert keys_of(inbox) == [*KEYS, KEYS[0]]
    assert inbox.last_number() == len(KEYS) + 2
    assert keys_of(inbox, "f/") == [*(key for key in KEYS if key.startswith("f/")), KEYS[0]]
    assert keys_of(inbox, after=1, most=2) == KEYS[1:3]
    assert inbox.has("landing", [*KEYS, "f/none"]) == set(KEYS)
    assert inbox.has("another", KEYS[1:]) == inbox.has("landing", []) == set()
    [first, *_] = inbox.read("landing", "", 0, 1, 9)
    assert first.event == events_of(bodies[0])[0][0]
    assert first.received <= datetime.now(UTC)
    count, newest, size = inbox.size()
    assert (count, newest, size > 0) == (len(KEYS) + 2, first.event.at, True)


def test_what_is_put_is_read_as_it_was_and_outlives_its_process(place, inbox):
    events = [Event("landing", key, f"e{n}", n, NOW, f"{n:9}", NOW if n % 2 else None) for n, key in enumerate(KEYS)]
    assert inbox.put(events, NOW) == len(KEYS)
    assert inbox.put(events, NOW + timedelta(days=1)) == inbox.put([], NOW) == 0
    with closing(open_inbox(place.address)) as again:
        assert [entry.event for entry in again.read("landing", "", 0, 99, 99)] == events
        assert {entry.received for entry in again.read("landing", "", 0, 99, 99)} == {NOW}


def test_whoever_follows_the_numbers_misses_none_while_several_put(place, inbox):
    def put(start):
        with closing(open_inbox(place.address)) as own:
            for number in range(start, 120, 3):
                own.put([Event("landing", f"k{number}", "e", 1, NOW, str(number))], NOW)
                if number % 9 == 0:
                    own.put([Event("landing", f"k{n}", "e", 1, NOW, str(n)) for n in range(1000, 1010)], NOW)

    with ThreadPoolExecutor(3) as pool:
        putting = [pool.submit(put, start) for start in range(3)]
        seen, after, last = [], 0, False
        while not last:
            last = all(future.done() for future in putting)
            upto = inbox.last_number()
            seen += inbox.read("landing", "k", after, upto, 9999)
            after = upto
    [future.result() for future in putting]
    assert sorted(entry.event.key for entry in seen) == sorted([f"k{n}" for n in (*range(120), *range(1000, 1010))])


def test_a_reader_never_goes_back_and_what_it_knows_stays(inbox):
    assert (inbox.reader("a"), inbox.readers()) == (None, [])
    inbox.listed(Reader("a", 7, 3, "x", NOW, 900.0, 1, 2, 3, 4, 5))
    inbox.advance("a", 5, 4, "y", 2)
    inbox.advance("nobody", 5, 4, "y", 2)
    assert inbox.reader("a") == Reader("a", 7, 4, "y", NOW, 900.0, 3, 4, 3, 4, 5)
    inbox.listed(Reader("a", 6, 5, "z", NOW))
    assert inbox.readers() == [Reader("a", 7, 5, "z", NOW)]


def test_what_all_readers_have_read_goes_after_an_hour_and_the_rest_after_a_week(inbox):
    for number in range(4):
        inbox.put([Event("landing", f"k{number}", "e", 1, NOW)], NOW)
    later = NOW + KEPT_AT_LEAST + timedelta(seconds=1)
    assert inbox.prune(later) == 0
    for name, upto in (("a", 3), ("b", 2)):
        inbox.listed(Reader(name, upto, 0, "", NOW))
    assert inbox.prune(NOW) == 0
    assert inbox.prune(later) == 2
    assert (inbox.size()[0], inbox.forgotten_upto()) == (2, 0)
    assert inbox.prune(NOW + KEPT_AT_MOST + timedelta(seconds=1)) == 2
    assert (inbox.size()[:2], inbox.forgotten_upto(), inbox.last_number()) == ((0, None), 4, 4)
    inbox.put([Event("landing", "k0", "e", 1, NOW)], NOW)
    assert inbox.last_number() == 5


def test_of_too_many_events_the_oldest_go_and_a_reader_that_lacks_them_is_told(inbox, monkeypatch):
    for module in ("sqlite_inbox", "postgres_inbox"):
        monkeypatch.setattr(f"lakehouse.events.{module}.MOST_EVENTS", 10)
    inbox.put([Event("landing", f"k{number:02d}", "e", 1, NOW) for number in range(25)], NOW)
    inbox.listed(Reader("a", 5, 0, "", NOW))
    assert inbox.prune(NOW) == 15
    assert keys_of(inbox) == [f"k{number:02d}" for number in range(15, 25)]
    assert (inbox.forgotten_upto(), inbox.last_number()) == (15, 25)
    assert inbox.prune(NOW) == 0


def test_an_event_ends_the_wait_and_so_does_who_stops(place, inbox, monkeypatch):
    monkeypatch.setattr("lakehouse.events.sqs_inbox._LONG_POLL_SECONDS", 1)  # the server waits for it at its end
    bell, stop = Bell(inbox), threading.Event()
    bell.listen()
    assert bell.wait(stop, 0.3) is False
    ringing = threading.Timer(0.1, place.send, ([body_of()], NOW))
    ringing.start()
    started = time.monotonic()
    assert bell.wait(stop, 600) is False
    assert inbox.last_number() == 1
    assert time.monotonic() - started < 60
    bell.listen()
    threading.Timer(0.1, stop.set).start()
    assert bell.wait(stop, 600) is True


class Told:
    """A journal that follows an inbox."""

    def __init__(self, place, inbox):
        self.place, self.inbox, self.world = place, inbox, MemoryStore()
        self.journal = opened(self.world)
        self.files = 0

    def look(self, **options):
        folder = Folder(self.world, SOURCE, self.journal, ("lake", "j/audit.json"))
        return discover_notified(folder, self.inbox, now=lambda: NOW, interval_seconds=86_400.0, **options)

    def put(self, *names, told=True, times=1):
        for name in names:
            self.files += 1
            self.world.put("landing", f"in/{name}", f"{self.files}".encode(), NOW)
            [info] = [listed for listed in self.world.list("landing", f"in/{name}") if listed.key == f"in/{name}"]
            said = {"eTag": info.e_tag, "size": info.size_bytes, "sequencer": f"{self.files:016X}"}
            if told:
                self.place.send([body_of(quote_plus(info.key), **said)] * times, NOW)

    def keys(self):
        return sorted(file.key for file in self.journal.files(0, self.journal.high_water))


@pytest.fixture
def told(place, inbox, monkeypatch):
    monkeypatch.setattr(notified_module, "_PATIENCE_SECONDS", 0.0)  # this queue gives all it has at once
    made = Told(place, inbox)
    made.put("0")
    assert made.look().listed == "the first look"
    yield made


def test_files_come_by_their_events_once_and_by_a_listing_what_no_event_told_of(told):
    told.put("2", "1", "ü +%", times=3)
    told.put("gone")
    told.world.delete("landing", "in/gone")
    told.put("1")
    found = told.look()
    assert (found.found, found.listed) == (3, "")
    assert told.keys() == ["in/0", "in/1", "in/2", "in/ü +%"]
    assert told.look().events == 0
    told.put("silent", told=False)
    assert (told.look().found, told.look(listing=True).listed) == (0, "asked for")
    assert told.keys()[-2:] == ["in/silent", "in/ü +%"]


def test_a_replayed_month_of_events_and_those_of_others_bring_nothing(told):
    told.put(*map(str, range(1, 20)))
    told.look()
    before = told.keys()
    month = [body_of(quote_plus(f"in/{n}"), sequencer=f"{n:016X}", eTag="old") for n in range(20)]
    told.place.send([*month, body_of(bucket="theirs"), body_of("elsewhere%2Fx")], NOW)
    found = told.look()
    assert (found.found, told.keys()) == (0, before)
    assert found.asked >= 20


def test_a_crash_between_the_journal_and_the_inbox_costs_a_look_and_no_file(told, monkeypatch):
    def crash(*words):
        raise KeyboardInterrupt

    told.put("1", "2")
    with monkeypatch.context() as crashing:
        crashing.setattr(type(told.inbox), "advance", crash)
        with pytest.raises(KeyboardInterrupt):
            told.look()
    assert told.look().found == 0
    told.put("3")
    assert told.look().found == 1
    assert told.keys() == ["in/0", "in/1", "in/2", "in/3"]


def test_messages_that_are_no_events_stay_in_the_queue_and_hold_up_none(servers):
    place = servers.make("sqs")
    tried = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-01-01T00:00:00.000Z", "Bucket": "landing"}
    by_topic = {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:us-east-1:1:t"}
    by_topic["Message"] = body_of("by-topic").decode()
    removed = body_of("removed", name="ObjectRemoved:Delete")
    good = [json.dumps(message).encode() for message in (tried, by_topic)]
    bad = [b"{", b"[]", b"1", b'{"Records": 1}', b'{"Type": "Notification"}', b'{"order": 17}', body_of("x", size=-1)]
    bad += [
        body_of("x", eTag="\ud800"),
        body_of("x").replace(b"2026-11-26T15:40:47.016", b"9999-12-31T23:59:59.999999"),
    ]
    place.send([*bad, *good, removed, body_of("last")], NOW)
    with closing(open_inbox(place.address)) as inbox:
        inbox.gather()
        assert keys_of(inbox) == ["by-topic", "last"]
        assert place.left() == len(bad)


def test_a_message_is_deleted_only_when_its_event_is_on_the_disk(servers, monkeypatch):
    place = servers.make("sqs")
    with closing(open_inbox(place.address)) as inbox:
        place.send([body_of("a")], NOW)
        with monkeypatch.context() as failing:
            failing.setattr("lakehouse.events.sqs_inbox._VISIBLE_AFTER_SECONDS", 0)
            inbox._opened.execute("PRAGMA query_only=ON")  # as on a full disk
            with pytest.raises(TransientError):
                inbox.gather()
            inbox._opened.execute("PRAGMA query_only=OFF")
        assert place.left() == 1
        inbox.gather()
        assert (keys_of(inbox), place.left()) == (["a"], 0)


def test_rows_that_are_no_events_and_rows_of_a_table_that_the_store_made_are_met(servers):
    place = servers.make("postgresql")
    import psycopg2

    with closing(psycopg2.connect(place.address.secret.get_secret_value())) as database:
        database.autocommit = True
        run = database.cursor()
        run.execute("CREATE TABLE lakehouse_events (event_time TIMESTAMP WITH TIME ZONE NOT NULL, event_data JSONB)")
        place.send([body_of("early")], NOW)
        with closing(open_inbox(place.address, create=True)) as inbox:
            run.execute(
                """INSERT INTO lakehouse_events VALUES (now(), NULL), (now(), '{"Records": [5]}'), (now(), '7')"""
            )
            place.send([body_of("x", size=-1), body_of("y", name="s3:ObjectRemoved:Delete"), body_of("late")], NOW)
            assert keys_of(inbox) == ["early", "late"]
            assert inbox.read("landing", "", 0, 99, 1)[0].event.key == "early"


def test_a_row_of_the_store_is_on_the_disk_when_it_is_committed_whatever_the_database_says(servers):
    place = servers.make("postgresql")
    import psycopg2

    with (
        closing(open_inbox(place.address, create=True)) as inbox,
        closing(psycopg2.connect(place.address.secret.get_secret_value())) as store,
    ):
        run = store.cursor()
        run.execute("SET synchronous_commit = off")
        run.execute("INSERT INTO lakehouse_events VALUES (now(), %s)", (body_of("a").decode(),))
        run.execute("SHOW synchronous_commit")
        assert run.fetchone() == ("on",)
        store.commit()
        assert keys_of(inbox) == ["a"]


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_server_that_is_away_is_told_without_its_password(place, inbox):
    port = str(urlsplit(place.address.public).port)
    gone = InboxAddress.parse(place.address.secret.get_secret_value().replace(port, str(free_port())))
    assert "sec" not in gone.public
    with pytest.raises(TransientError) as failed:
        other = open_inbox(gone)
        try:
            other.gather()
        finally:
            other.close()
    assert "sec" not in str(failed.value)
    assert gone.public in str(failed.value)


def test_a_database_that_starts_again_amid_reads_is_read_on_and_rings_again():
    with running_postgres() as server, closing(open_inbox(InboxAddress.parse(server.address), create=True)) as inbox:
        inbox.put([Event("landing", "k0", "e", 1, NOW)], NOW)
        assert not inbox.wait(1, 0.01)  # it listens
        server.stop()
        for ask in (lambda: keys_of(inbox), lambda: inbox.wait(1, 0.01), lambda: inbox.advance("a", 1, 0, "", 0)):
            with pytest.raises(TransientError, match="cannot be used now"):
                ask()
        server.start()
        assert keys_of(inbox) == ["k0"]
        bell, stop = Bell(inbox), threading.Event()
        bell.listen()
        with closing(open_inbox(InboxAddress.parse(server.address))) as other:
            threading.Timer(0.1, other.put, ([Event("landing", "k1", "e", 1, NOW)], NOW)).start()
            assert bell.wait(stop, 600) is False
        assert keys_of(inbox) == ["k0", "k1"]


def test_a_bucket_s_rule_sends_what_lands_in_a_folder_to_the_queue(servers, tmp_path):
    place = servers.make("sqs")
    s3 = boto3.client("s3", endpoint_url=servers.sqs, region_name="us-east-1")
    for bucket in ("landing", "lakehouse"):
        s3.create_bucket(Bucket=bucket)
    given = {"s3_endpoint": servers.sqs, "s3_access_key": "nobody", "s3_secret_key": "nothing"}
    settings = Settings.load(home=tmp_path, **given, events_inbox=place.address.public.partition("&file=")[0])
    endpoint = setup.enable(settings, {"landing": ["things/"]})
    for key in ("things/0.json", "other/1.json", "things/deep/2 é+%.json"):
        s3.put_object(Bucket="landing", Key=key, Body=b"{}")
    with opened_inbox(InboxAddress.of(settings).public) as inbox:
        inbox.gather()
        assert keys_of(inbox) == ["things/0.json", "things/deep/2 é+%.json"]
    assert place.left() == 0
    assert setup.status(settings, endpoint, {"landing": []}).rules == {"landing": {"things/"}}
    setup.disable(settings, {"landing": ["things/"]}, all_of_it=True)
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket="landing")

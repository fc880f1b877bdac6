"""What goes wrong is told once, to whom it concerns, until it is well again; and nothing is lost on the way."""

import json
import logging
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from command import lakehouse, lakehouse_here, lakehouse_json_here
from declared import with_declaration
from pydantic import SecretStr
from store.local_world import TABLE, LocalWorld

from lakehouse.alerts.alert import Alert, Round
from lakehouse.alerts.book import KEY, HomeBook, LakeBook, read
from lakehouse.alerts.finding import of_error, of_stream
from lakehouse.alerts.hooks import tell_safely, watched
from lakehouse.alerts.telling import tell
from lakehouse.declaration import read_catalogue
from lakehouse.errors import StoreUnavailable
from lakehouse.storage.lease_holder import Holder, this_host
from lakehouse.table import Alerting, Catalogue

OWNERS = ["team:sales", "ann@example.com"]


class Story:
    """A table that the local engine fills, whose alerts go to a file."""

    def __init__(self, lake, folder):
        self.world, self.folder = LocalWorld(lake, folder), folder
        self.file = folder / "told.jsonl"
        self.variables = {"LAKEHOUSE_ALERTS": f"file://{self.file}"}

    def declare(self, alerts=None, **keys):
        flow = {"path": "{landing}/things/", "engine": "local"}
        text = json.dumps({"tables": {TABLE: {"files": flow, **keys}}, "alerts": alerts})
        self.world.lake = with_declaration(self.world.plain, self.folder, text)
        return self

    @property
    def lake(self):
        return self.world.lake

    @property
    def settings(self):
        address = SecretStr(self.variables["LAKEHOUSE_ALERTS"])
        return self.lake.settings.model_copy(update={"alerts": address})

    @property
    def catalogue(self):
        return read_catalogue(self.settings)

    @property
    def environment(self):
        no_engine = {"LAKEHOUSE_SPARK_REMOTE": "sc://127.0.0.1:1"}
        return {**self.world.environment, **no_engine, **self.variables}

    def run(self, *words):
        return lakehouse_here(self.environment, *words)

    def told(self, file=None):
        """What came since it was asked last: news, kind and table."""
        file = file or self.file
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        file.unlink(missing_ok=True)
        return [SimpleNamespace(**line) for line in lines]

    def news(self, file=None):
        return [(alert.news, alert.kind, alert.table) for alert in self.told(file)]

    def put(self, name="0.json", rows=({"id": 1},)):
        self.world.put(name, list(rows))
        return self


@pytest.fixture
def story(lake, tmp_path):
    return Story(lake, tmp_path).declare()


def damage(table, number=1, **more):
    return Alert("damaged", table, f"doctor:{table}:{number}:", f"number {number}", **more)


def round_of(*alerts, looked=("doctor:",)):
    return Round.of(alerts, looked)


def test_a_failed_run_is_told_once_with_what_mends_it_and_again_when_it_is_well(story):
    assert story.put().run("ingest").returncode == 0
    assert story.told() == [], "all is well"
    story.lake.store.delete_prefix(story.settings.bucket, f"{story.settings.user}/bronze/things/")
    assert story.run("ingest").returncode == 1
    [told] = story.told()
    assert (told.news, told.kind, told.table, told.detail) == ("begun", "run failed", TABLE, "CheckpointMismatch")
    assert told.command.startswith(f"lakehouse checkpoint repair {TABLE}") and told.why and told.where
    assert any("the doctor finds" in line for line in told.seen_by)
    assert story.run("ingest").returncode == 1
    assert story.told() == [], "it is known"
    [known] = lakehouse_json_here(story.environment, "alerts", "show")["open"]
    assert (known["times"], known["since"]) == (2, told.since)
    service = lakehouse(story.environment, "stream", TABLE)
    assert (service.returncode, story.news()) == (1, [("begun", "service down", TABLE)])
    assert story.run("checkpoint", "repair", TABLE, "--yes").returncode == 0
    assert story.run("ingest").returncode == 0
    assert story.news() == [("recovered", "service down", TABLE)], "what was told of it last"
    assert story.run("ingest").returncode == 0 and story.told() == []
    assert lakehouse_json_here(story.environment, "alerts", "show")["open"] == []


def test_each_failed_check_is_told_and_what_is_given_up_is_over(story):
    checks = [{"row_count": {"min": 2}, "on_failure": "block"}, {"not_null": "kind", "on_failure": "warn"}]
    story.declare(checks=checks).put(rows=[{"id": 1, "kind": None}])
    assert story.run("ingest").returncode == 1
    told = sorted(story.told(), key=lambda alert: alert.title)
    assert [alert.title for alert in told] == [f"FAIL {TABLE}: check failed", f"WARN {TABLE}: check failed"]
    assert "row_count" in told[0].what and all("lakehouse" in alert.command for alert in told)
    assert story.run("check").returncode == 1 and story.told() == []
    story.declare(checks=checks[:1])
    assert story.run("check").returncode == 1
    assert story.news() == [("recovered", "check failed", TABLE)]
    assert story.put("1.json").run("ingest").returncode == 0
    assert story.news() == [("recovered", "check failed", TABLE)]


def test_what_concerns_a_table_goes_to_its_owners_and_the_rest_to_everybody(story, monkeypatch, tmp_path):
    sales = tmp_path / "sales.jsonl"
    monkeypatch.setenv("SALES_ALERTS", f"file://{sales}")
    story.declare(alerts={"owners": {"team:sales": "SALES_ALERTS", "ann@example.com": "NOT_SET"}}, owners=OWNERS)
    tell(story.settings, story.catalogue, round_of(damage(TABLE), damage("")), story.lake)
    assert "ann@example.com: NOT_SET is not set" in story.run("alerts", "show").stdout
    [told] = story.told(sales)
    assert (told.table, told.owners) == (TABLE, OWNERS)
    assert story.news() == [("begun", "damaged", "")]
    monkeypatch.delenv("SALES_ALERTS")
    tell(story.settings, story.catalogue, round_of(damage("")), story.lake)
    assert story.news() == [("recovered", "damaged", TABLE)], "a channel that is gone loses nothing"


@contextmanager
def receiver(port=0):
    """A web hook as Apprise's json:// speaks to it, and what it was sent."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], got
    finally:
        server.shutdown()
        server.server_close()


def test_a_channel_that_is_down_fails_no_run_and_gets_everything_once_it_is_up(story, caplog):
    with receiver() as (port, _):
        pass
    secret = "canary-of-an-address"
    story.variables["LAKEHOUSE_ALERTS"] = f"file://{story.file}, json://user:{secret}@127.0.0.1:{port}/{secret}"
    story.declare(checks=[{"unique": "id", "on_failure": "warn"}]).put(rows=[{"id": 1}, {"id": 1}])
    with caplog.at_level(logging.DEBUG):
        done = story.run("ingest")
    assert (done.returncode, "LAKEHOUSE_ALERTS #2 (json) did not take a message" in done.stderr) == (0, True)
    assert story.news() == [("begun", "check failed", TABLE)], "others are told"
    shown = story.run("alerts", "show")
    assert "not delivered to LAKEHOUSE_ALERTS #2 (1 tries)" in shown.stdout
    kept = story.lake.store.read(story.settings.bucket, f"{story.settings.user}/{KEY}").decode()
    for text in (done.stdout, done.stderr, shown.stdout, kept, caplog.text, repr(story.settings)):
        assert secret not in text
    with receiver(port) as (_, got):
        assert story.run("check").returncode == 0 and story.run("check").returncode == 0
    assert [(message["title"], message["type"]) for message in got] == [(f"WARN {TABLE}: check failed", "warning")]
    assert "lakehouse" in got[0]["message"] and story.told() == []


def test_many_things_come_as_one_and_an_hour_has_its_limit(story):
    hour = datetime.now(UTC)
    story.declare(alerts={"most_an_hour": 2})
    with receiver() as (port, got):
        story.variables["LAKEHOUSE_ALERTS"] = f"json://127.0.0.1:{port}/"

        def say(*numbers, at=hour):
            alerts = [damage(TABLE, number) for number in numbers]
            return tell(story.settings, story.catalogue, round_of(*alerts), story.lake, now=lambda: at)

        assert say(*range(30)).delivered == 30
        assert got[0]["title"] == "lakehouse: 30 messages" and got[0]["message"].count("number ") == 10
        assert got[0]["message"].count(f"FAIL {TABLE}: damaged") == 30
        assert say(*range(31)).delivered == 1
        limited = say(*range(35))
        assert (limited.delivered, limited.waiting) == (0, 4)
        assert say(*range(35), at=hour + timedelta(minutes=61)).delivered == 4
        assert len(got) == 3


def test_what_came_with_files_is_no_control_of_whoever_reads_it(story):
    with receiver() as (port, got):
        story.variables["LAKEHOUSE_ALERTS"] = f"json://127.0.0.1:{port}/"
        hostile = replace(damage(TABLE), what="a\x1b[2Jb\u202ec", where="x" * 5000)
        tell(story.settings, story.catalogue, round_of(hostile), story.lake)
    assert "a\\x1b[2Jb\\u202ec" in got[0]["message"] and len(got[0]["message"]) < 1500


def test_of_many_who_find_the_same_one_tells_it(story):
    found, catalogue, settings = round_of(damage(TABLE)), story.catalogue, story.settings
    together = threading.Barrier(4)

    def say():
        together.wait(30)
        tell(settings, catalogue, found, story.lake)

    threads = [threading.Thread(target=say) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert story.news() == [("begun", "damaged", TABLE)]
    assert read(LakeBook(story.lake)).open[damage(TABLE).cause].times == 4


def test_who_dies_while_sending_leaves_it_to_the_next_after_a_while(story):
    at = datetime.now(UTC)

    class Killed(BaseException):
        pass

    def dies():
        calls.append(1)
        if len(calls) > 1:  # it has sent, and has not noted so
            raise Killed
        return at

    calls = []
    with pytest.raises(Killed):
        tell(story.settings, story.catalogue, round_of(damage(TABLE)), story.lake, now=dies)
    [first] = story.told()
    tell(story.settings, story.catalogue, round_of(damage(TABLE)), story.lake, now=lambda: at)
    assert story.told() == [], "it may still be sent"
    later = at + timedelta(minutes=6)
    tell(story.settings, story.catalogue, round_of(damage(TABLE)), story.lake, now=lambda: later)
    assert [alert.id for alert in story.told()] == [first.id], "twice rather than never, and told apart by its id"


def test_a_store_that_is_away_is_told_once_and_when_it_is_back(story):
    away = of_error(StoreUnavailable("the object store does not answer", where="http://127.0.0.1:1"))
    for _ in range(2):
        tell(story.settings, story.catalogue, away, None)
    assert story.news() == [("begun", "run failed", "")]
    beyond = replace(story.lake, store=Unreachable())
    tell(story.settings, story.catalogue, away + round_of(damage(TABLE)), beyond)
    assert story.news() == [("begun", "damaged", TABLE)]
    tell(story.settings, story.catalogue, round_of(looked=("run:",)), story.lake)
    assert story.news() == [("recovered", "run failed", "")]
    tell(story.settings, story.catalogue, round_of(damage(TABLE)), story.lake)
    assert story.told()[0].news == "begun", "the lake has not known of it"
    tell(story.settings, story.catalogue, round_of(), story.lake)
    assert set(story.news()) == {("recovered", "damaged", TABLE)}
    assert not HomeBook(story.settings).path.exists()


class Unreachable:
    def info(self, bucket, key):
        raise StoreUnavailable("the object store does not answer")


def test_a_look_from_outside_finds_files_that_wait_and_services_that_are_gone(story):
    story.declare(freshness="30 minutes").put()
    assert story.run("ingest").returncode == 0
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    holder = Holder("h", TABLE, this_host(), gone.pid, "1", 0.0)
    story.lake.store.write(story.settings.bucket, f"{story.settings.user}/_checkpoints/{TABLE}.lease", holder.encoded())
    old = datetime.now(UTC) + timedelta(hours=1)
    found = doctor_at(story, old)
    tell(story.settings, story.catalogue, found, story.lake)
    assert set(story.news()) == {("begun", "stale", TABLE), ("begun", "service down", TABLE)}
    assert story.run("ingest").returncode == 0
    assert set(story.news()) == {("recovered", "stale", TABLE), ("recovered", "service down", TABLE)}
    story.lake.store.delete_prefix(story.settings.bucket, f"{story.settings.user}/bronze/things/")
    done = lakehouse_json_here(story.environment, "alerts", "look")
    assert [(alert["kind"], alert["detail"]) for alert in done["begun"]] == [("damaged", "table_missing")]
    assert story.news() == [("begun", "damaged", TABLE)]


def doctor_at(story, now):
    """What the doctor would find then."""
    from lakehouse.alerts import finding
    from lakehouse.doctor.examining import examine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding, "examine", lambda *given, **named: examine(*given, **named, now=now))
        return finding.of_doctor(story.lake, story.catalogue)


def test_a_service_that_does_not_go_on_is_told_while_it_runs_and_when_it_ends(story):
    health = {"table": TABLE, "state": "running", "stale": False, "seconds_since_progress": 1.0, "last_error": None}
    assert of_stream({**health, "state": "restarting", "seconds_since_progress": 10}, 120).alerts == ()
    [down] = of_stream({**health, "state": "restarting", "seconds_since_progress": 130}, 120).alerts
    assert (down.kind, "130 seconds" in down.what) == ("service down", True)
    asked = threading.Event()
    lake = replace(story.lake, settings=story.settings)

    def well():
        if health["stale"]:
            asked.set()
        return [dict(health)]

    with watched(lake, well, pytest.fail, every_seconds=0.01):
        health["stale"] = True
        assert asked.wait(30)
    assert story.news()[:1] == [("begun", "service down", TABLE)]
    health.update(stale=False, state="running")
    with watched(lake, well, pytest.fail):
        pass
    assert story.news() == [("recovered", "service down", TABLE)]


def test_a_test_reaches_every_channel_or_says_which_it_does_not(story):
    story.variables["LAKEHOUSE_ALERTS"] = f"file://{story.file} nonsense://canary-key file://relative/canary"
    failed = story.run("alerts", "test")
    assert story.news() == [("test", "test", "")]
    assert failed.returncode == 1 and "canary" not in failed.stdout + failed.stderr
    assert "LAKEHOUSE_ALERTS #2 (nonsense): it is no address that Apprise knows" in failed.stdout
    assert "PASS  LAKEHOUSE_ALERTS #1 (file) took a test" in failed.stdout
    del story.variables["LAKEHOUSE_ALERTS"]
    nobody = story.run("alerts", "test")
    assert nobody.returncode == 1 and "no channel is named" in nobody.stderr
    assert "nobody is told" in story.run("alerts", "show").stdout


def test_a_damaged_state_is_begun_anew_and_nothing_fails(story):
    place = (story.settings.bucket, f"{story.settings.user}/{KEY}")
    for content in (b"", b"[]", b'{"open": {"a": 1}, "outbox": [], "sent": {}, "tested": {}}', b"\xff\x00"):
        story.lake.store.write(*place, content)
        told = tell_safely(story.settings, lambda catalogue: round_of(damage(TABLE)), story.lake)
        assert (told.problems, story.news()) == ([], [("begun", "damaged", TABLE)])
    broken = tell_safely(story.settings, lambda catalogue: 1 / 0, story.lake)
    assert broken.problems == ["alerts could not be told: ZeroDivisionError"]


def test_nobody_looks_where_nobody_is_told(story):
    assert tell_safely(story.lake.settings, pytest.fail, story.lake).begun == []
    assert story.lake.store.info(story.settings.bucket, f"{story.settings.user}/{KEY}") is None


def test_a_table_that_is_not_declared_any_more_is_forgotten_without_a_word(story):
    tell(story.settings, story.catalogue, round_of(damage(TABLE)), story.lake)
    assert len(story.told()) == 1
    tell(story.settings, Catalogue(alerts=Alerting()), round_of(looked=()), story.lake)
    assert (story.told(), read(LakeBook(story.lake)).open) == ([], {})

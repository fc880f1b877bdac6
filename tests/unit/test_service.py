import threading
from datetime import timedelta

import pytest

from lakehouse.batches import Recorder
from lakehouse.errors import ConfigurationError, StreamFailed
from lakehouse.lake import Lake
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.service.service import Service
from lakehouse.settings import Settings
from lakehouse.streams.progress import BatchProgress
from lakehouse.streams.queries import StopRequest
from lakehouse.streams.services import leaving_marks
from lakehouse.streams.trigger import Trigger


@pytest.mark.parametrize(
    ("tables", "trigger", "message"),
    [
        ([BRONZE, "bronze.nothing"], "processing-time=1s", "there is no stream for bronze.nothing"),
        ([BRONZE, SILVER, BRONZE], "processing-time=1s", f"{BRONZE} is named twice"),
        ([BRONZE], "availableNow", "ends by itself"),
        ([BRONZE], "continuous=1s", "need micro-batches"),
    ],
)
def test_what_is_no_service_is_refused_before_anything_is_opened(tables, trigger, message):
    with pytest.raises(ConfigurationError, match=message):
        Service(Lake(Settings.load(), None, None), tables, Trigger.parse(trigger))


def test_a_second_request_to_stop_means_at_once():
    stop = StopRequest()
    seen = []
    for _ in range(3):
        stop.ask()
        seen.append((stop.asked.is_set(), stop.at_once.is_set()))
    assert seen == [(True, False), (True, True), (True, True)]


@pytest.fixture
def service(tmp_path):
    """Its streams do nothing but wait for the end, and its store cannot be started."""
    (tmp_path / "store" / "server.lock").mkdir(parents=True)
    told = []
    made = Service(
        Lake(Settings.load(home=tmp_path), None, None), [BRONZE, SILVER], Trigger.parse("default"), say=told.append
    )
    made.told = told
    made._run = lambda table, state: made.stop.asked.wait(30)
    return made


def test_a_store_that_cannot_be_started_leaves_the_service_its_keeper(service):
    """The streams meet the reason and tell it: an error of this machine must not end the thread that watches them."""
    ends = threading.Timer(1.5, service.stop.ask)
    ends.start()
    service.run()
    assert len(service.told) >= 2, "it was tried again"
    assert {stream.state for stream in service.health.streams.values()} == {"stopped"}


def test_an_end_of_the_keeper_is_the_end_of_the_streams(service):
    def say(text):
        raise BrokenPipeError("nobody reads what a service says")

    service._say = say
    with pytest.raises(BrokenPipeError):
        service.run()
    assert {stream.state for stream in service.health.streams.values()} == {"stopped"}


def test_a_stream_that_is_broken_off_ends_the_service(service):
    """A panic of a library in Rust is no ``Exception``: it ended the stream's thread, and nobody noticed."""

    class Panic(BaseException):
        """As of ``pyo3``."""

    def run(table, state):
        if table == SILVER:
            raise Panic("index out of bounds")
        service.stop.asked.wait(30)

    service._run = run
    with pytest.raises(StreamFailed, match=f"{SILVER} was broken off: Panic: index out of bounds"):
        service.run()
    states = {table: stream.state for table, stream in service.health.streams.items()}
    assert states == {BRONZE: "stopped", SILVER: "failed"}


def test_a_mark_that_cannot_be_written_for_any_reason_ends_no_thread_and_hides_no_error():
    class Store:
        def __init__(self):
            self.asked = threading.Semaphore(0)

        def write(self, *arguments, **options):
            self.asked.release()
            raise OSError("too many open files")

    health = [
        {"table": BRONZE, "state": "running", "begun": True, "restarts": 0, "batches": 0, "last_error": None}
        | {"seconds_since_progress": 0.0, "seconds_since_batch": None, "last_batch_id": None}
    ]
    store = Store()
    lake = Lake(Settings.load(), None, store)
    marks = leaving_marks(lake, lambda: health, "default", timedelta(minutes=15), every_seconds=0.01)
    with pytest.raises(ZeroDivisionError), marks:
        assert all(store.asked.acquire(timeout=10) for _ in range(3))
        raise ZeroDivisionError


def test_a_declaration_that_is_changed_beside_a_service_fails_no_batch(tmp_path):
    (tmp_path / "lakehouse.yaml").write_text("tables: [")
    settings = Settings.load(declaration=tmp_path / "lakehouse.yaml", keep_batches=timedelta(days=30))
    recorder = Recorder(Lake(settings, None, None))
    recorder.note(BatchProgress(table=BRONZE, batch_id=0, input_rows=1, duration_seconds=1.0))
    assert [row["engine"] for row in recorder._rows] == [None]

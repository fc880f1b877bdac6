import pytest

from lakehouse.errors import ConfigurationError
from lakehouse.lake import Lake
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.service.service import Service
from lakehouse.settings import Settings
from lakehouse.streams.queries import StopRequest
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

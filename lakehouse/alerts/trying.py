"""Testing the channels, and keeping when each took a test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from lakehouse.alerts.alert import LAKE, Alert
from lakehouse.alerts.book import LakeBook, State, change
from lakehouse.alerts.channels import DEFAULT, Channel, Channels
from lakehouse.alerts.message import Message
from lakehouse.declaration import read_catalogue
from lakehouse.errors import ConfigurationError, LakehouseError
from lakehouse.lake import Lake
from lakehouse.settings import Settings


@dataclass(frozen=True)
class Tried:
    """What became of a test.

    Attributes:
        channel: Which, without its address.
        problem: Why it did not take it; empty when it did.
    """

    channel: str
    problem: str


def try_channels(lake: Lake, settings: Settings) -> list[Tried]:
    """Sends a test to every channel, and keeps which took it.

    Raises:
        ConfigurationError: no channel is named.
    """
    channels = Channels.of(settings, read_catalogue(settings)).every()
    if not channels:
        raise ConfigurationError(
            "no channel is named: nobody is told what goes wrong",
            where=DEFAULT,
            state="nothing was sent",
            next_command=f"set {DEFAULT} to an address as Apprise writes it, or to file:///folder/name",
        )
    at = datetime.now(UTC).isoformat(timespec="seconds")
    alert = Alert("test", LAKE, "test:", f"a test of {lake.settings.lake_uri}", where=lake.endpoint.url, blocks=False)
    tried, marks = [], dict[str, dict[str, str]]()
    for channel in channels:
        problem = ""
        try:
            channel.send([Message(channel.name, "test", alert, (), at, at)])
            marks[channel.name] = {"at": at, "mark": _mark(lake, channel)}
        except LakehouseError as error:
            problem = error.what
        tried.append(Tried(channel.label, problem))

    def note(state: State) -> bool:
        state.tested = {**state.tested, **marks}
        return bool(marks)

    change(LakeBook(lake), note)
    return tried


def tested(lake: Lake, channel: Channel, state: State) -> str | None:
    """When a channel took a test at the address that it has now; None for never."""
    last_test = state.tested.get(channel.name, {})
    return last_test.get("at") if last_test.get("mark") == _mark(lake, channel) else None


def _mark(lake: Lake, channel: Channel) -> str:
    return channel.mark(lake.endpoint.secret_key.get_secret_value())

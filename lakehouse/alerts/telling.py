"""Telling the channels what a round of alerts found: each cause once, until it is well again.

A message is in the state before it is sent, and leaves the state after a channel took it. So a process that is killed
in between loses none.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from lakehouse.alerts.alert import Alert, Round
from lakehouse.alerts.book import Book, HomeBook, LakeBook, Open, State, change
from lakehouse.alerts.channels import Channel, Channels
from lakehouse.alerts.message import Message, News
from lakehouse.errors import AccessDenied, LakehouseError, StoreUnavailable
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.storage import BucketMissing
from lakehouse.table import Catalogue

_CLAIM_SECONDS, _HOUR_SECONDS = 300.0, 3600.0
_APART_SECONDS = 3600.0
"""How far the clocks of two machines may be apart. A time further ahead is of a wrong clock, and is ignored."""
_MOST_WAITING = 1000
_log = logging.getLogger(__name__)
_OUT_OF_REACH = (StoreUnavailable, AccessDenied, BucketMissing)


@dataclass
class Outcome:
    """What became of a round.

    Attributes:
        begun: What is wrong since this round.
        recovered: What is well again since this round.
        delivered: How many messages channels took.
        waiting: How many are kept for later: a channel is down, or has had enough for this hour.
        problems: Why a channel did not take something.
    """

    begun: list[Alert] = field(default_factory=list)
    recovered: list[Alert] = field(default_factory=list)
    delivered: int = 0
    waiting: int = 0
    problems: list[str] = field(default_factory=list)


def tell(
    settings: Settings,
    catalogue: Catalogue,
    found: Round,
    lake: Lake | None = None,
    *,
    readable: bool = True,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Outcome:
    """Tells the channels what is new in a round, and what they did not take before.

    The state is kept in the lake. While that cannot be reached or written, it is in ``LAKEHOUSE_HOME``.

    Args:
        settings: Name the general channels.
        catalogue: The tables and their owners.
        found: What goes wrong, and what was looked at.
        lake: Where the state is kept; None when it could not be opened.
        readable: Whether the declaration could be read. Otherwise nobody knows which tables and owners there are: what
            is known of them stays as it is.
        now: The time.

    Returns:
        What was told. A channel that is down, or has a wrong address, is no error here.
    """
    channels, outcome = Channels.of(settings, catalogue), Outcome()
    if not channels.every():
        return outcome
    teller = _Teller(channels, catalogue, now, outcome, (settings.dagster_url or "").rstrip("/"), readable)
    home = HomeBook(settings)
    if lake is not None:
        try:
            teller.tell(LakeBook(lake), found)
        except _OUT_OF_REACH as error:
            _log.info("alerts are kept in %s: %s", home.path, error.what)
        else:
            if home.path.exists():  # what was told while the lake was out of reach
                teller.tell(home, replace(found, alerts=()), every=found.alerts)
            return outcome
    teller.tell(home, found)
    return outcome


@dataclass
class _Teller:
    channels: Channels
    catalogue: Catalogue
    now: Callable[[], datetime]
    outcome: Outcome
    pages: str
    readable: bool

    def tell(self, book: Book, found: Round, every: Sequence[Alert] = ()) -> None:
        """Notes what is new, claims what is due, sends it, and notes what was taken."""
        at = self.now()
        news: list[tuple[News, Alert]] = []
        claimed: list[Message] = []
        lost = 0

        def note(state: State) -> bool:
            nonlocal lost
            news.clear()
            claimed.clear()
            changed = self._note(state, found, [*found.alerts, *every], at.isoformat(timespec="seconds"), news)
            lost = max(len(state.outbox) - _MOST_WAITING, 0)
            del state.outbox[:lost]
            claimed.extend(self._claim(state, at.timestamp()))
            return changed or bool(claimed)

        state = change(book, note)
        self.outcome.begun += [alert for what, alert in news if what == "begun"]
        self.outcome.recovered += [alert for what, alert in news if what == "recovered"]
        if lost:
            self.outcome.problems.append(
                f"{lost:,} older messages are given up: no channel took the {_MOST_WAITING:,} newest"
            )
        if claimed:
            taken = self._send(claimed)
            state = change(book, lambda state: self._settle(state, claimed, taken, self.now().timestamp()))
            self.outcome.delivered += len(taken)
        self.outcome.waiting += len(state.outbox)

    def _note(self, state: State, found: Round, bad: Sequence[Alert], at: str, news: list[tuple[News, Alert]]) -> bool:
        """What has begun, and what is well again; whether anything changed."""
        changed = False
        for alert in found.alerts:
            known = state.open.get(alert.cause)
            if known is None:
                state.open[alert.cause] = Open(alert, at)
                news.append(("begun", alert))
                state.outbox += self._messages("begun", alert, at, at)
            else:
                known.alert, known.times = alert, known.times + 1
            changed = True
        groups, causes = {fault.group for fault in bad}, {fault.cause for fault in bad}
        for cause, known in list(state.open.items()):
            gone = self.readable and known.alert.table and known.alert.table not in self.catalogue
            if not gone and (cause in causes or not found.covers(known.alert.group)):
                continue
            del state.open[cause]
            changed = True
            if not gone and known.alert.group not in groups:  # else it is bad in another way
                news.append(("recovered", known.alert))
                state.outbox += self._messages("recovered", known.alert, known.since, at)
        return changed

    def _messages(self, news: News, alert: Alert, since: str, at: str) -> Iterable[Message]:
        declared = alert.table in self.catalogue
        owners = self.catalogue[alert.table].owners if declared else ()
        page = f"{self.pages}/assets/{alert.table.replace('.', '/')}" if declared and self.pages else self.pages
        for channel in self._of(alert, owners):
            yield Message(channel.name, news, alert, owners, since, at, page=page)

    def _of(self, alert: Alert, owners: Iterable[str]) -> Sequence[Channel]:
        # what concerns all tables, and what no channel is for, concerns everybody
        return self.channels.of_table(owners) or self.channels.every()

    def _claim(self, state: State, now: float) -> list[Message]:
        """Takes the messages that can be sent now, so that no other process sends them, too."""
        known = {channel.name: channel for channel in self.channels.every()}
        claimed = []
        for number, message in enumerate(state.outbox):
            if message.channel not in known and not self.readable:
                continue
            name = message.channel if message.channel in known else next(iter(known))  # its channel is none any more
            sent = [at for at in state.sent.get(name, []) if now - _HOUR_SECONDS < at <= now + _APART_SECONDS]
            state.sent[name] = sent
            claimed_now = now < message.claimed_until <= now + _CLAIM_SECONDS + _APART_SECONDS
            if claimed_now or len(sent) >= self.catalogue.alerts.most_an_hour:
                continue
            state.outbox[number] = replace(message, channel=name, claimed_until=now + _CLAIM_SECONDS)
            claimed.append(state.outbox[number])
        return claimed

    def _send(self, claimed: Sequence[Message]) -> set[str]:
        """Sends what is due, the messages of a channel together; gives the ids of what was taken."""
        known = {channel.name: channel for channel in self.channels.every()}
        by_channel: dict[str, list[Message]] = defaultdict(list)
        for message in claimed:
            by_channel[message.channel].append(message)
        taken = set()
        for name, messages in by_channel.items():
            try:
                known[name].send(messages)
            except LakehouseError as error:
                _log.warning("%s", error.what)
                self.outcome.problems.append(error.what)
            else:
                taken |= {message.id for message in messages}
        return taken

    def _settle(self, state: State, claimed: Sequence[Message], taken: set[str], now: float) -> bool:
        mine = {message.id for message in claimed}
        left = [message for message in state.outbox if message.id not in taken]
        state.outbox = [message.again() if message.id in mine else message for message in left]
        for name in {message.channel for message in claimed if message.id in taken}:
            state.sent.setdefault(name, []).append(now)
        return True

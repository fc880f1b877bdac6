"""Where alerts go: services that Apprise knows, and files. Their addresses hold keys, so nothing here shows them."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from lakehouse.alerts.message import Message
from lakehouse.errors import ConfigurationError, LakehouseError
from lakehouse.extras import needing
from lakehouse.settings import Settings
from lakehouse.table import Catalogue

DEFAULT = "LAKEHOUSE_ALERTS"
_FILE = "file"
_IN_FULL = 10
_silence = threading.Lock()
_SEPARATOR = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")


class NotDelivered(LakehouseError):
    """A channel did not take a message."""


@dataclass(frozen=True)
class Channel:
    """A way to somebody.

    Attributes:
        name: ``LAKEHOUSE_ALERTS #1``: the variable, and which of its addresses.
        scheme: The kind of service: ``slack``, ``mailto``, ``file``.
        address: All of it.
    """

    name: str
    scheme: str
    address: SecretStr

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.name} ({self.scheme})"

    def mark(self, salt: str) -> str:
        """Changes when the address does, and says nothing of it to whoever lacks ``salt``."""
        secret = self.address.get_secret_value().encode()
        return blake2b(secret, key=salt.encode()[:64], digest_size=8).hexdigest()

    def require(self) -> None:
        """Makes sure that messages can go there; sends nothing.

        Raises:
            ConfigurationError: it is no address, or the extra ``[alerts]`` is not installed.
        """
        if self.scheme == _FILE:
            self._path()
            return
        with needing("alerts", self.name):
            import apprise
        with _quiet():
            known = apprise.Apprise.instantiate(self.address.get_secret_value(), suppress_exceptions=True)
        if known is None:
            raise self._wrong("it is no address that Apprise knows")

    def send(self, messages: Sequence[Message]) -> None:
        """Sends several messages as one message.

        Raises:
            NotDelivered: the channel did not take it.
            ConfigurationError: see ``require``.
        """
        self.require()
        try:
            if self.scheme == _FILE:
                self._append(messages)
                return
            taken = self._notify(messages)
        except Exception as error:  # a service's library may raise any class, with its address in the text
            why = getattr(error, "strerror", None) or type(error).__name__
            raise self._not_delivered(f": {why}") from None
        if not taken:
            raise self._not_delivered("")

    def _notify(self, messages: Sequence[Message]) -> bool:
        import apprise

        levels = {message.level for message in messages}
        level = next(name for name in ("failure", "warning", "info", "success") if name in levels)
        title = messages[0].title if len(messages) == 1 else f"lakehouse: {len(messages)} messages"
        body = "\n\n".join(message.text(with_title=len(messages) > 1) for message in messages[:_IN_FULL])
        if more := messages[_IN_FULL:]:  # services cut what is long
            body += "\n\n" + "\n".join(message.title for message in more)
        with _quiet():
            channel = apprise.Apprise()
            channel.add(self.address.get_secret_value())
            return bool(channel.notify(body=body, title=title, notify_type=level, body_format="text"))

    def _append(self, messages: Sequence[Message]) -> None:
        """Writes a line of JSON for each message."""
        lines = "".join(json.dumps(message.as_dict(), default=str) + "\n" for message in messages)
        opened = os.open(self._path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(opened, "ab") as file:
            file.write(lines.encode())

    def _path(self) -> Path:
        parts = urlsplit(self.address.get_secret_value())
        if parts.netloc or not parts.path.startswith("/") or parts.path.endswith("/"):
            raise self._wrong("a file is written as file:///folder/name")
        return Path(unquote(parts.path))

    def _wrong(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self.label}: {what}",
            where=self.name.split(" ")[0],
            state="nothing was sent there",
            next_command="correct the variable; then: lakehouse alerts test",
        )

    def _not_delivered(self, why: str) -> NotDelivered:
        return NotDelivered(
            f"{self.label} did not take a message{why}",
            where=self.name,
            state="it is kept, and sent again with the next run",
            next_command="lakehouse alerts test",
        )


@dataclass(frozen=True)
class Channels:
    """All channels.

    Attributes:
        general: For what no owner has a channel for.
        of_owners: Those of each owner of tables.
    """

    general: tuple[Channel, ...] = ()
    of_owners: tuple[tuple[str, tuple[Channel, ...]], ...] = ()

    @classmethod
    def of(cls, settings: Settings, catalogue: Catalogue) -> Channels:
        """The channels that variables of the environment name now. A variable that is not set has none."""
        general = settings.alerts.get_secret_value() if settings.alerts else ""
        owners = catalogue.alerts.owners.items()
        named = tuple((owner, _channels(name, os.environ.get(name, ""))) for owner, name in owners)
        return cls(_channels(DEFAULT, general), named)

    def every(self) -> tuple[Channel, ...]:
        """Every channel once."""
        found = [*self.general, *(channel for _, channels in self.of_owners for channel in channels)]
        return tuple({channel.name: channel for channel in found}.values())

    def of_table(self, owners: Iterable[str]) -> tuple[Channel, ...]:
        """Those that get what concerns a table with these owners."""
        named = dict(self.of_owners)
        found = [channel for owner in owners for channel in named.get(owner, ())]
        return tuple({channel.name: channel for channel in found}.values()) or self.general


def _channels(variable: str, text: str) -> tuple[Channel, ...]:
    addresses = [address for address in _SEPARATOR.split(text.strip().strip(",")) if address]
    return tuple(
        Channel(f"{variable} #{number}", _scheme(address), SecretStr(address))
        for number, address in enumerate(addresses, 1)
    )


def _scheme(address: str) -> str:
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", address)
    return found[1].lower() if found else "no address"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences Apprise, which logs parts of addresses."""
    from apprise.logger import logger

    with _silence:  # of two threads the first to end must not end the silence of the other
        before, logger.disabled = logger.disabled, True
        try:
            yield
        finally:
            logger.disabled = before

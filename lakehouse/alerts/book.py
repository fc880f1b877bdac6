"""The state of alerts: what is wrong and was told, and what is still to be told.

It is an object in the lake, and a file while the lake cannot be reached. A process writes it only over the version that
it has read. So when two processes find the same fault, only the first tells it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from lakehouse.alerts.alert import Alert
from lakehouse.alerts.message import Message
from lakehouse.errors import TransientError
from lakehouse.lake import Lake
from lakehouse.processes import private_folder, write_private
from lakehouse.settings import Settings
from lakehouse.storage import ObjectExists, ObjectMissing

KEY = "_alerts/state.json"
_TRIES, _PAUSE_SECONDS, _LOCK_SECONDS = 20, 0.05, 10
_FORMAT = 1
_log = logging.getLogger(__name__)


@dataclass
class Open:
    """Something that goes wrong and was told.

    Attributes:
        alert: As it was found last.
        since: When it was found first, ISO 8601 UTC.
        times: How often it was found.
    """

    alert: Alert
    since: str
    times: int = 1


@dataclass
class State:
    """All that is known.

    Attributes:
        open: By cause, what goes wrong now.
        outbox: What no channel has taken yet, oldest first.
        sent: By channel, when it took something in the last hour, in seconds since 1970.
        tested: By channel, when it took a test, and the mark of its address then.
    """

    open: dict[str, Open] = field(default_factory=dict)
    outbox: list[Message] = field(default_factory=list)
    sent: dict[str, list[float]] = field(default_factory=dict)
    tested: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to keep."""
        return not (self.open or self.outbox or self.tested)

    def encoded(self) -> bytes:
        """As JSON."""
        causes = {name: {**vars(cause), "alert": cause.alert.as_dict()} for name, cause in self.open.items()}
        document = {"format": _FORMAT, "open": causes, "outbox": [message.kept() for message in self.outbox]}
        return json.dumps({**document, "sent": self.sent, "tested": self.tested}, indent=1).encode()

    @classmethod
    def decoded(cls, content: bytes) -> State:
        """From JSON. A damaged state counts as empty: what is wrong is told once more."""
        try:
            document: Mapping[str, Any] = json.loads(content)
            opened = document["open"].items()
            causes = {name: Open(**{**entry, "alert": Alert.of_dict(entry["alert"])}) for name, entry in opened}
            outbox = [Message.of_kept(entry) for entry in document["outbox"]]
            return cls(causes, outbox, dict(document["sent"]), dict(document["tested"]))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            _log.warning("the state of alerts cannot be read, and begins anew: %s", type(error).__name__)
            return cls()


class AlertsBusy(TransientError):
    """Others write the state of alerts all the time."""


class Book(Protocol):
    """Where a state is kept."""

    def read(self) -> tuple[bytes | None, str]:
        """The content, None where nothing is kept, and its version."""

    def write(self, content: bytes, version: str) -> bool:
        """Writes over that version; False where another is there."""


@dataclass(frozen=True)
class LakeBook:
    """In the lake, for all machines."""

    lake: Lake

    @property
    def _key(self) -> str:
        return f"{self.lake.settings.user}/{KEY}"

    def read(self) -> tuple[bytes | None, str]:
        """See ``Book``."""
        bucket = self.lake.settings.bucket
        info = self.lake.store.info(bucket, self._key)
        if info is None:
            return None, ""
        try:  # when it changes in between, the write is refused
            return self.lake.store.read(bucket, self._key), info.e_tag
        except ObjectMissing:
            return None, ""

    def write(self, content: bytes, version: str) -> bool:
        """See ``Book``."""
        how: dict[str, Any] = {"if_match": version} if version else {"if_absent": True}
        try:
            self.lake.store.write(self.lake.settings.bucket, self._key, content, **how)
        except (ObjectExists, ObjectMissing):
            return False
        return True


@dataclass(frozen=True)
class HomeBook:
    """In ``LAKEHOUSE_HOME``, for what cannot be kept in the lake."""

    settings: Settings

    @property
    def path(self) -> Path:
        """The file."""
        place = f"{self.settings.s3_endpoint or ''}/{self.settings.lake_uri}"
        return self.settings.home / "alerts" / f"{sha256(place.encode()).hexdigest()[:16]}.json"

    def read(self) -> tuple[bytes | None, str]:
        """See ``Book``."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None, ""
        return content, sha256(content).hexdigest()

    def write(self, content: bytes, version: str) -> bool:
        """See ``Book``; an empty state is no file."""
        private_folder(self.path.parent)
        with FileLock(self.path.with_suffix(".lock"), timeout=_LOCK_SECONDS):
            if self.read()[1] != version:
                return False
            if State.decoded(content).empty:
                self.path.unlink(missing_ok=True)
            else:
                write_private(self.path, content.decode())
        return True


def read(book: Book) -> State:
    """The state as it is; empty where nothing is kept."""
    content, _ = book.read()
    return State() if content is None else State.decoded(content)


def change(book: Book, how: Callable[[State], bool]) -> State:
    """Reads the state, changes it and writes it, again where another was faster.

    Args:
        book: Where it is kept.
        how: Changes it; False when nothing is to be written.

    Raises:
        AlertsBusy: another process was faster each time.
    """
    for attempt in range(_TRIES):
        content, version = book.read()
        state = State() if content is None else State.decoded(content)
        if not how(state) or book.write(state.encoded(), version):
            return state
        time.sleep(_PAUSE_SECONDS * (attempt + 1))
    raise AlertsBusy(
        "the state of alerts is written by others all the time",
        where=KEY,
        state="what is new is found again by the next run",
        next_command="lakehouse alerts show",
    )

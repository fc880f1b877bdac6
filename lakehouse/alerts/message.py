"""A message to a channel: that something goes wrong, that it is well again, or a test."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lakehouse.alerts.alert import Alert
from lakehouse.plain_text import printable, shortened

_MOST_CHARACTERS = 1000
News = Literal["begun", "recovered", "test"]


@dataclass(frozen=True)
class Message:
    """A message.

    Attributes:
        channel: Its name.
        news: Whether it has begun to go wrong, or is well again.
        alert: What is told of.
        owners: Of the table.
        since: When it was found first, ISO 8601 UTC.
        at: When it became news.
        id: Of this message, for programs that get it twice: it is sent again when nobody knows whether it came.
        tries: How often it was sent in vain.
        page: Address of the table's page; empty where nobody has named one.
        claimed_until: Until when somebody sends it now, in seconds since 1970; 0 for nobody.
    """

    channel: str
    news: News
    alert: Alert
    owners: tuple[str, ...]
    since: str
    at: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    tries: int = 0
    page: str = ""
    claimed_until: float = 0.0

    @property
    def level(self) -> str:
        """How bad it is, in Apprise's words."""
        if self.news != "begun":
            return "success" if self.news == "recovered" else "info"
        return "failure" if self.alert.blocks else "warning"

    @property
    def title(self) -> str:
        """The title, a line."""
        if self.news == "recovered":  # names of tables and kinds are ours: nothing in them is markup
            return f"RECOVERED {self.alert.table or 'the lake'}: {self.alert.kind}"
        return self.alert.title if self.news == "begun" else "TEST lakehouse alerts"

    def text(self, *, with_title: bool) -> str:
        """The body, with the title above it where that is asked for."""
        lines = [self.title] if with_title else []
        if self.news == "recovered":
            lines += [f"It is well again. It was: {self.alert.what}", f"since: {self.since}"]
        else:
            lines += [*self.alert.lines(), f"since: {self.since}"]
        lines += [f"owners: {', '.join(self.owners)}"] if self.owners else []
        lines += [f"page: {self.page}"] if self.page else []
        return printable("\n".join(shortened(line, _MOST_CHARACTERS) for line in lines), lines=True)

    def as_dict(self) -> dict[str, Any]:
        """For a file: all that programs may want."""
        own = {
            "at": self.at,
            "news": self.news,
            "title": self.title,
            "since": self.since,
            "id": self.id,
            "page": self.page,
        }
        return {**own, "owners": list(self.owners), **self.alert.as_dict(), "cause": self.alert.cause}

    def kept(self) -> dict[str, Any]:
        """For the state."""
        return {**vars(self), "owners": list(self.owners), "alert": self.alert.as_dict()}

    @classmethod
    def of_kept(cls, entry: dict[str, Any]) -> Message:
        """From ``kept``."""
        return cls(**{**entry, "owners": tuple(entry["owners"]), "alert": Alert.of_dict(entry["alert"])})

    def again(self) -> Message:
        """The message after it was sent in vain."""
        return replace(self, tries=self.tries + 1, claimed_until=0.0)

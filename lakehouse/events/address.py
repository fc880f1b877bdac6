"""The address of an inbox: a file, a PostgreSQL database, or a queue of Amazon SQS with a file beside it."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from pydantic import SecretStr

if TYPE_CHECKING:  # a reader of files has no need of settings
    from lakehouse.settings import Settings

VARIABLE = "LAKEHOUSE_EVENTS_INBOX"
HOW = "a file's whole path, sqlite:/path, postgresql://user:password@host/database, or sqs://host/account/queue"
Kind = Literal["sqlite", "postgresql", "sqs"]

_SECRETS = {"password", "sslpassword"}
_secrets: dict[str, str] = {}


@dataclass(frozen=True)
class InboxAddress:
    """An inbox's place.

    Attributes:
        kind: What it is.
        public: The address without its password: what options, logs and messages may have.
        secret: The whole address.
        file: The SQLite file; None in a database.
    """

    kind: Kind
    public: str
    secret: SecretStr
    file: Path | None = None

    @classmethod
    def parse(cls, text: str) -> InboxAddress:
        """Reads an address.

        Raises:
            ValueError: it is none; the text is not in the message.
        """
        scheme = re.match(r"([a-z][a-z+]*):", text)
        if scheme is None or scheme[1] == "sqlite":
            path = Path(text.removeprefix("sqlite:"))
            if not path.is_absolute():
                raise ValueError(f"the inbox of file events is {HOW}")
            return cls("sqlite", str(path), SecretStr(str(path)), path)
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise ValueError(f"the inbox of file events is {HOW}") from None
        if scheme[1] in ("postgresql", "postgres") and len(parts.path) > 1:
            return cls("postgresql", _without_password(parts), SecretStr(text))
        if scheme[1] in ("sqs", "sqs+http") and parts.hostname and re.fullmatch(r"(/[\w.-]+){2}", parts.path):
            if parts.username or parts.password:
                raise ValueError("an address of SQS has no keys: they are found where other tools of AWS find them")
            given = dict(parse_qsl(parts.query))
            file = Path(given.get("file", ""))
            if not file.is_absolute() or given.keys() - {"file", "region"}:
                raise ValueError("an address of SQS may have region=..., and has file=, a whole path, in an option")
            host = parts.hostname if port is None else f"{parts.hostname}:{port}"
            public = urlunsplit((scheme[1], host, parts.path, urlencode(given, safe="/"), ""))
            return cls("sqs", public, SecretStr(public), file)
        raise ValueError(f"the inbox of file events is {HOW}")

    @classmethod
    def of(cls, settings: Settings) -> InboxAddress:
        """The inbox of these settings; its password is found again in this process by its public address."""
        text = settings.inbox.get_secret_value()
        if text.startswith("sqs") and "file=" not in text:
            name = hashlib.sha256(text.encode()).hexdigest()[:8]
            file = quote(str(settings.home / "events" / f"sqs-{name}.sqlite"))
            text += f"{'&' if '?' in text else '?'}file={file}"
        found = cls.parse(text)
        _secrets[found.public] = found.secret.get_secret_value()
        return found

    @classmethod
    def of_option(cls, public: str) -> InboxAddress:
        """What an option names: its password is that of the settings, or of this process's environment.

        Raises:
            ValueError: it is no address.
        """
        found = cls.parse(public)
        with suppress(ValueError):
            known = cls.parse(_secrets.get(found.public) or os.environ.get(VARIABLE, "."))
            return known if known.public == found.public else found
        return found

    @property
    def has_secret(self) -> bool:
        """Whether the whole address has a password."""
        return self.kind == "postgresql" and self._password != ""

    @property
    def _password(self) -> str:
        parts = urlsplit(self.secret.get_secret_value())
        given = [value for name, value in parse_qsl(parts.query) if name in _SECRETS]
        return parts.password or "".join(given)

    def without_secrets(self, text: str) -> str:
        """A message that a driver made of the address."""
        for password in {self._password, unquote(self._password)} - {""}:
            text = text.replace(password, "...")
        return text


def _without_password(parts: SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name not in _SECRETS])
    return urlunsplit(("postgresql", user + host, parts.path, query, ""))

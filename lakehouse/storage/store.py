"""What the lakehouse needs of an object store, and what can be wrong with one object: no client is imported here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from lakehouse.errors import TerminalError
from lakehouse.storage.certificates import read_bundle_alone
from lakehouse.storage.keys import Keys, KeySource
from lakehouse.storage.waits import IDLE_SECONDS


class BucketMissing(TerminalError):
    """There is no such bucket."""


class ObjectMissing(TerminalError):
    """There is no such object."""


class ObjectExists(TerminalError):
    """A write that asked for an absent (or an unchanged) object found another."""


UNCHANGED = "nothing was changed by this call"
"""The state that an error tells where a store has refused a call."""


@dataclass(frozen=True)
class StoreEndpoint:
    """How to reach an S3 server."""

    url: str
    access_key: SecretStr
    secret_key: SecretStr
    region: str
    session_token: SecretStr | None = None
    renewed: KeySource | None = None
    """Who hands out keys for as long as a client lives; those above are of the time when this was made."""

    @property
    def current(self) -> StoreEndpoint:
        """The same with keys of now, for who takes them once."""
        if self.renewed is None:
            return self
        keys = self.renewed.now()
        return replace(self, access_key=keys.access_key, secret_key=keys.secret_key, session_token=keys.session_token)

    def with_keys(self, source: KeySource) -> StoreEndpoint:
        """The same server with keys of another source, which are renewed."""
        return replace(self, renewed=source).current

    @property
    def key_source(self) -> KeySource:
        """Its keys as what a role is taken on with."""
        return self.renewed or KeySource(given=Keys(self.access_key, self.secret_key, self.session_token))

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    @property
    def secure(self) -> bool:
        """Whether the server speaks TLS."""
        return self.url.startswith("https://")

    def deltalake_options(self) -> dict[str, str]:
        """``storage_options`` for the ``deltalake`` library."""
        read_bundle_alone()
        now = self.current
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": now.access_key.get_secret_value(),
            "AWS_SECRET_ACCESS_KEY": now.secret_key.get_secret_value(),
            "AWS_REGION": self.region,
            **({"AWS_SESSION_TOKEN": now.session_token.get_secret_value()} if now.session_token else {}),
            "AWS_ALLOW_HTTP": str(not self.secure).lower(),
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
            "POOL_IDLE_TIMEOUT": f"{IDLE_SECONDS}s",
        }


@dataclass(frozen=True)
class ObjectInfo:
    """One object of a listing; ``last_modified`` is aware, UTC."""

    key: str
    size_bytes: int
    e_tag: str
    last_modified: datetime


class ObjectStore(Protocol):
    """What the lakehouse needs of an S3 server.

    Keys are exact: a spelling that the server takes comes back as it was written. MinIO takes no ``//``, and its SDK no
    ``.`` or ``..`` as a folder.

    Every call raises ``StoreUnavailable``, ``AccessDenied`` or ``BucketMissing`` where that is the reason.
    """

    def list(self, bucket: str, prefix: str = "", start_after: str | None = None) -> Iterator[ObjectInfo]:
        """All objects under ``prefix`` in key order, fetched page by page (1,000 keys each)."""
        ...

    def folders(self, bucket: str, prefix: str) -> Sequence[str]:
        """Names of the folders directly below ``prefix`` (which ends with a slash)."""
        ...

    def info(self, bucket: str, key: str) -> ObjectInfo | None:
        """What a listing says of one object; None when there is none."""
        ...

    def read(self, bucket: str, key: str) -> bytes:
        """The whole object; ``ObjectMissing`` when there is none."""
        ...

    def write(self, bucket: str, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Writes the object and returns its ETag.

        With ``if_absent`` (or ``if_match``, an ETag) the server itself refuses when an object (or another version)
        is there: ``ObjectExists``. Of two such writers one wins, whatever the size of the data. The two exclude each
        other (``ValueError``). A key must not begin with a slash.
        """
        ...

    def copy(self, bucket: str, key: str, to_key: str, *, if_match: str) -> None:
        """Copies that version within the server; ``ObjectMissing``, or ``ObjectExists`` when another is there."""
        ...

    def delete(self, bucket: str, key: str) -> None:
        """Removes the object; none is fine."""
        ...

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """Removes all objects under ``prefix``, returns how many; ``TerminalError`` when some are left."""
        ...

    def bucket_exists(self, bucket: str) -> bool:
        """Whether the bucket is there."""
        ...

    def ensure_bucket(self, bucket: str) -> None:
        """Makes the bucket when it is missing."""
        ...

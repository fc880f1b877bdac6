"""Events on and off: the store's target and the buckets' rules."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import SecretStr

from lakehouse.errors import ConfigurationError
from lakehouse.events.address import InboxAddress
from lakehouse.events.places import open_inbox
from lakehouse.events.postgres_schema import EVENTS
from lakehouse.events.receiver import HOST
from lakehouse.events.receiver_process import counts_of, ensure_receiver, port_of, receiver_server, stop_receiver
from lakehouse.processes import free_port, port_is_free, private_folder, write_private
from lakehouse.settings import Settings
from lakehouse.storage.bucket_rules import BucketRules
from lakehouse.storage.embedded import stop_store, store_server
from lakehouse.storage.opening import ensure_store
from lakehouse.storage.store import StoreEndpoint
from lakehouse.storage.webhook import (
    DATABASES,
    WEBHOOKS,
    Database,
    Target,
    Webhook,
    target_of,
    webhook_of,
    write_target,
)

Say = Callable[[str], None]
Folders = Mapping[str, Sequence[str]]
"""For each bucket the folders with events."""


def token_of(settings: Settings) -> SecretStr:
    """The token that a sender must have; made when there is none."""
    if settings.events_token is not None:
        return settings.events_token
    file = private_folder(settings.home / "events") / "token"
    if not file.is_file():
        write_private(file, secrets.token_urlsafe(32))
    return SecretStr(file.read_text().strip())


def enable(settings: Settings, folders: Folders, say: Say = lambda text: None) -> StoreEndpoint:
    """Makes the store tell of new files in these folders, beside those it tells of already.

    Raises:
        ConfigurationError: the store cannot send events, or lacks the targets.
        TransientError: the receiver does not start.
    """
    address = InboxAddress.of(settings)
    if settings.s3_endpoint is None:
        _require_minio(settings, address)
    open_inbox(address, create=True).close()
    if settings.s3_endpoint is None:
        _give_target(settings, address, say)
        ensure_receiver(settings)
    endpoint = ensure_store(settings, say)
    targets = _targets(address)
    for bucket, wanted in folders.items():
        rules = BucketRules(endpoint, bucket, targets)
        rules.set(rules.folders() | set(wanted))
    return endpoint


def disable(
    settings: Settings,
    folders: Folders,
    say: Say = lambda text: None,
    *,
    all_of_it: bool,
    needed: Folders = MappingProxyType({}),
) -> dict[str, set[str]]:
    """Makes the store tell no more of these folders; with ``all_of_it`` the receiver ends, too. The inbox stays.

    Args:
        settings: Say which store.
        folders: Of which nobody is to be told.
        say: Told what is not the result.
        all_of_it: Whether events end altogether.
        needed: Folders of tables that go on to take files from events.

    Returns:
        Of each bucket, the folders of which the store still tells.
    """
    endpoint = ensure_store(settings, say)
    targets = _targets(InboxAddress.of(settings))
    left: dict[str, set[str]] = {}
    for bucket, unwanted in folders.items():
        rules = BucketRules(endpoint, bucket, targets)
        left[bucket] = set() if all_of_it else folders_left(rules.folders(), unwanted, needed.get(bucket, ()))
        rules.set(left[bucket])
    if all_of_it and settings.s3_endpoint is None:
        stop_receiver(settings)
        folder = store_server(settings).folder
        if target_of(folder) is not None:
            write_target(folder, None)
            stop_store(settings)
            ensure_store(settings, say)
    return left


def folders_left(told_of: Collection[str], unwanted: Collection[str], needed: Collection[str]) -> set[str]:
    """Of which folders a bucket tells when it is to tell no more of some.

    Args:
        told_of: Folders that the rules name; they stand for all that is below.
        unwanted: Those that go.
        needed: Those of which others are told, by a rule of their own or of a folder above: they stay.
    """
    there = {folder for folder in needed if any(folder.startswith(rule) for rule in told_of)}
    return (set(told_of) - set(unwanted)) | there


@dataclass(frozen=True)
class EventsStatus:
    """How events are.

    Attributes:
        target: Where the embedded store sends them; None for nowhere, or for a store that is not ours.
        received: What the receiver has answered since it began; None when it does not answer.
        rules: Of each bucket, the folders that its rules name.
    """

    target: Target | None
    received: Mapping[str, int] | None
    rules: Mapping[str, set[str]]

    @property
    def well(self) -> bool:
        """Whether somebody takes what the embedded store sends."""
        return not isinstance(self.target, Webhook) or self.received is not None


def status(settings: Settings, endpoint: StoreEndpoint, folders: Folders) -> EventsStatus:
    """Looks at rules and receiver; starts nothing."""
    target = target_of(store_server(settings).folder) if settings.s3_endpoint is None else None
    targets = _targets(InboxAddress.of(settings))
    rules = {bucket: BucketRules(endpoint, bucket, targets).folders() for bucket in folders}
    return EventsStatus(target, counts_of(target) if isinstance(target, Webhook) else None, rules)


def _targets(address: InboxAddress) -> tuple[str, ...]:
    """What a bucket's rules send events to."""
    if address.kind == "sqs":
        from lakehouse.events.sqs_inbox import SqsInbox

        inbox = SqsInbox(address)
        try:
            return (inbox.arn(),)
        finally:
            inbox.close()
    return DATABASES if address.kind == "postgresql" else WEBHOOKS


def _give_target(settings: Settings, address: InboxAddress, say: Say) -> None:
    folder: Path = store_server(settings).folder
    if address.kind == "postgresql":
        database = Database(address.secret, EVENTS, folder / "queue")
        if target_of(folder) == database:
            return
        stop_receiver(settings)
        write_target(folder, database)
        if stop_store(settings):
            say("the object store is started again, and writes its events into the database")
        return
    given, token = webhook_of(folder), token_of(settings)
    free = given is None or receiver_server(settings).running() is not None or port_is_free(port_of(given))
    if given is not None and free and given.token.get_secret_value() == token.get_secret_value():
        return
    url = given.url if given is not None and free else f"http://{HOST}:{free_port()}/"
    stop_receiver(settings)
    write_target(folder, Webhook(url, token, folder / "queue"))
    if stop_store(settings):
        say("the object store is started again, with the receiver of its events")


def _require_minio(settings: Settings, address: InboxAddress) -> None:
    if address.kind == "sqs":
        raise ConfigurationError(
            "the embedded store sends no events to a queue of SQS",
            where="lakehouse events enable",
            state="nothing was changed",
            next_command="name a file or a PostgreSQL database in LAKEHOUSE_EVENTS_INBOX, or Amazon's S3 in "
            "LAKEHOUSE_S3_ENDPOINT",
        )
    if settings.store != "minio":
        raise ConfigurationError(
            f"events are taken from MinIO, and the embedded store is {settings.store}",
            where="lakehouse events enable",
            state="nothing was changed",
            next_command="go on with listing, or LAKEHOUSE_STORE=minio in another LAKEHOUSE_HOME",
        )

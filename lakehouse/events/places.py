"""Opens the inbox of an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse.events.address import InboxAddress
from lakehouse.events.inbox import Inbox
from lakehouse.events.sqlite_inbox import SqliteInbox


def open_inbox(address: InboxAddress, *, create: bool = False) -> Inbox:
    """The inbox there.

    Args:
        address: Where it is.
        create: Whether a missing inbox is made.

    Raises:
        ConfigurationError: there is none, it is damaged, or what it needs is not installed.
        TransientError: it cannot be used now.
    """
    if address.kind == "postgresql":
        from lakehouse.events.postgres_inbox import PostgresInbox

        return PostgresInbox(address, create=create)
    assert address.file is not None
    if address.kind == "sqs":
        from lakehouse.events.sqs_inbox import SqsInbox

        return SqsInbox(address)
    return SqliteInbox(address.file, create=create)


@contextmanager
def opened(address: InboxAddress) -> Iterator[Inbox]:
    """The inbox there, closed at the end; see ``open_inbox``."""
    inbox = open_inbox(address)
    try:
        yield inbox
    finally:
        inbox.close()

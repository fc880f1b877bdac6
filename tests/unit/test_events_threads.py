"""Threads beside the inbox: an error of any kind is told, and ends none of them in silence."""

import threading
import time

import pytest

from lakehouse.errors import TransientError
from lakehouse.events import receiver as receiving
from lakehouse.events.address import InboxAddress
from lakehouse.events.receiver import Receiver
from lakehouse.events.sqlite_inbox import SqliteInbox
from lakehouse.events.sqs_inbox import SqsInbox


def test_a_queue_that_cannot_be_read_for_any_reason_is_told_to_whoever_waits(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    queue = "sqs+http://127.0.0.1:1/000000000000/files?region=eu-central-1"
    address = InboxAddress("sqs", queue, InboxAddress.parse(str(tmp_path / "a")).secret, tmp_path / "inbox.sqlite")
    inbox = SqsInbox(address)

    def take(patience_seconds, stop=None):
        raise RuntimeError("cannot start new thread")

    inbox._take = take
    try:
        with pytest.raises(TransientError, match="not taken from the queue any more: RuntimeError: cannot start"):
            for _ in range(100):
                inbox.wait(0, 0.01)
                time.sleep(0.05)
    finally:
        inbox.close()


def test_an_inbox_that_could_not_be_pruned_is_pruned_the_next_time(tmp_path, monkeypatch):
    monkeypatch.setattr(receiving, "_PRUNED_EVERY_SECONDS", 0.01)
    inbox = SqliteInbox(tmp_path / "inbox" / "inbox.sqlite", create=True)
    pruned, asked = threading.Event(), []

    def prune(now):
        asked.append(now)
        if len(asked) == 1:
            raise OSError("too many open files")
        pruned.set()

    monkeypatch.setattr(inbox, "prune", prune)
    receiver = Receiver(inbox, "the token")
    serving = threading.Thread(target=receiver.run)
    serving.start()
    try:
        assert pruned.wait(20)
    finally:
        receiver.close()
        serving.join()
        inbox.close()

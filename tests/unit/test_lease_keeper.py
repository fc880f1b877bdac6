"""The thread that renews a lease: only a release or another holder may end it."""

import threading

import pytest
from unit.autoloader.memory_store import MemoryStore

from lakehouse.storage import hold_lease


class Failing(MemoryStore):
    """Takes the claim, and refuses some writes after it."""

    def __init__(self, errors):
        super().__init__()
        self.errors, self.renewed = errors, threading.Event()

    def write(self, bucket, key, data, *, if_absent=False, if_match=None):
        if if_match is not None and self.errors:
            raise self.errors.pop()
        e_tag = super().write(bucket, key, data, if_absent=if_absent, if_match=if_match)
        if if_match is not None:
            self.renewed.set()
        return e_tag


@pytest.mark.parametrize("error", [OSError("too many open files"), RuntimeError("cannot start new thread")])
def test_a_renewal_that_fails_for_any_reason_is_tried_again(error):
    store = Failing([error, error])
    with hold_lease(store, "lake", "t.lease", owner="bronze.t", ttl_seconds=0.6) as lease:
        assert store.renewed.wait(30)
        assert store.errors == []
        lease.check()

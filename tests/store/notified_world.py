"""A local world whose files a real MinIO tells of."""

import time
import urllib.request

from store.local_world import LocalWorld

from lakehouse.autoloader.files.journal import Journal
from lakehouse.events.address import InboxAddress
from lakehouse.events.places import open_inbox

EVENTS = {"cloudFiles.useNotifications": True}


class NotifiedWorld(LocalWorld):
    """A table whose files events tell of, and its inbox."""

    def __init__(self, lake, folder):
        super().__init__(lake, folder)
        self.declare(options=EVENTS)
        self.inbox = open_inbox(InboxAddress.of(lake.settings))

    def until_told(self, *names):
        keys = {self.folder + name for name in names}
        until(lambda: self.inbox.has(self.bucket, keys) == keys)

    def lists(self):
        """LIST requests for the bucket of the files, by the store's own count."""
        with urllib.request.urlopen(f"{self.lake.endpoint.url}/minio/metrics/v3/bucket/api/{self.bucket}") as said:
            lines = said.read().decode().splitlines()
        counted = [line for line in lines if line.startswith("minio_bucket_api_total") and "ListObjects" in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in counted)

    def reader(self):
        [found] = [candidate for candidate in self.inbox.readers() if self.folder in candidate.name]
        return found

    def entries(self):
        """What the journal has."""
        return list(self.journal.files(0, self.journal.high_water))

    @property
    def journal(self):
        root = self.lake.settings.journal_root.removeprefix(f"s3a://{self.lake.settings.bucket}/")
        [name] = self.lake.store.folders(self.lake.settings.bucket, f"{root}/")
        return Journal(self.lake.store, self.lake.settings.bucket, f"{root}/{name}/")


def until(condition, seconds=60):
    """Waits for what happens in other processes."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)

"""A small fake of our own ``ObjectStore`` protocol: strictly consistent, conditional writes, crashes on demand."""

from datetime import UTC, datetime
from hashlib import md5

from lakehouse.storage.store import ObjectExists, ObjectInfo, ObjectMissing


class Crash(BaseException):
    """The process dies here."""


class MemoryStore:
    def __init__(self, crash_after=None, shared=None):
        self.objects = shared.objects if shared else {}
        self.crash_after = crash_after
        self.calls = 0

    def _step(self):
        self.calls += 1
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                raise Crash

    def list(self, bucket, prefix="", start_after=None):
        self._step()
        for _, key in sorted(self.objects):
            found = self.objects.get((bucket, key))
            if found and key.startswith(prefix) and (start_after is None or key > start_after):
                data, modified = found
                yield ObjectInfo(key, len(data), md5(data).hexdigest(), modified)

    def info(self, bucket, key):
        self._step()
        data, modified = self.objects.get((bucket, key), (None, None))
        return None if data is None else ObjectInfo(key, len(data), md5(data).hexdigest(), modified)

    def read(self, bucket, key):
        self._step()
        if (bucket, key) not in self.objects:
            raise ObjectMissing("there is no such object")
        return self.objects[bucket, key][0]

    def write(self, bucket, key, data, *, if_absent=False, if_match=None):
        self._step()
        if if_absent and (bucket, key) in self.objects:
            raise ObjectExists("there")
        if if_match is not None:
            if (bucket, key) not in self.objects:
                raise ObjectMissing("there is no such object")
            if md5(self.objects[bucket, key][0]).hexdigest() != if_match:
                raise ObjectExists("another version is there")
        self.put(bucket, key, data)
        self._step()  # a crash after the server did it
        return md5(data).hexdigest()

    def put(self, bucket, key, data, modified=None):
        self.objects[bucket, key] = (data, modified or datetime.now(UTC))

    def delete(self, bucket, key):
        self._step()
        self.objects.pop((bucket, key), None)

"""Keys of their own for the roles that come to a lake."""

import os
from contextlib import suppress
from types import SimpleNamespace

import pytest
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin
from pydantic import SecretStr

from lakehouse.declaration import read_catalogue
from lakehouse.errors import AccessDenied
from lakehouse.lake import Lake
from lakehouse.roles import policy
from lakehouse.storage import ObjectMissing


class Keys:
    """The keys of each role at the embedded MinIO, made by its root keys from what ``lakehouse policies`` prints."""

    def __init__(self, world, folder):
        self.world, self.folder, mine = world, folder, world.lake.endpoint
        root = StaticProvider(mine.access_key.get_secret_value(), mine.secret_key.get_secret_value())
        self.admin = MinioAdmin(endpoint=mine.host, credentials=root, secure=mine.secure)
        self.made = []

    def of(self, role):
        """A lake that knows the keys of that role alone, and the environment of its commands."""
        name = f"canary-{role}-{self.world.lake.settings.bucket}-{len(self.made)}"
        secret = f"canary-secret-of-the-{role}"
        settings = self.world.lake.settings
        document = policy(role, settings, read_catalogue(settings))
        self.admin.policy_add(name, policy=document)
        self.admin.user_add(name, secret)
        self.admin.policy_set(name, user=name)
        self.made.append(name)
        known = settings.model_copy(
            update={
                "s3_endpoint": self.world.lake.endpoint.url,
                "s3_access_key": SecretStr(name),
                "s3_secret_key": SecretStr(secret),
                "home": self.folder / f"home-{len(self.made)}",
            }
        )
        environment = {
            "LAKEHOUSE_S3_ENDPOINT": self.world.lake.endpoint.url,
            "LAKEHOUSE_S3_ACCESS_KEY": name,
            "LAKEHOUSE_S3_SECRET_KEY": secret,
            "LAKEHOUSE_HOME": str(known.home),
            "LAKEHOUSE_USER": known.user,
            "LAKEHOUSE_BUCKET": known.bucket,
            "LAKEHOUSE_LANDING_PREFIX": known.landing_prefix,
            "LAKEHOUSE_DECLARATION": str(known.declaration),
            "LAKEHOUSE_SPARK_REMOTE": "sc://127.0.0.1:1",
        }
        return SimpleNamespace(lake=Lake.open(known), environment={**os.environ, **environment})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in self.made:
            self.admin.user_remove(name)
            self.admin.policy_remove(name)


def things_of_others(things):
    """Objects of somebody else: users' tables, another folder of the landing bucket, another bucket."""
    settings, store = things.lake.settings, things.plain.store
    bucket = f"other-{settings.bucket}"
    store.ensure_bucket(bucket)
    found = [
        (settings.bucket, "another/bronze/things/part-0.parquet"),
        (settings.bucket, f"{settings.user}-2/bronze/things/part-0.parquet"),
        (settings.landing_bucket, f"{settings.landing_prefix}others/1.json"),
        (bucket, "1.json"),
    ]
    for place in found:
        store.write(*place, b"1")
    return found


def rights(lake, bucket, key):
    """What these keys may do to an object."""
    asked = {
        "list": lambda: list(lake.store.list(bucket, key)),
        "read": lambda: lake.store.read(bucket, key),
        "write": lambda: lake.store.write(bucket, key, b"2"),
        "delete": lambda: lake.store.delete(bucket, key),
    }
    found = set()
    for name, ask in asked.items():
        with suppress(AccessDenied, ObjectMissing):
            ask()
            found.add(name)
    return found


def no_right_beyond(lake, others):
    """Whether objects of others, and the names in whole buckets, are refused."""
    settings, own = lake.settings, lake.store
    opened = {place: rights(lake, *place) for place in others}
    for bucket in (settings.bucket, settings.landing_bucket):
        with pytest.raises(AccessDenied):
            list(own.list(bucket))
        with pytest.raises(AccessDenied):
            list(own.list(bucket, "another/"))
    return opened == {place: set() for place in others}


def object_of(world, prefix):
    """The key of some object of the lake."""
    bucket, folder = world.lake.settings.bucket, f"{world.lake.settings.user}/{prefix}"
    return bucket, next(iter(world.plain.store.list(bucket, folder))).key

"""Keys of their own for the roles that come to a lake."""

import os
from types import SimpleNamespace

from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin
from pydantic import SecretStr

from lakehouse.declaration import read_catalogue
from lakehouse.lake import Lake
from lakehouse.roles import policy


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

    def remove(self):
        for name in self.made:
            self.admin.user_remove(name)
            self.admin.policy_remove(name)

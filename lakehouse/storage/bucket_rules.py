"""The rules by which a bucket sends events: ours are set and removed, those of others stay."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from minio import Minio
from minio.error import S3Error
from minio.notificationconfig import NotificationConfig, PrefixFilterRule, QueueConfig

from lakehouse.errors import ConfigurationError
from lakehouse.storage.minio_store import MinioStore
from lakehouse.storage.s3_errors import explained
from lakehouse.storage.store import StoreEndpoint
from lakehouse.storage.webhook import WEBHOOKS

EVENTS = ["Put", "Post", "Copy", "CompleteMultipartUpload"]
"""What brings a file."""
_OURS = "lakehouse-events-"


class BucketRules:
    """The rules of one bucket.

    Args:
        endpoint: The store.
        bucket: The bucket.
        targets: What each rule sends events to, by the names that the store has for them.
    """

    def __init__(self, endpoint: StoreEndpoint, bucket: str, targets: Sequence[str] = WEBHOOKS) -> None:
        self._targets = targets
        self._client: Minio = MinioStore(endpoint).client
        self._bucket, self._where = bucket, f"{endpoint.url}/{bucket}"

    def folders(self) -> set[str]:
        """The folders of which the bucket tells all of our targets."""
        ours = [rule for rule in self._read().queue_config_list if _is_ours(rule)]
        return set.intersection(*({_prefix(rule) for rule in ours if rule.queue == target} for target in self._targets))

    def set(self, folders: Collection[str]) -> None:
        """Makes the bucket tell of these folders, and of no others.

        Raises:
            ConfigurationError: the store has no such target, or a rule of somebody else is in the way.
        """
        current = self._read()
        own = [
            _rule(folder, target)
            for folder in sorted(folders)
            if not any(folder != parent and folder.startswith(parent) for parent in folders)
            for target in self._targets
        ]
        rules = [*(rule for rule in current.queue_config_list if not _is_ours(rule)), *own]
        wanted = NotificationConfig(current.cloud_func_config_list, rules, current.topic_config_list)
        with explained(self._where, self._bucket, writes=True):
            try:
                if rules or wanted.cloud_func_config_list or wanted.topic_config_list:
                    self._client.set_bucket_notification(self._bucket, wanted)
                else:
                    self._client.delete_bucket_notification(self._bucket)
            except S3Error as error:
                if error.code != "InvalidArgument":
                    raise
                raise ConfigurationError(
                    f"the store does not take the rules: {error.message}",
                    where=self._where,
                    state="the bucket's rules are as they were",
                    next_command=f"give the store the targets {', '.join(self._targets)}: docs/events.md says how",
                ) from None

    def _read(self) -> NotificationConfig:
        with explained(self._where, self._bucket):
            return self._client.get_bucket_notification(self._bucket)


def _is_ours(rule: QueueConfig) -> bool:
    return (rule.config_id or "").startswith(_OURS)


def _prefix(rule: QueueConfig) -> str:
    return str(rule.prefix_filter_rule.value) if rule.prefix_filter_rule else ""


def _rule(folder: str, target: str) -> QueueConfig:
    name = f"{_OURS}{hashlib.sha256(folder.encode()).hexdigest()[:8]}-{target.split(':', 4)[4].lower()[:150]}"
    rule = PrefixFilterRule(folder) if folder else None
    events = [f"s3:ObjectCreated:{event}" for event in EVENTS]
    return QueueConfig(queue=target, events=events, config_id=name, prefix_filter_rule=rule)

"""Policy documents, in the language that Amazon's S3, MinIO and SeaweedFS share: which keys may do what to what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from lakehouse.errors import ConfigurationError

Right = Literal["look", "list", "read", "write", "delete"]

_ACTIONS: dict[Right, tuple[str, ...]] = {
    "look": ("s3:GetBucketLocation", "s3:GetBucketVersioning", "s3:GetLifecycleConfiguration"),
    "list": ("s3:ListBucket",),
    "read": ("s3:GetObject",),
    "write": ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"),
    "delete": ("s3:DeleteObject",),
}
_VERSION = "2012-10-17"  # of the language, not of a document


@dataclass(frozen=True)
class Grant:
    """A right to a part of a bucket.

    Attributes:
        right: ``look`` at the bucket's rules, ``list`` names, ``read``, ``write`` or ``delete`` objects.
        bucket: The bucket.
        pattern: What keys must match; ``*`` stands for anything, slashes too. Of ``look`` it is not asked.
    """

    right: Right
    bucket: str
    pattern: str = ""


def below(bucket: str, prefix: str, *rights: Right) -> list[Grant]:
    """Rights to all keys that begin with a prefix.

    Raises:
        ConfigurationError: a character of the prefix stands for others in a policy: it would open more than it names.
    """
    if set("*?$") & set(prefix):
        raise ConfigurationError(
            f"a policy cannot open s3a://{bucket}/{prefix} alone: *, ? and $ stand for other characters there",
            where=f"s3a://{bucket}/{prefix}",
            state="no policy was made",
            next_command="name a folder without these characters, or write its policy by hand",
        )
    return [Grant(right, bucket, f"{prefix}*") for right in rights]


def document(grants: Iterable[Grant]) -> dict[str, Any]:
    """The policy that grants exactly that; as JSON it is what ``mc admin policy create`` and ``aws iam`` take.

    Args:
        grants: All that is granted; a repetition changes nothing.
    """
    patterns: dict[tuple[str, Right], set[str]] = {}
    for grant in grants:
        patterns.setdefault((grant.bucket, grant.right), set()).add(grant.pattern)
    order: list[Right] = [*_ACTIONS]
    statements = [
        _statement(bucket, right, sorted(_without_covered(patterns[bucket, right])))
        for bucket, right in sorted(patterns, key=lambda of: (of[0], order.index(of[1])))
    ]
    return {"Version": _VERSION, "Statement": statements}


def _statement(bucket: str, right: Right, patterns: list[str]) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": list(_ACTIONS[right])}
    if right in ("look", "list"):
        statement["Resource"] = [f"arn:aws:s3:::{bucket}"]
        if right == "list" and patterns != ["*"]:
            statement["Condition"] = {"StringLike": {"s3:prefix": patterns}}
    else:
        statement["Resource"] = [f"arn:aws:s3:::{bucket}/{pattern}" for pattern in patterns]
    return statement


def _without_covered(patterns: set[str]) -> set[str]:
    """Without those that lie below another: a policy has a limit of size."""
    ends = {glob.removesuffix("*") for glob in patterns if glob.endswith("*") and "*" not in glob[:-1]}
    return {glob for glob in patterns if not any(glob.startswith(end) and glob != f"{end}*" for end in ends)}

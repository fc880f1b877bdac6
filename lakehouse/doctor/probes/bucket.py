"""The bucket: rules that would remove what streams live by, versions that pile up, keys that open too much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Ward, some

ABOUT, OF, ORDER = "the bucket's rules and rights", "lake", 75
_LIVED_BY = (
    "_checkpoints",
    "_journal",
    "_schemas",
    "_forgotten",
    "_quarantine",
    "_backups",
    "bronze",
    "silver",
    "gold",
)
_RULE = (
    'python -c "from lakehouse.lake import Lake; from lakehouse.storage.minio_store import MinioStore; '
    "MinioStore(Lake.open().endpoint).client.delete_bucket_lifecycle('{bucket}')\"   "
    "(with keys that may; removes all its rules: put those back that name other folders)"
)
_TIMEOUT_SECONDS = 5
_REFUSED = object()
"""In place of an answer to what these keys may not ask, or the store does not know."""

LIFECYCLE = Sign(
    "lifecycle_removes",
    Verdict.FAIL,
    "checkpoints, journals or data files vanish after some days",
    "a lifecycle rule of the bucket expires objects that streams and tables live by",
    _RULE,
)
VERSIONS = Sign(
    "versions_pile_up",
    Verdict.WARN,
    "the bucket grows though its tables do not",
    "every version of every object is kept, and no rule ends old ones: a lease is written three times a minute",
    "add a lifecycle rule that expires noncurrent versions; then: lakehouse doctor",
)
RIGHTS = Sign(
    "rights_too_wide",
    Verdict.WARN,
    "these keys see buckets of others",
    "who takes them from this machine takes all of that",
    "give the lake keys of its own, LAKEHOUSE_S3_ACCESS_KEY, with the policy of: lakehouse policies writer; "
    "then: lakehouse doctor",
)
SIGNS = (LIFECYCLE, VERSIONS, RIGHTS)


def examine(ward: Ward) -> Iterator[Seen]:
    """Makes three requests, and leaves out those that these keys may not make."""
    from lakehouse.storage.minio_store import MinioStore

    settings = ward.lake.settings
    client = MinioStore(ward.lake.endpoint, read_timeout_seconds=_TIMEOUT_SECONDS, attempts=1).client
    bucket, where = settings.bucket, f"s3a://{settings.bucket}"
    rules = _asked(lambda: client.get_bucket_lifecycle(bucket))
    found = list(getattr(rules, "rules", None) or [])
    bad = [rule for rule in found if _removes(rule) and _reaches(rule, settings.user)]
    if bad:
        names = some(rule.rule_id or "?" for rule in bad)
        evidence = {"rules": len(bad), "days": [rule.expiration.days for rule in bad], "folders": [*map(_prefix, bad)]}
        yield Seen(LIFECYCLE, f"lifecycle rules that remove what the lake needs: {names}", where, evidence, _of(bucket))
    elif rules is not _REFUSED:
        yield Seen(None, "no lifecycle rule reaches what streams live by", where, {"rules": len(found)})
    versioning = _asked(lambda: client.get_bucket_versioning(bucket))
    if getattr(versioning, "status", "") == "Enabled" and rules is not _REFUSED:
        ends = any(rule.status == "Enabled" and rule.noncurrent_version_expiration for rule in found)
        if not ends:
            yield Seen(VERSIONS, "the bucket is versioned, and no rule ends old versions", where)
    if settings.s3_endpoint is not None:
        own = {bucket, settings.landing_bucket}
        buckets = _asked(client.list_buckets)
        others = sorted({entry.name for entry in buckets} - own) if buckets is not _REFUSED else []
        if others:
            yield Seen(RIGHTS, f"these keys see {len(others)} other buckets: {some(others)}", ward.lake.endpoint.url)


def _asked(ask: Any) -> Any:
    import urllib3
    from minio.error import MinioException

    try:
        return ask()
    except (MinioException, urllib3.exceptions.HTTPError, ValueError):
        return _REFUSED


def _prefix(rule: Any) -> str:
    scope = rule.rule_filter
    return str(((scope.and_operator or scope).prefix if scope else "") or "")


def _removes(rule: Any) -> bool:
    """Whether a rule removes objects as they are now: not only old versions, or the marks of removed objects."""
    ends = rule.expiration
    return rule.status == "Enabled" and ends is not None and (ends.days is not None or ends.date is not None)


def _reaches(rule: Any, user: str) -> bool:
    """Whether a rule's folder is above or below a folder that the lake lives by. No object of a lake has a tag."""
    scope = rule.rule_filter
    if scope and (scope.tag or (scope.and_operator and scope.and_operator.tags)):
        return False
    prefix, places = _prefix(rule), [f"{user}/{folder}/" for folder in _LIVED_BY]
    return any(place.startswith(prefix) or prefix.startswith(place) for place in places)


def _of(bucket: str) -> dict[str, str]:
    return {"bucket": bucket}

"""The bucket: rules that would remove what streams live by, versions that pile up, keys that open too much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Ward, some
from lakehouse.storage import StoreEndpoint

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
    'eval "$(lakehouse env)" && aws s3api delete-bucket-lifecycle --bucket {bucket}   '
    "(removes all its rules; put those back that name other folders)"
)

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
    settings, client = ward.lake.settings, _client(ward.lake.endpoint)
    bucket, where = settings.bucket, f"s3a://{settings.bucket}"
    rules = _asked(lambda: client.get_bucket_lifecycle(bucket))
    found = list(getattr(rules, "rules", None) or [])
    bad = [rule for rule in found if rule.status == "Enabled" and rule.expiration and _reaches(rule, settings.user)]
    if bad:
        names = some(rule.rule_id or "?" for rule in bad)
        evidence = {"rules": len(bad), "days": [rule.expiration.days for rule in bad], "folders": [*map(_prefix, bad)]}
        yield Seen(LIFECYCLE, f"lifecycle rules that remove what the lake needs: {names}", where, evidence, _of(bucket))
    else:
        yield Seen(None, "no lifecycle rule reaches what streams live by", where, {"rules": len(found)})
    versioning = _asked(lambda: client.get_bucket_versioning(bucket))
    if getattr(versioning, "status", "") == "Enabled":
        ends = any(rule.status == "Enabled" and rule.noncurrent_version_expiration for rule in found)
        if not ends:
            yield Seen(VERSIONS, "the bucket is versioned, and no rule ends old versions", where)
    if settings.s3_endpoint is not None:
        own = {bucket, settings.landing_bucket}
        others = sorted({entry.name for entry in _asked(client.list_buckets) or ()} - own)
        if others:
            yield Seen(RIGHTS, f"these keys see {len(others)} other buckets: {some(others)}", ward.lake.endpoint.url)


def _client(endpoint: StoreEndpoint) -> Any:
    from minio import Minio

    return Minio(
        endpoint.host,
        access_key=endpoint.access_key.get_secret_value(),
        secret_key=endpoint.secret_key.get_secret_value(),
        session_token=endpoint.session_token.get_secret_value() if endpoint.session_token else None,
        secure=endpoint.secure,
        region=endpoint.region,
    )


def _asked(ask: Any) -> Any:
    import urllib3
    from minio.error import MinioException

    try:
        return ask()
    except (MinioException, urllib3.exceptions.HTTPError, ValueError):
        return None


def _prefix(rule: Any) -> str:
    return str((rule.rule_filter.prefix if rule.rule_filter else "") or "")


def _reaches(rule: Any, user: str) -> bool:
    """Whether a rule's folder is above or below a folder that the lake lives by."""
    prefix, places = _prefix(rule), [f"{user}/{folder}/" for folder in _LIVED_BY]
    return any(place.startswith(prefix) or prefix.startswith(place) for place in places)


def _of(bucket: str) -> dict[str, str]:
    return {"bucket": bucket}

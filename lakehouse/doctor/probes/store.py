"""The object store: whether it keeps the conditions of writes, lets these keys write, and has the right time."""

from __future__ import annotations

import http.client
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Ward
from lakehouse.errors import AccessDenied
from lakehouse.storage import ObjectExists, ObjectMissing, open_store

ABOUT, OF, ORDER = "the store keeps its word", "lake", 70
_SKEW_SECONDS, _REFUSED_SECONDS = 5, 600
_NO_SUCH_VERSION = "0" * 32
_TIMEOUT_SECONDS = 5

READ_ONLY = Sign(
    "store_read_only",
    Verdict.FAIL,
    "every run ends with AccessDenied",
    "these keys may not write below the user's folder",
    "allow s3:PutObject, s3:GetObject, s3:DeleteObject and s3:ListBucket to these keys; then: lakehouse doctor",
)
CONDITIONS = Sign(
    "conditions_ignored",
    Verdict.FAIL,
    "two runs write one table at the same time",
    "the store, or a gateway before it, writes where it was told not to: leases, journals and commits rest on that",
    "reach the store without that gateway: set LAKEHOUSE_S3_ENDPOINT; then: lakehouse doctor",
)
CLOCK = Sign(
    "clock_skewed",
    Verdict.WARN,
    "requests are refused with RequestTimeTooSkewed, ages are wrong",
    f"the clocks of this machine and of the store differ; from {_REFUSED_SECONDS // 60} minutes on the store refuses",
    "sudo timedatectl set-ntp true",
)
ARCHIVED = Sign(
    "store_unmaintained",
    Verdict.WARN,
    "the store is MinIO, reached over a network",
    "MinIO's open-source server is archived: no fault of it is mended any more. On one machine the embedded store "
    "listens on loopback alone; for others take a store that is maintained",
    "set LAKEHOUSE_S3_ENDPOINT to a maintained store; then: lakehouse doctor",
)
SIGNS = (READ_ONLY, CONDITIONS, CLOCK, ARCHIVED)


def examine(ward: Ward) -> Iterator[Seen]:
    """Asks for a write that every store which keeps conditions refuses: nothing is written on such a store."""
    endpoint, embedded = ward.lake.endpoint, ward.lake.settings.s3_endpoint is None
    yield from _writes(ward)
    date, server = _head(endpoint.url)
    if date is not None:
        skew = (datetime.now(UTC) - date).total_seconds()
        evidence = {"skew_seconds": round(skew, 1), "server": server}
        if abs(skew) > _SKEW_SECONDS:
            verdict = Verdict.FAIL if abs(skew) > _REFUSED_SECONDS else Verdict.WARN
            what = f"this machine's clock is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} the store's"
            yield Seen(CLOCK, what, endpoint.url, evidence, verdict=verdict)
        else:
            yield Seen(None, "the clocks agree", endpoint.url, evidence)
    if "minio" in server.lower():  # a gateway puts its own name before it
        from lakehouse.storage.minio_binary import MINIO_VERSION

        version = {"server": server, **({"version": MINIO_VERSION} if embedded else {})}
        if embedded:
            yield Seen(None, "the embedded MinIO, which is archived upstream, on loopback", endpoint.url, version)
        else:
            yield Seen(ARCHIVED, "the store is MinIO, which is archived upstream", endpoint.url, version)


def _writes(ward: Ward) -> Iterator[Seen]:
    bucket, key = ward.lake.settings.bucket, f"{ward.lake.settings.user}/_probe/{secrets.token_hex(8)}"
    where, store = f"{ward.lake.endpoint.url}/{bucket}/{key}", open_store(ward.lake.endpoint)
    try:
        store.write(bucket, key, b"1", if_match=_NO_SUCH_VERSION)
    except (ObjectMissing, ObjectExists):
        yield Seen(None, "it refuses a write over a version that is not there", where)
    except AccessDenied as error:
        yield Seen(READ_ONLY, error.what, where)
    else:
        with suppress(AccessDenied):
            store.delete(bucket, key)
        yield Seen(CONDITIONS, "it wrote over a version that was not there (it ignores If-Match)", where)


def _head(url: str) -> tuple[datetime | None, str]:
    """The time that the store says, and its name; signed by nobody, so that the clock cannot be the reason of a no."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    with suppress(OSError, http.client.HTTPException, ValueError, TypeError):
        asked = kind(parts.netloc, timeout=_TIMEOUT_SECONDS)
        asked.request("HEAD", "/")
        answer = asked.getresponse()
        date, server = answer.getheader("Date"), answer.getheader("Server") or ""
        asked.close()
        moment = parsedate_to_datetime(date) if date else None
        return (moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None), server
    return None, ""

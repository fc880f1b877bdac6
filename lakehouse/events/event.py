"""One event of an object store, from the body that a webhook sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus, unquote_plus

CREATED = "ObjectCreated:"
"""Beginning of the names of events that bring a file."""

_BY_MINIO = "minio:s3"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_BYTES = 1 << 50
"""More than any store takes for an object."""
_YEARS = range(1970, 9999)
_LATE = timedelta(minutes=5)
"""MinIO makes the event of an object right after it has written it: a longer time between them is not MinIO's."""


class Malformed(ValueError):
    """A body that is no list of events."""


@dataclass(frozen=True)
class Event:
    """An object was written.

    Attributes:
        bucket: Its bucket.
        key: Its key, decoded.
        e_tag: The version's ETag, without quotes.
        size_bytes: Its size.
        at: When the store made the event, UTC.
        sequencer: Orders the events of a key; hexadecimal, of equal length for equal stores.
        modified: The store's time of the object as a listing has it, where the event says it; else None.
    """

    bucket: str
    key: str
    e_tag: str
    size_bytes: int
    at: datetime
    sequencer: str = ""
    modified: datetime | None = None


def events_of(body: bytes, modified_milliseconds: int | None = None) -> tuple[list[Event], int]:
    """The events of new objects in a webhook's body, and how many others it has.

    Args:
        body: JSON.
        modified_milliseconds: The store's time of the objects, where that is known apart from the body.

    Raises:
        Malformed: it is no body that MinIO or S3 sends.
    """
    try:
        records = json.loads(body)["Records"]
        read = list(_read(records))
        if modified_milliseconds is not None:
            modified = _EPOCH + timedelta(milliseconds=modified_milliseconds)
            read = [replace(event, modified=modified) for event in read]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Malformed(type(error).__name__) from None
    return read, len(records) - len(read)


def record_of(event: Event) -> str:
    """The body of an event, as a store sends it."""
    s3_object = {
        "key": quote_plus(event.key),
        "size": event.size_bytes,
        "eTag": event.e_tag,
        "sequencer": event.sequencer,
    }
    record = {
        "eventSource": _BY_MINIO if event.modified else "",
        "eventTime": event.at.isoformat(),
        "eventName": f"s3:{CREATED}Put",
        "s3": {"bucket": {"name": event.bucket}, "object": s3_object},
    }
    return json.dumps({"Records": [record]})


def _read(records: list[dict[str, Any]]) -> Iterator[Event]:
    if not isinstance(records, list):
        raise Malformed("Records")
    for record in records:
        name, s3 = record["eventName"], record["s3"]
        if not name.removeprefix("s3:").startswith(CREATED):
            continue
        s3_object = s3["object"]
        bucket, key = s3["bucket"]["name"], unquote_plus(s3_object["key"], errors="strict")
        e_tag, sequencer = s3_object.get("eTag", "").strip('"'), s3_object.get("sequencer", "")
        size, at = s3_object.get("size", 0), datetime.fromisoformat(record["eventTime"])
        texts = (bucket, key, e_tag, sequencer)
        if not all(isinstance(text, str) for text in texts) or not bucket or not key or "\x00" in "".join(texts):
            raise Malformed("names")
        "".join(texts).encode()  # a lone surrogate raises here: no inbox could keep such a name
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < _MOST_BYTES:
            raise Malformed("size")
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        if at.year not in _YEARS:  # its seconds would be no time when they are read again
            raise Malformed("time")
        modified = _modified(sequencer, at) if record.get("eventSource") == _BY_MINIO else None
        yield Event(bucket, key, e_tag, size, at, sequencer, modified)


def _modified(sequencer: str, at: datetime) -> datetime | None:
    """MinIO's sequencer is the object's time in nanoseconds; its listings have the milliseconds of it."""
    try:
        milliseconds = int(sequencer, 16) // 1_000_000
        modified = _EPOCH + timedelta(milliseconds=milliseconds)
    except (ValueError, OverflowError):
        return None
    return modified if -_LATE < at - modified < _LATE else None

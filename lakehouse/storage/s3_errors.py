"""What can go wrong at an object store, in our words: no S3 code and no stack trace reaches a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree.ElementTree import ParseError

import urllib3
from minio.error import InvalidResponseError, S3Error, ServerError

from lakehouse.errors import AccessDenied, LakehouseError, StoreUnavailable, TerminalError
from lakehouse.storage.store import MISSING_CODES, PRECONDITION_CODES, BucketMissing, ObjectExists, ObjectMissing

_UNCHANGED = "nothing was changed by this call"
_UNKNOWN = "this call may or may not have taken effect: it is safe to repeat"
_BUCKETS = "create it, or name another: LAKEHOUSE_BUCKET (tables), LAKEHOUSE_LANDING_BUCKET (files)"


def bucket_missing(bucket: str, where: str) -> BucketMissing:
    """The error for a bucket that somebody has to make."""
    return BucketMissing(f"there is no bucket {bucket}", where=where, state=_UNCHANGED, next_command=_BUCKETS)


@contextmanager
def explained(where: str, bucket: str, *, writes: bool = False) -> Iterator[None]:
    """Turns the SDK's and the network's exceptions into this library's.

    Args:
        where: Endpoint, bucket and key, for the message.
        bucket: The bucket alone.
        writes: Whether the call changes something: then a lost reply leaves its outcome open, and the error says so.
    """
    state = _UNKNOWN if writes else _UNCHANGED
    try:
        yield
    except S3Error as error:
        raise _translated(error, where, bucket, state) from None
    except (ServerError, InvalidResponseError, ParseError) as error:
        raise _no_s3_server(error, where, state) from None
    except urllib3.exceptions.HTTPError as error:
        raise _unreachable(error, where, state) from None
    except ValueError as error:
        if str(error).startswith("XML element"):  # a listing that is the XML of something else
            raise _no_s3_server(error, where, state) from None
        # else it is the SDK's own look at bucket names and keys
        raise TerminalError(f"not a name this client can ask for: {error}", where=where, state=_UNCHANGED) from None


def _no_s3_server(error: Exception, where: str, state: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"the answer is not one of an S3 server ({type(error).__name__})",
        where=where,
        state=state,
        next_command="see what listens at LAKEHOUSE_S3_ENDPOINT, or run the same again in a while",
    )


def _unreachable(error: urllib3.exceptions.HTTPError, where: str, state: str) -> LakehouseError:
    reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
    if isinstance(reason, urllib3.exceptions.SSLError):
        return TerminalError(
            f"no secure connection to the object store: {reason}",
            where=where,
            state=_UNCHANGED,
            next_command="correct http or https in LAKEHOUSE_S3_ENDPOINT, or name its CA's file in SSL_CERT_FILE",
        )
    return StoreUnavailable(
        f"the object store does not answer ({type(reason).__name__})",
        where=where,
        state=state,
        next_command="start it (lakehouse up starts the embedded one), or correct LAKEHOUSE_S3_ENDPOINT",
    )


def _translated(error: S3Error, where: str, bucket: str, state: str) -> LakehouseError:
    match error.code:
        case code if code in PRECONDITION_CODES:
            return ObjectExists("another version of the object is there", where=where, state=_UNCHANGED)
        case code if code in MISSING_CODES:
            return ObjectMissing("there is no such object", where=where, state=_UNCHANGED)
        case "NoSuchBucket":
            return bucket_missing(bucket, where)
        case "AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "Forbidden" | "AllAccessDisabled":
            return AccessDenied(
                f"the object store refuses these credentials ({error.code})",
                where=where,
                state=_UNCHANGED,
                next_command="correct LAKEHOUSE_S3_ACCESS_KEY and LAKEHOUSE_S3_SECRET_KEY, or the rights of that key",
            )
        case "SlowDown" | "InternalError" | "ServiceUnavailable" | "XMinioServerNotInitialized" | "RequestTimeout":
            return StoreUnavailable(
                f"the object store is not able to serve now ({error.code})",
                where=where,
                state=state,
                next_command="run the same again in a while",
            )
        case "RequestTimeTooSkewed":
            cure = "set the clock of this machine"
        case "AuthorizationHeaderMalformed" | "PermanentRedirect":
            cure = "set LAKEHOUSE_S3_REGION to the region of that server"
        case "XMinioInvalidObjectName" | "KeyTooLongError":
            cure = "choose another key: MinIO takes no // and no name over 255 bytes between slashes"
        case _:
            cure = ""
    return TerminalError(
        f"the object store refused: {error.code}: {error.message}", where=where, state=_UNCHANGED, next_command=cure
    )

"""What can go wrong at an object store, for all clients, told by classes and by S3's own codes.

``obstore`` and the ``minio`` SDK have exceptions of their own. ``obstore_answers`` and ``sdk_answers`` turn them into
the same few: ``FileNotFoundError``, ``NoBucket``, ``FileExistsError``, ``PermissionError``, ``NotS3``, ``OSError``.
``error_of`` makes an error of this library of those, so that no S3 code and no stack trace reaches a user. The SDK is
imported only where it is used: a worker of Spark does without.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions as oe

from lakehouse.errors import AccessDenied, LakehouseError, StoreUnavailable, TerminalError
from lakehouse.plain_text import without_address
from lakehouse.storage.store import UNCHANGED, BucketMissing, ObjectExists, ObjectMissing

NO_BUCKET = "NoSuchBucket"
MISSING_CODES = ("NoSuchKey", "NoSuchVersion")
PRECONDITION_CODES = ("PreconditionFailed", "ConditionalRequestConflict")
DENIED_CODES = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden", "AllAccessDisabled")
EXPIRED_CODES = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired")
BUSY_CODES = ("SlowDown", "InternalError", "ServiceUnavailable", "XMinioServerNotInitialized", "RequestTimeout")
_CURES = {
    "RequestTimeTooSkewed": "set the clock of this machine",
    **dict.fromkeys(
        ("AuthorizationHeaderMalformed", "PermanentRedirect"), "set LAKEHOUSE_S3_REGION to the region of that server"
    ),
    **dict.fromkeys(
        ("XMinioInvalidObjectName", "KeyTooLongError"),
        "choose another key: MinIO takes no // and no name over 255 bytes between slashes",
    ),
}
UNKNOWN = "this call may or may not have taken effect: it is safe to repeat"
_BUCKETS = "create it, or name another: LAKEHOUSE_BUCKET (tables), LAKEHOUSE_LANDING_BUCKET (files)"
KEYS = "correct LAKEHOUSE_S3_ACCESS_KEY and LAKEHOUSE_S3_SECRET_KEY, or the rights of that key"
_ARROW_GONE = ("NO_SUCH_KEY", "RESOURCE_NOT_FOUND", "Path does not exist")
_ANSWER = re.compile(r"Server returned non-2xx status code: (\d+)[^:]*: (.*)", re.DOTALL)
_DOCUMENT = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?<Error\b.*?<Code>(\w+)</Code>", re.DOTALL)


class NotS3(OSError):
    """An answer that no S3 server gives: a proxy, an ingress or a login page gave it."""


class NoBucket(FileNotFoundError):
    """There is no such bucket."""


class NotSecure(OSError):
    """No secure connection comes about."""


class Expired(OSError):
    """The keys were good, and are not any more."""


class Refused(OSError):
    """The server refused, by a code that is none of those above; ``code`` has it."""

    def __init__(self, code: str, message: str = "") -> None:
        self.code = code
        super().__init__(f"{code}: {message}" if message else code)


def code_of(body: str) -> str:
    """The code in S3's error document; empty where the text is none."""
    return found[1] if (found := _DOCUMENT.match(body)) else ""


def of_code(code: str, message: str = "") -> OSError:
    """What a code means."""
    if code == NO_BUCKET:
        return NoBucket(code)
    if code in MISSING_CODES:
        return FileNotFoundError(code)
    if code in PRECONDITION_CODES:
        return FileExistsError(code)
    if code in EXPIRED_CODES:
        return Expired(code)
    return PermissionError(code) if code in DENIED_CODES else Refused(code, message)


@contextmanager
def obstore_answers() -> Iterator[None]:
    """Lets a status code count only where S3's own error document explains it.

    What stands between here and the store answers 404 for a store that restarts, and 403 or 412 for reasons of its
    own. Those say nothing about an object.

    Raises:
        FileNotFoundError, FileExistsError, PermissionError, NotS3, Refused: see the module.
        oe.BaseError: anything else.
    """
    try:
        yield
    except NotS3:
        raise
    except (oe.BaseError, FileNotFoundError, FileExistsError, PermissionError) as error:
        text = obstore_text(error)
        status, body = found.groups() if (found := _ANSWER.search(text)) else ("", "")
        code = code_of(body)
        # obstore goes by the status, and by none for a listing: the code is what was meant
        if code and (code in _CURES or not isinstance(of_code(code), Refused)):
            raise of_code(code) from None
        made: type[OSError]
        match error:
            case FileNotFoundError() | oe.NotFoundError():
                known, made = code in MISSING_CODES, FileNotFoundError
            case FileExistsError() | oe.AlreadyExistsError() | oe.PreconditionError() | oe.NotModifiedError():
                known, made = code in PRECONDITION_CODES, FileExistsError
            case PermissionError() | oe.PermissionDeniedError() | oe.UnauthenticatedError():
                known, made = bool(code) or not body.strip(), PermissionError
            case _:
                raise
        if known:
            raise made(text) from None
        raise NotS3(f"an answer with status {status} that is not one of an S3 server") from None


def obstore_text(error: Exception) -> str:
    """What ``obstore`` says, without the address, which our own errors have, and without what only its makers read."""
    return without_address(str(error).split("\n\nDebug source")[0])


@contextmanager
def sdk_answers() -> Iterator[None]:
    """Turns the SDK's exceptions into those of the module.

    Raises:
        FileNotFoundError, FileExistsError, PermissionError, NotS3, Refused: see the module.
        ValueError: the SDK's own look at names of buckets and keys.
        OSError: the network's.
    """
    from xml.etree.ElementTree import ParseError

    import urllib3
    from minio.error import InvalidResponseError, S3Error, ServerError

    try:
        yield
    except S3Error as error:
        raise of_code(error.code or "", error.message or "") from None
    except InvalidResponseError as error:  # the SDK asks for a type of content, too
        status, _, body = error.__reduce__()[1]
        if code := code_of(body or ""):
            raise of_code(code) from None
        refused = status == 403 and not body
        raise (PermissionError if refused else NotS3)(
            f"an answer with status {status} that is not one of an S3 server"
        ) from None
    except (ParseError, ValueError) as error:
        if isinstance(error, ValueError) and not str(error).startswith(
            "XML element"
        ):  # else: the XML of something else
            raise
        raise NotS3(f"the listing is not one of an S3 server ({type(error).__name__})") from None
    except ServerError as error:
        raise NotS3(f"the answer is not one of an S3 server ({type(error).__name__})") from None
    except urllib3.exceptions.HTTPError as error:
        reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
        if isinstance(reason, urllib3.exceptions.SSLError):
            raise NotSecure(str(reason)) from None
        raise OSError(type(reason).__name__) from None


@contextmanager
def explained(where: str, bucket: str, *, writes: bool = False) -> Iterator[None]:
    """Turns the SDK's and the network's exceptions into this library's.

    Args:
        where: Endpoint, bucket and key, for the message.
        bucket: The bucket alone.
        writes: Whether the call changes something: then a lost reply leaves its outcome open, and the error says so.
    """
    try:
        with sdk_answers():
            yield
    except OSError as error:
        raise error_of(error, where, bucket, state=UNKNOWN if writes else UNCHANGED) from None
    except ValueError as error:
        raise TerminalError(f"not a name this client can ask for: {error}", where=where, state=UNCHANGED) from None


def error_of(error: OSError, where: str, bucket: str, *, state: str = UNKNOWN, keys: str = KEYS) -> LakehouseError:
    """What ``obstore_answers`` and ``sdk_answers`` raise, as an error that tells what to do.

    Args:
        error: What was said.
        where: Endpoint, bucket and key.
        bucket: The bucket alone.
        state: What is left behind when nobody knows whether the call took effect.
        keys: What to do where the keys are refused.
    """
    match error:
        case NoBucket():
            return bucket_missing(bucket, where)
        case FileNotFoundError():
            return ObjectMissing("there is no such object", where=where, state=UNCHANGED)
        case FileExistsError():
            return ObjectExists("another version of the object is there", where=where, state=UNCHANGED)
        case PermissionError():
            code = f" ({error})" if str(error) in DENIED_CODES else ""
            what = f"the object store refuses these credentials{code}"
            return AccessDenied(what, where=where, state=UNCHANGED, next_command=keys)
        case Expired():
            what, cure = f"the keys of the object store have ended ({error})", "renew them, then run the same again"
            return StoreUnavailable(what, where=where, state=state, next_command=cure)
        case NotS3():
            cure = "see what listens at LAKEHOUSE_S3_ENDPOINT, or run the same again in a while"
            return StoreUnavailable(str(error), where=where, state=state, next_command=cure)
        case NotSecure():
            what = f"no secure connection to the object store: {error}"
            cure = "correct http or https in LAKEHOUSE_S3_ENDPOINT, or name its CA's file in SSL_CERT_FILE"
            return TerminalError(what, where=where, state=UNCHANGED, next_command=cure)
        case Refused() if error.code in BUSY_CODES:
            what, cure = f"the object store is not able to serve now ({error.code})", "run the same again in a while"
            return StoreUnavailable(what, where=where, state=state, next_command=cure)
        case Refused():
            what, cure = f"the object store refused: {error}", _CURES.get(error.code, "")
            return TerminalError(what, where=where, state=UNCHANGED, next_command=cure)
    return StoreUnavailable(
        f"the object store does not answer ({error})",
        where=where,
        state=state,
        next_command="start it (lakehouse up starts the embedded one), or correct LAKEHOUSE_S3_ENDPOINT",
    )


def bucket_missing(bucket: str, where: str) -> BucketMissing:
    """The error for a bucket that somebody has to make."""
    return BucketMissing(f"there is no bucket {bucket}", where=where, state=UNCHANGED, next_command=_BUCKETS)


def arrow_says_gone(error: Exception) -> bool:
    """Whether Arrow, or DuckDB through it, did not find an object: of S3's codes they have the text alone."""
    return isinstance(error, FileNotFoundError) or any(text in str(error) for text in _ARROW_GONE)

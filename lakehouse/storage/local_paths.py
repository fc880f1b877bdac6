"""Paths of this machine, and paths of other systems (``dbfs:/mnt``) for which ``LAKEHOUSE_PATHS`` names a place here.

Every Spark worker imports this module: standard library only.
"""

from __future__ import annotations

import os
import posixpath
import re
from functools import lru_cache

from lakehouse.errors import ConfigurationError

LOCAL = "file:"
"""The bucket of all local paths, a name that no bucket of S3 can have. A key is a path without its first slash."""

CLOUDS = ("gs", "abfss")
"""Schemes of other clouds. Their buckets begin with the scheme and a colon, as no bucket of S3 can."""

PATHS = "LAKEHOUSE_PATHS"
"""Names the variable: ``dbfs:/=s3a://landing/,/Volumes/=file:///data/volumes/``."""

_LOCAL = re.compile(r"file:(?://)?(?=/[^/]|/$)|(?=/)", re.DOTALL)
_OWN = r"s3[an]?://[^/]|file:/"
_READ_HERE = re.compile(_OWN)
_TARGET = re.compile(rf"{_OWN}|({'|'.join(CLOUDS)})://[^/]")


def cloud_of(bucket: str) -> str:
    """The scheme of another cloud whose bucket that is; empty for any other bucket."""
    scheme, colon, name = bucket.partition(":")
    return scheme if colon and name and scheme in CLOUDS else ""


def is_local(uri: str) -> bool:
    """Whether it is a path of this machine: ``/folder``, ``file:/folder`` or ``file:///folder``."""
    return uri.startswith(("/", "file:"))


def local_key(uri: str) -> str:
    """The path without its first slash, and without what means nothing in it: ``//``, ``/./``.

    Raises:
        ConfigurationError: it names another machine, nothing below the root, or goes up by ``..``.
    """
    begins = _LOCAL.match(uri)
    path = uri[begins.end() :] if begins else ""
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path or not path.strip("/"):
        raise ConfigurationError(
            f"not a path of a local folder: {uri!r}",
            where="cloudFiles",
            state="nothing was read or written",
            next_command="write it from the root and without .. as file:///folder/ or /folder/",
        )
    slash = "/" if path.endswith(("/", "/.")) else ""
    return posixpath.normpath(path).strip("/") + slash


def mapped(uri: str) -> str:
    """The path, its beginning replaced where ``LAKEHOUSE_PATHS`` has it; the longest beginning counts.

    Raises:
        ConfigurationError: that variable is not as it should be.
    """
    for begins, place in _places(os.environ.get(PATHS, "")):
        if uri.startswith(begins):
            return place + uri[len(begins) :].lstrip("/")
    return uri


@lru_cache
def _places(text: str) -> tuple[tuple[str, str], ...]:
    places = []
    for pair in filter(None, map(str.strip, text.split(","))):
        begins, _, place = map(str.strip, pair.partition("="))
        if not begins.endswith("/") or not place.endswith("/") or not _TARGET.match(place) or _READ_HERE.match(begins):
            raise ConfigurationError(
                f"{PATHS} has {pair!r}, which says no place",
                where=PATHS,
                state="nothing was read or written",
                next_command=f"{PATHS}=dbfs:/=s3a://bucket/,/Volumes/=file:///data/volumes/   "
                "(a beginning, =, s3a://, file:///, gs:// or abfss://, each with a slash at its end)",
            )
        places.append((begins, place))
    return tuple(sorted(places, key=lambda entry: -len(entry[0])))


def foreign(uri: str) -> str:
    """What to do about a path of a place that nothing here reads; empty for any other path."""
    scheme = uri.partition(":")[0].lower()
    if scheme in ("dbfs", "hdfs", "gs", "abfss", "abfs", "wasbs", "wasb", "adl", "r2", "cos", "oss"):
        return f"say where the files of {scheme}: are, as {PATHS}={scheme}:/=s3a://bucket/"
    return ""

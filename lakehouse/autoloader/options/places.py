"""Values of options that name a place: a folder, a path with globs, an inbox."""

from __future__ import annotations

import re
from collections.abc import Callable

from lakehouse.autoloader.options.paths import HOW_TO_READ, HOW_TO_WRITE, SourcePath, glob_regex, resolved, split_uri
from lakehouse.autoloader.options.values import some_text
from lakehouse.errors import ConfigurationError
from lakehouse.storage.local_paths import CLOUDS, foreign, mapped

_PLACE = re.compile(r"s3[an]?://[A-Za-z0-9][A-Za-z0-9._-]*(/.*)?|file:///.*", re.DOTALL)
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")


def place(text: str) -> str:
    """A place on the object store or on this machine."""
    uri = mapped(text)
    try:
        if _PLACE.fullmatch(found := resolved(uri)):
            return found
    except ConfigurationError:
        pass
    cure = foreign(uri) or f"write it as {HOW_TO_WRITE}"
    raise ValueError(f"it must be on the object store or on this machine: {cure}")


def table_place(text: str) -> str:
    """A place for a Delta table. ``deltalake`` unescapes its name twice, so it would look elsewhere than it writes."""
    found = place(text)
    if _ESCAPE.search(found):
        raise ValueError("a table cannot have % and two hexadecimal digits in the name of its folder")
    return found


def path(text: str) -> str:
    """The same, or a bucket of another cloud, which is only read; with globs if wanted."""
    uri = mapped(text)
    found = uri if uri.partition("://")[0] in CLOUDS else place(text)
    if found is uri:
        _checked_cloud(uri)
    _checked_glob(found, SourcePath.parse)
    return found


def _checked_cloud(uri: str) -> None:
    try:
        split_uri(uri)
    except ConfigurationError:
        raise ValueError(f"write it as {HOW_TO_READ}") from None


def inbox(text: str) -> str:
    """The inbox of file events."""
    if ":" in text:
        from lakehouse.events.address import InboxAddress  # what a worker has no need of

        if InboxAddress.parse(text).has_secret:
            raise ValueError(
                "a password is no option: Spark shows it; set LAKEHOUSE_EVENTS_INBOX where the driver runs"
            )
    return some_text(text)


def glob(text: str) -> str:
    """A glob of names."""
    _checked_glob(some_text(text), lambda pattern: re.compile(glob_regex(pattern)))
    return text


def _checked_glob(text: str, compiled: Callable[[str], object]) -> None:
    try:
        compiled(text)
    except (ConfigurationError, re.error):
        raise ValueError("its glob has a brace or a bracket that does not fit") from None

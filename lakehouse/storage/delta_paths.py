"""Where the parts of a Delta table are, and how the ``deltalake`` library is told of a table."""

from __future__ import annotations

from urllib.parse import quote


def log_uri(table_uri: str) -> str:
    """The folder of a table's log."""
    return f"{table_uri.rstrip('/')}/_delta_log/"


def commit_uri(table_uri: str, version: int) -> str:
    """The object with one commit of a table."""
    return f"{log_uri(table_uri)}{version:020d}.json"


def deltalake_uri(table_uri: str) -> str:
    """A table's folder as ``deltalake`` takes it: ``%``, ``#`` and ``?`` are escaped."""
    scheme, _, folder = table_uri.partition("://")
    return f"{'file' if scheme == 'file' else 's3'}://{quote(folder)}"

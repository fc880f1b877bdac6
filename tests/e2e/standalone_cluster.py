"""A standalone Spark cluster on loopback: a master, two workers of one core, and a Connect server of its own.

Each is a process with a folder of its own. What they share is what a real cluster has installed on every machine:
Java, Python with pyspark and this library, the jars of Delta and S3A.
"""

import json
import secrets
import socket
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import pytest

from lakehouse.engine import conf, jars, java
from lakehouse.engine.server import worker_environment
from lakehouse.processes import Server, free_port, private_folder, write_private
from lakehouse.settings import Settings

WORKERS = 2
_START_TIMEOUT_SECONDS = 90
_JVM_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xss4m", "-Duser.timezone=UTC")


@dataclass(frozen=True)
class Cluster:
    """The way in, and Spark's own pages."""

    remote: str
    master_page: str
    application_page: str

    def workers(self):
        """What the master says of the workers that live."""
        return [worker for worker in _json(f"{self.master_page}/json/")["workers"] if worker["state"] == "ALIVE"]

    def completed_tasks(self):
        """Of each executor."""
        applications = f"{self.application_page}/api/v1/applications"
        executors = _json(f"{applications}/{_json(applications)[0]['id']}/executors")
        return {executor["id"]: executor["completedTasks"] for executor in executors if executor["id"] != "driver"}


@contextmanager
def standalone_cluster(folder, endpoint, bucket):
    """Starts the cluster in ``folder``; whatever happens, nothing of it is left running."""
    with ExitStack() as running:

        def start(name, command, ready=lambda: True, **environment):
            server = Server(folder / name)
            running.callback(server.stop)
            scratch = str(private_folder(server.folder / "scratch"))
            places = {"SPARK_HOME": str(java.SPARK_HOME), "TMPDIR": scratch, "SPARK_LOCAL_DIRS": scratch}
            environment = java.environment({**environment, **places})

            def is_ready():
                with suppress(OSError, LookupError):  # a page that is not there, or not whole yet
                    return ready()
                return False

            if not server.start(
                command, environment=environment, record={}, ready=is_ready, timeout_seconds=_START_TIMEOUT_SECONDS
            ):
                pytest.fail(f"{name} did not start\n{_ends_of_logs(folder)}")

        port, page, connect, application = (free_port() for _ in range(4))
        master, token = f"spark://127.0.0.1:{port}", secrets.token_urlsafe(16)
        cluster = Cluster(
            f"sc://localhost:{connect}/;token={token}", f"http://127.0.0.1:{page}", f"http://127.0.0.1:{application}"
        )
        start("master", _daemon("master.Master", port, page), lambda: cluster.workers() == [])
        keys_and_python = worker_environment(endpoint)
        for name in (f"worker-{number}" for number in range(WORKERS)):
            share = ("--cores", 1, "--memory", "1g", "--work-dir", folder / name / "work")
            start(
                name,
                _daemon("worker.Worker", free_port(), free_port(), *share, master),
                # executors inherit all of it
                **keys_and_python,
                JAVA_HOME=_java_home(folder / name),
                SPARK_SCALA_VERSION="2.13",  # Spark's shell scripts, which are not used here, set it
            )
        properties = private_folder(folder / "connect") / "spark.properties"
        wanted = {**_conf(folder, endpoint, bucket, master, connect), "spark.ui.port": application}
        write_private(properties, "".join(f"{name} {value}\n" for name, value in wanted.items()))
        start(
            "connect",
            _java("1g", "org.apache.spark.sql.connect.service.SparkConnectServer", "--properties-file", properties),
            lambda: _listens(connect) and len(cluster.completed_tasks()) == WORKERS,
            **keys_and_python,
            SPARK_CONNECT_AUTHENTICATE_TOKEN=token,
        )
        yield cluster


def _conf(folder, endpoint, bucket, master, connect_port):
    """What our engine is started with, and what a cluster needs beside it. No key of the object store is in it."""
    told = {"home": folder / "connect", "user": "cluster", "bucket": bucket}
    settings = Settings.load(**told, engine_memory="1g", spark_ui=True)
    return {
        **conf.engine_conf(settings, endpoint, master=master, connect_port=connect_port),
        "spark.executor.cores": "1",
        "spark.executor.memory": "768m",
        "spark.executor.extraClassPath": f"{jars.folder()}/*",
        "spark.executor.extraJavaOptions": " ".join(_JVM_OPTIONS),
        "spark.log.level": "WARN",
    }


def _daemon(name, port, page_port, *arguments):
    """The command of a master or worker."""
    address = ("--host", "127.0.0.1", "--port", port, "--webui-port", page_port)
    no_rest = ("--conf", "spark.master.rest.enabled=false")  # it would listen on a port that nobody chose
    command = _java("256m", f"org.apache.spark.deploy.{name}", *no_rest)
    return [*command, *map(str, (*address, *arguments))]


def _java(heap, main, *arguments):
    options = [f"-Xmx{heap}", *_JVM_OPTIONS]
    return java.spark_submit(jars.ensure_jars(), options, *map(str, arguments), "--class", main, "spark-internal")


def _java_home(folder):
    """The wheel's small Java for executors: Spark asks theirs for a module that it does not have."""
    command = folder / "java" / "bin" / "java"
    command.parent.mkdir(parents=True)
    command.write_text(
        "#!/bin/sh\n"
        'for one in "$@"; do shift; [ "$one" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$one"; done\n'
        f'exec "{java.java()}" "$@"\n'
    )
    command.chmod(0o755)
    return str(folder / "java")


def _ends_of_logs(folder):
    """Of every process, executors included: the one that failed is often not the one that was waited for."""
    executors = sorted(folder.glob("worker-*/*/*/*/std*"), key=lambda log: log.stat().st_mtime)[-2 * WORKERS :]
    logs = [*sorted(folder.glob("*/server.log")), *executors]
    return "\n".join(f"--- {log.relative_to(folder)}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)


def _json(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""What the engine and the object store have used up: processor time and requests, by their own counters."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from lakehouse.engine import engine_pid
from lakehouse.lake import Lake
from lakehouse.storage import StoreEndpoint


@dataclass(frozen=True)
class Used:
    """What was used between two moments.

    Attributes:
        cpu_seconds: Of the engine with its Python workers, and of this process; None for an engine elsewhere.
        s3_requests: That the store has served; None where it does not tell (only MinIO does).
    """

    cpu_seconds: float | None
    s3_requests: float | None


@dataclass(frozen=True)
class Usage:
    """Counters at one moment.

    Attributes:
        cpu_seconds: By process; None for an engine elsewhere.
        s3_requests: Since the store began; None where it does not tell.
    """

    cpu_seconds: dict[int, float] | None
    s3_requests: float | None

    def since(self, earlier: Usage) -> Used:
        """The difference. Of a process that has ended what it used since then is missing: nobody inherits it."""
        cpu = requests = None
        if self.cpu_seconds is not None and earlier.cpu_seconds is not None:
            cpu = sum(seconds - earlier.cpu_seconds.get(pid, 0.0) for pid, seconds in self.cpu_seconds.items())
        if self.s3_requests is not None and earlier.s3_requests is not None:
            requests = self.s3_requests - earlier.s3_requests
        return Used(cpu, requests)


def usage(lake: Lake) -> Usage:
    """The counters now."""
    remote = lake.settings.spark_remote
    engine = engine_pid(lake.settings) if remote is None else None
    elsewhere = remote is not None and remote.get_secret_value().startswith("sc://")
    pids = {os.getpid()} | ({engine} if engine else set())
    return Usage(None if elsewhere else _cpu_seconds(pids), _s3_requests(lake.endpoint))


def _cpu_seconds(pids: set[int]) -> dict[int, float]:
    """Of processes and their children; children that were waited for count as their parent's."""
    found: dict[int, float] = {}
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            for member in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    found[member.pid] = sum(member.cpu_times()[:4])
    return found


def _s3_requests(endpoint: StoreEndpoint) -> float | None:
    """MinIO's count; it asks for a token that is signed with the store's keys."""
    try:
        answer = urllib3.request(
            "GET",
            f"{endpoint.url}/minio/metrics/v3/api/requests",
            headers={"Authorization": f"Bearer {_token(endpoint)}"},
            timeout=5,
            retries=False,
        )
    except urllib3.exceptions.HTTPError:
        return None
    if answer.status != 200:
        return None
    families = text_string_to_metric_families(answer.data.decode())
    samples = [sample for family in families for sample in family.samples if sample.name == "minio_api_requests_total"]
    return sum(sample.value for sample in samples)


def _token(endpoint: StoreEndpoint) -> str:
    def encoded(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"exp": int(time.time()) + 60, "sub": endpoint.access_key.get_secret_value(), "iss": "prometheus"}
    parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "HS512", "typ": "JWT"}, claims)]
    signed = b".".join(parts)
    signature = hmac.new(endpoint.secret_key.get_secret_value().encode(), signed, hashlib.sha512).digest()
    return b".".join([signed, encoded(signature)]).decode()

"""What the local engine needs of memory, for large files and for many."""

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import obstore
import pyarrow as pa
import pytest
from recording_proxy import RecordingProxy
from store.local_world import TABLE, LocalWorld

from lakehouse.direct.data_files import DataFiles
from lakehouse.storage.fast_store import s3_bucket

BOUND_MB = 400
PROGRAM = """
import json, re, sys
from pathlib import Path
from lakehouse.direct import pool, worker
from lakehouse.lake import Lake
from lakehouse.pipeline import run_table
from lakehouse.settings import Settings

def peak_mb(pid):
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) / 1024

readers, plain = [], worker.Worker.close
def close(one):
    readers.append(peak_mb(one._process.pid))
    plain(one)
worker.Worker.close = close
report = run_table(None, Lake.open(Settings.load()), "bronze.things")
print(json.dumps({"rows": report.rows_added, "here": peak_mb("self"), "readers": readers}))
"""


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path)


def measured(things):
    """Rows and peaks in MB of a run in a process of its own."""
    settings = things.lake.settings
    environment = {
        **os.environ,
        "LAKEHOUSE_HOME": str(settings.home),
        "LAKEHOUSE_DECLARATION": str(settings.declaration),
        "LAKEHOUSE_USER": settings.user,
        "LAKEHOUSE_BUCKET": settings.bucket,
        "LAKEHOUSE_LANDING_PREFIX": settings.landing_prefix,
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    print(said)
    return said


def lines(size_mb):
    """So many MB of lines of about 300 bytes, no two alike."""
    line = '{{"id": {0}, "name": "name {0}", "amount": {0}.25, "at": "2026-01-02T03:04:05Z", "text": "{1}"}}\n'
    size, number = 0, 0
    while size < size_mb << 20:
        some = "".join(line.format(n, f"{n:x}" * 30) for n in range(number, number + 20_000)).encode()
        yield some
        number, size = number + 20_000, size + len(some)


@pytest.mark.soak("a file of 1 GB, where test_reader_memory.py has 300 MB and no writing")
def test_a_file_of_1_gb_is_loaded_in_bounded_memory(things):
    things.declare(options={"cloudFiles.inferColumnTypes": True})
    bucket = s3_bucket(things.lake.endpoint, things.bucket)
    with obstore.open_writer(bucket, f"{things.folder}large.json") as upload:
        for some in lines(1024):
            upload.write(some)
    said = measured(things)
    assert said["rows"] > 2_000_000
    assert max([said["here"], *said["readers"]]) < BOUND_MB
    assert said["readers"]


@pytest.mark.soak("the same, where the file cannot be cut into parts")
def test_a_packed_file_is_loaded_in_bounded_memory(things):
    packed = b"".join(gzip.compress(some, 1) for some in lines(1200))
    things.declare(options={"cloudFiles.inferColumnTypes": True}).put("large.json.gz", packed)
    said = measured(things)
    assert said["rows"] > 2_000_000
    assert max([said["here"], *said["readers"]]) < BOUND_MB


@pytest.mark.soak("XML of 100 MB, where tests/unit/autoloader/test_xml.py has 16 MB and no store")
def test_a_large_file_of_xml_is_loaded_in_bounded_memory(things):
    record = '<book id="{0}"><title>title {0}</title><tag>a</tag><tag>b</tag><text lang="en">{1}</text></book>\n'
    things.declare(
        format="xml", options={"rowTag": "book"}, schema={"_id": "INT", "title": "STRING", "tag": "ARRAY<STRING>"}
    )
    bucket = s3_bucket(things.lake.endpoint, things.bucket)
    number = 0
    with obstore.open_writer(bucket, f"{things.folder}large.xml") as upload:
        upload.write(b"<books>")
        while number < 50_000:
            some = "".join(record.format(n, f"{n:08x}" * 250) for n in range(number, number + 5_000))
            upload.write(some.encode())
            number += 5_000
        upload.write(b"</books>")
    said = measured(things)
    assert said["rows"] == 50_000
    assert max([said["here"], *said["readers"]]) < BOUND_MB


@pytest.mark.soak("twenty thousand files in one batch")
def test_many_small_files_are_loaded_in_bounded_memory(things):
    things.declare(options={"cloudFiles.inferColumnTypes": True, "cloudFiles.maxFilesPerTrigger": 20_000})
    for number in range(20_000):
        things.put(f"{number:05}.json", [{"a": number}])
    said = measured(things)
    assert said["rows"] == 20_000
    assert max([said["here"], *said["readers"]]) < BOUND_MB
    assert things.lake.describe(TABLE).rows == 20_000


def test_a_slow_store_is_sent_few_pieces_at_once(things):
    here, most, lock = [], [0], threading.Lock()
    proxy = RecordingProxy(int(things.lake.endpoint.url.rsplit(":", 1)[1]), rb"\.parquet")

    def slow(path, port):
        with lock:
            here.append(path)
            most[0] = max(most[0], len(here))
        time.sleep(0.2)
        with lock:
            here.remove(path)

    proxy.on_write = slow
    endpoint = replace(things.lake.endpoint, url=proxy.url)
    files = DataFiles(endpoint, f"s3a://{things.bucket}/{things.folder}table")
    for _ in range(2):
        files.add(pa.RecordBatch.from_pydict({"bytes": [os.urandom(1 << 20) for _ in range(33)]}))
    [written] = files.finish()
    proxy.listener.close()
    assert written.rows == 66
    assert 1 < most[0] <= 3, "each piece is 8 MB of memory"

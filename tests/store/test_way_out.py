"""Scripts that read a table end as they should: nothing of the reader is left when the interpreter goes."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyarrow.fs import PyFileSystem

TABLE = "bronze.many_files"
# after a look at the first rows, the reader has begun upon files that nobody waits for
READS = {
    "head": "lake.rows(TABLE).head(5)",
    "head of added files": "lake.added_since(TABLE, None).head(5)",
    "first batch": "batches = lake.rows(TABLE).to_batches(); next(batches)",
    "all": "lake.delta(TABLE).to_pandas()",
    "of a path": "lake.delta_at(lake.settings.table_uri(TABLE)).to_pyarrow_table()",
}
SCRIPT = """
import sys

from lakehouse.lake import Lake
TABLE, lake = sys.argv[1], Lake.open()
{read}
print("its work is done", flush=True)
"""


@pytest.fixture
def many_files(lake):
    """The same rows in 40 data files."""
    uri = lake.settings.table_uri(TABLE).replace("s3a://", "s3://", 1)
    rows = pa.table({"part": [n % 40 for n in range(4000)], "text": ["x" * 30] * 4000, "number": range(4000)})
    write_deltalake(uri, rows, partition_by=["part"], storage_options=lake.endpoint.deltalake_options())
    return lake


def exits(environment, reads):
    """Exit codes and last words of a script for each of ``reads``; two at a time."""

    def run(read):
        command = [sys.executable, "-c", SCRIPT.format(read=READS[read]), TABLE]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return read, done.returncode, done.stdout, done.stderr

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, reads))


def as_they_should(reads):
    return [(read, 0, "its work is done\n", "") for read in reads]


def test_a_script_that_reads_a_table_ends_with_0(many_files, environment):
    reads = list(READS)
    assert exits(environment, reads) == as_they_should(reads)


@pytest.mark.soak("two hundred exits, for what only happens in some of them")
@pytest.mark.timeout(1500)
def test_two_hundred_scripts_that_read_a_table_end_with_0(many_files, environment):
    reads = list(READS) * 40
    assert exits(environment, reads) == as_they_should(reads)


def test_no_reader_of_the_lake_has_a_file_system_in_python(many_files):
    for read in (
        many_files.rows(TABLE),
        many_files.added_since(TABLE, None),
        many_files.delta(TABLE).to_pyarrow_dataset(),
    ):
        filesystem = read.filesystem
        while hasattr(filesystem, "base_fs"):
            filesystem = filesystem.base_fs
        assert not isinstance(filesystem, PyFileSystem)


def test_rows_are_read_whatever_their_partitions_are_called(lake):
    names = ["50 % off", "a/b", "ü=&?#", "%2F", "+"]
    uri = lake.settings.table_uri(TABLE).replace("s3a://", "s3://", 1)
    options = lake.endpoint.deltalake_options()
    for first in (0, 5):
        rows = pa.table({"name": names, "number": range(first, first + 5)})
        write_deltalake(uri, rows, mode="append", partition_by=["name"], storage_options=options)
    assert sorted(lake.rows(TABLE).to_table()["name"].to_pylist()) == sorted(names * 2)
    assert sorted(lake.added_since(TABLE, 0).to_table()["number"].to_pylist()) == [5, 6, 7, 8, 9]

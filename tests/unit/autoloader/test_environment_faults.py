"""What this machine lacks fails the batch; what is wrong with a file leaves out the file."""

import errno
import gzip
import io

import pyarrow as pa
import pytest

from lakehouse.autoloader.formats.orc import merged
from lakehouse.autoloader.formats.parquet import infer_parquet, parse_parquet
from lakehouse.autoloader.formats.rows import BadFile, OutOfMemory, Target, raise_if_environment
from lakehouse.autoloader.reading.decompress import unpack
from lakehouse.errors import StreamFailed

OURS = [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EIO, errno.EFBIG, errno.ENOENT]


class Broken(io.BytesIO):
    """A temporary file whose disk fails when it is read."""

    def __init__(self, number):
        super().__init__(b"PAR1" + b"x" * 100 + b"PAR1")
        self._number = number

    def read(self, size=-1):
        raise OSError(self._number, "said by the system")


def caught(call):
    with pytest.raises(Exception) as raised:
        call()
    return raised.value


@pytest.mark.parametrize("number", OURS, ids=errno.errorcode.get)
def test_a_system_call_that_fails_is_never_the_files_fault(number):
    def pieces():
        yield gzip.compress(b"{}\n")
        raise OSError(number, "said by the system")

    unpacked = caught(lambda: unpack(pieces(), "gzip", 1 << 20))
    parsed = caught(lambda: list(parse_parquet(Broken(number), Target([], {}, "s3a://b/a.parquet"))))
    for error in (unpacked, parsed, OSError(number, "said by the system")):
        with pytest.raises(StreamFailed, match="said by the system") as raised:
            raise_if_environment(error, "s3a://b/a")
        assert raised.value.where == "s3a://b/a"
        assert raised.value.next_command


@pytest.mark.parametrize("number", OURS, ids=errno.errorcode.get)
def test_inference_leaves_out_no_sample_for_a_fault_of_this_machine(number):
    with pytest.raises(StreamFailed, match="said by the system"):
        infer_parquet([Broken(number)], reader={}, infer_column_types=True)


def test_memory_is_this_machines_fault_unless_a_file_asks_for_more_than_there_can_be():
    impossible = caught(lambda: pa.allocate_buffer(1 << 60))
    assert raise_if_environment(impossible, "a") is None
    for error in (MemoryError(), pa.ArrowMemoryError("malloc of size 1024 failed")):
        with pytest.raises(OutOfMemory, match="memory") as raised:
            raise_if_environment(error, "a")
        assert isinstance(raised.value, MemoryError)  # a probe counts it as a death


@pytest.mark.parametrize(
    "data",
    # without the moment of packing: it would be in the test's name, and the processes of a run must agree on names
    [b"", b"\x1f\x8b", gzip.compress(b"x" * 9, mtime=0)[:-3], b"no gzip", b"\x1f\x8b\x08\xff" * 9],
)
def test_damaged_bytes_are_the_files_fault(data):
    try:
        with unpack([data], "gzip", 1 << 20):
            assert not data
    except BadFile as error:
        assert raise_if_environment(error, "a") is None
    else:
        assert not data


def test_a_seek_to_nowhere_is_the_files_fault(tmp_path):
    with (tmp_path / "a").open("w+b") as file:
        error = caught(lambda: file.seek(-5))
    assert error.errno == errno.EINVAL
    assert raise_if_environment(error, "a") is None
    assert merged([], lambda file: pa.schema([])).fields == []

"""Compressed files by extension, whole or not at all."""

import bz2
import gzip
import zlib

import pyarrow as pa
import pytest

from lakehouse.autoloader.formats.rows import BadFile
from lakehouse.autoloader.reading.decompress import compression_of, refuse_disguised, unpack

TEXT = b"line of text\n" * 10_000


def by_arrow(codec):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(TEXT)
    return sink.getvalue().to_pybytes()


PACKED = {
    "gzip": gzip.compress(TEXT),
    "bz2": bz2.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "zstd": by_arrow("zstd"),
    "lz4": by_arrow("lz4"),
    "none": TEXT,
}


@pytest.mark.parametrize("codec", PACKED)
@pytest.mark.parametrize("piece", [1, 1000, 1 << 20])
def test_what_was_packed_comes_back_however_it_arrives(codec, piece):
    if piece == 1 and codec == "none":
        piece = 7
    data = PACKED[codec]
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    assert unpack(pieces, codec, len(TEXT)).read() == TEXT


@pytest.mark.parametrize("codec", PACKED)
def test_more_than_the_limit_is_refused(codec):
    with pytest.raises(BadFile, match="TOO_LARGE_UNPACKED"):
        unpack([PACKED[codec]], codec, len(TEXT) - 1)


@pytest.mark.parametrize("codec", ["gzip", "bz2", "deflate"])
def test_a_file_that_was_cut_gives_nothing(codec):
    with pytest.raises(BadFile, match="TRUNCATED"):
        unpack([PACKED[codec][:-9]], codec, 1 << 30)


@pytest.mark.parametrize("codec", [name for name in PACKED if name != "none"])
def test_noise_is_no_file_of_any_codec(codec):
    with pytest.raises(BadFile):
        unpack([b"surely not compressed"], codec, 1 << 30)


@pytest.mark.parametrize(
    ("key", "codec"),
    [("a.json.gz", "gzip"), ("A.GZ", "gzip"), ("a.bz2", "bz2"), ("a.zst", "zstd"), ("a.json", None), ("gz", None)],
)
def test_the_extension_names_the_codec(key, codec):
    assert compression_of(key) == codec


@pytest.mark.parametrize("codec", ["gzip", "bz2", "zstd"])
def test_compressed_bytes_under_another_name_are_refused(codec):
    with pytest.raises(BadFile, match="WRONG_EXTENSION"):
        refuse_disguised(PACKED[codec], "s3a://b/k")
    refuse_disguised(TEXT, "s3a://b/k")

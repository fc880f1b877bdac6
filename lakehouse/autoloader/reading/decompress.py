"""Compressed files, known by their extension: unpacked whole, up to a limit, before a row of them is handed on."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

import pyarrow as pa

from lakehouse.autoloader.formats.encoding import refuse_wide
from lakehouse.autoloader.formats.rows import BadFile

_CHUNK_BYTES = 1 << 20
_IN_MEMORY_BYTES = 64 << 20
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstandard"}


def compression_of(key: str) -> str | None:
    """The codec that a key's extension names, as Spark understands extensions; None without one."""
    names = {".gz": "gzip", ".gzip": "gzip", ".bz2": "bz2", ".deflate": "deflate", ".zst": "zstd", ".lz4": "lz4"}
    return next((codec for end, codec in names.items() if key.lower().endswith(end)), None)


def refuse_disguised(data: bytes, path: str) -> None:
    """Raises ``BadFile`` for bytes that are no UTF-8: UTF-16, or compressed under a name that does not say so."""
    refuse_wide(data, path)
    for magic, name in _MAGIC.items():
        if data.startswith(magic):
            raise BadFile("WRONG_EXTENSION", f"the content is {name}, but the name does not say so")


def unpack(pieces: Iterable[bytes], codec: str, max_bytes: int) -> IO[bytes]:
    """The unpacked file: in memory while it is small, else in a temporary file.

    Raises:
        BadFile: it is not of that codec, ends too early, or grows past ``max_bytes``.
    """
    packed = _spool(pieces)
    unpacked = cast(IO[bytes], SpooledTemporaryFile(_IN_MEMORY_BYTES))  # noqa: SIM115  (handed on)
    size = 0
    try:
        for chunk in _chunks(packed, codec):
            size += len(chunk)
            if size > max_bytes:
                raise BadFile(
                    "TOO_LARGE_UNPACKED",
                    f"it grows past cloudFiles.maxDecompressedBytes, {max_bytes:,} bytes",
                )
            unpacked.write(chunk)
    except (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowInvalid) as error:
        text = str(error) or "it ends too early"
        raise BadFile("TRUNCATED" if isinstance(error, EOFError) else "NOT_" + codec.upper(), text) from error
    finally:
        packed.close()
    unpacked.seek(0)
    return unpacked


def _spool(pieces: Iterable[bytes]) -> IO[bytes]:
    packed = cast(IO[bytes], SpooledTemporaryFile(_IN_MEMORY_BYTES))  # noqa: SIM115
    for piece in pieces:
        packed.write(piece)
    packed.seek(0)
    return packed


def _chunks(packed: IO[bytes], codec: str) -> Iterator[bytes]:
    if codec in _STREAMS:
        yield from _STREAMS[codec](packed)
        return
    stream: Any = packed
    if codec == "gzip":
        stream = gzip.GzipFile(fileobj=packed, mode="rb")
    elif codec != "none":
        stream = pa.CompressedInputStream(pa.PythonFile(packed, "r"), codec)
    yield from iter(lambda: stream.read(_CHUNK_BYTES), b"")


def _deflated(packed: IO[bytes]) -> Iterator[bytes]:
    engine, left = zlib.decompressobj(), b""
    while left or (left := packed.read(_CHUNK_BYTES)):
        if engine.eof:
            engine = zlib.decompressobj()  # streams one after another, as ``cat`` joins files
        yield engine.decompress(left, _CHUNK_BYTES)
        left = engine.unused_data if engine.eof else engine.unconsumed_tail
    yield engine.flush()
    if not engine.eof:
        raise EOFError


def _bzipped(packed: IO[bytes]) -> Iterator[bytes]:
    # not with BZ2File, which takes a damaged later stream for the file's end and says nothing
    engine, left = bz2.BZ2Decompressor(), packed.read(_CHUNK_BYTES)
    while True:
        yield engine.decompress(left, _CHUNK_BYTES)
        left = b""
        if engine.eof:
            if not (left := engine.unused_data or packed.read(_CHUNK_BYTES)):
                return
            engine = bz2.BZ2Decompressor()
        elif engine.needs_input and not (left := packed.read(_CHUNK_BYTES)):
            raise EOFError


_STREAMS = {"deflate": _deflated, "bz2": _bzipped}

"""How many rows a stream's state holds, read from Spark's own files without Spark.

Spark's default store keeps each partition as a snapshot now and then, and what changed since: ``N.snapshot`` and
``N.delta``, where N is the number of finished batches. Each is a list of keys with values, or without one for a
key that went, in blocks of LZ4. (Spark 4.2, ``HDFSBackedStateStoreProvider``.)
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence

import pyarrow as pa

from lakehouse.checkpoints.agreement import object_key
from lakehouse.lake import Lake
from lakehouse.storage import ObjectInfo

_MOST_BYTES = 64 << 20
_FILE = re.compile(r"state/(\d+/\d+(?:/[\w-]+)?)/(\d+)\.(snapshot|delta)")
_MAGIC, _HEADER, _RAW, _LZ4 = b"LZ4Block", struct.Struct("<8sBiii"), 0x10, 0x20


def state_rows(lake: Lake, table: str, found: Sequence[ObjectInfo], finished: int | None) -> int | None:
    """Rows of the state after the last finished batch.

    Args:
        lake: Where the checkpoint is.
        table: The table.
        found: All objects of the checkpoint.
        finished: Its last finished batch.

    Returns:
        None where there is no state, it is larger than 64 MB, or it is kept by another store than Spark's default.
    """
    prefix = object_key(lake, table, "")
    stores: dict[str, dict[tuple[int, str], ObjectInfo]] = defaultdict(dict)
    for info in found:
        if named := _FILE.fullmatch(info.key.removeprefix(prefix)):
            stores[named[1]][int(named[2]), named[3]] = info
    if not stores or finished is None:
        return None
    upto = finished + 1
    wanted = [_files(versions, upto) for versions in stores.values()]
    if sum(info.size_bytes for files in wanted for info in files) > _MOST_BYTES:
        return None
    try:
        return sum(_keys([lake.store.read(lake.settings.bucket, file.key) for file in files]) for files in wanted)
    except (ValueError, struct.error, OSError):
        return None


def _files(versions: dict[tuple[int, str], ObjectInfo], upto: int) -> list[ObjectInfo]:
    """The newest snapshot up to a version, and what changed since."""
    snapshot = max((number for number, kind in versions if kind == "snapshot" and number <= upto), default=0)
    first = [versions[snapshot, "snapshot"]] if snapshot else []
    later = [versions[number, "delta"] for number in range(snapshot + 1, upto + 1) if (number, "delta") in versions]
    return first + later


def _keys(contents: Sequence[bytes]) -> int:
    there: set[bytes] = set()
    for content in contents:
        for key, has_value in _changes(b"".join(_blocks(content))):
            (there.add if has_value else there.discard)(key)
    return len(there)


def _changes(data: bytes) -> Iterator[tuple[bytes, bool]]:
    at = 0
    while True:
        (size,) = struct.unpack_from(">i", data, at)
        if size < 0:
            return
        key = data[at + 4 : at + 4 + size]
        at += 4 + size
        (value,) = struct.unpack_from(">i", data, at)
        at += 4 + max(value, 0)
        yield key, value >= 0


def _blocks(content: bytes) -> Iterator[bytes]:
    at, codec = 0, pa.Codec("lz4_raw")
    while at < len(content):
        magic, token, packed, plain, _ = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        if magic != _MAGIC:
            raise ValueError("this is no block of LZ4")
        block = content[at : at + packed]
        at += packed
        if token & 0xF0 == _RAW:
            yield block
        elif token & 0xF0 == _LZ4:
            yield codec.decompress(block, plain, asbytes=True)
        else:
            raise ValueError(f"unknown way of packing {token}")

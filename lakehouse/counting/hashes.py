"""Hashes of keys, 48 bits each. They are kept, so they are the same on every machine and in every version."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.counting.data_files import OnlySpark
from lakehouse.python_values import listed

BITS = 48
"""Bits of a hash. Among 2 to the 24th keys a few share a hash by chance; the values of such keys are compared."""

Hashes = npt.NDArray[np.uint64]

_ODD = np.uint64(0x9E3779B97F4A7C15)
_ONE, _BYTE = np.uint64(1), np.uint64(8)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def plain(values: pa.Array) -> pa.Array:
    """The values with one NaN and one zero, as Spark groups them: equal values have equal bytes then."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_float16(values.type) or not pa.types.is_floating(values.type):
        return values
    zero = pa.scalar(0.0, values.type)
    values = pc.if_else(pc.equal(values, zero), zero, values)
    return pc.if_else(pc.is_nan(values), pa.scalar(float("nan"), values.type), values)


def comparable(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The values in a form that Arrow groups by value: nested values as JSON text."""
    if not pa.types.is_nested(values.type):
        return plain(values)
    return pa.array([None if item is None else json.dumps(item, default=repr) for item in listed(values)], pa.string())


def hashes_of(columns: Sequence[pa.Array]) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """The hash of each row's key, and whether the row has a key: a key with a NULL counts as none.

    Raises:
        OnlySpark: a column is of a type that has no hash here.
    """
    found = np.zeros(len(columns[0]), np.uint64)
    there = np.ones(len(columns[0]), bool)
    for values in map(plain, columns):
        there &= pc.is_valid(values).to_numpy(zero_copy_only=False)
        found = _mixed(found * _ODD + _of_values(values))
    return found >> np.uint64(64 - BITS), there


def _mixed(words: Hashes) -> Hashes:
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


def _of_values(values: pa.Array) -> Hashes:
    type_ = values.type
    if pa.types.is_string(type_) or pa.types.is_binary(type_):
        return _of_texts(values)
    if pa.types.is_boolean(type_):
        return _mixed(pc.fill_null(values, False).to_numpy(zero_copy_only=False).astype(np.uint64))
    if pa.types.is_decimal128(type_):
        words = np.frombuffer(values.buffers()[1], np.uint64)[2 * values.offset : 2 * (values.offset + len(values))]
        return _mixed(_mixed(words[::2]) * _ODD + words[1::2])
    if pa.types.is_floating(type_):
        return _mixed(pc.fill_null(values.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False).view(np.uint64))
    if pa.types.is_date32(type_):
        values = values.cast(pa.int32())
    if pa.types.is_timestamp(type_) or pa.types.is_integer(values.type):
        numbers = pc.fill_null(values.cast(pa.int64()), 0)
        return _mixed(numbers.to_numpy(zero_copy_only=False).view(np.uint64))
    raise OnlySpark(f"a key is of type {type_}")


def _of_texts(values: pa.Array) -> Hashes:
    rows = len(values)
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + rows + 1].astype(np.int64)
    first, lengths = offsets[:-1], np.diff(offsets)
    found = _mixed(lengths.view(np.uint64))
    if not rows or offsets[-1] == offsets[0]:
        return found
    # eight bytes at a time, taken from the two aligned words that have them; zeros follow the last text
    size = int(offsets[-1] - offsets[0])
    words = np.zeros(size // 8 + 3, np.uint64)
    words.view(np.uint8)[:size] = np.frombuffer(values.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    place, left = first - offsets[0], lengths
    rows_left: npt.NDArray[np.int64] | None = None  # None for all
    while True:
        if (done := left <= 0).any():
            rows_left = np.flatnonzero(~done) if rows_left is None else rows_left[~done]
            place, left = place[~done], left[~done]
        if not len(left):
            return found
        word = _word_at(words, place)
        if (short := left < 8).any():
            word[short] &= (_ONE << (left[short].astype(np.uint64) * _BYTE)) - _ONE
        if rows_left is None:
            found = _mixed(found * _ODD + word)
        else:
            found[rows_left] = _mixed(found[rows_left] * _ODD + word)
        place, left = place + 8, left - 8


def _word_at(words: Hashes, place: npt.NDArray[np.int64]) -> Hashes:
    number, shift = place >> 3, (place & 7).astype(np.uint64) * _BYTE
    # a processor does not shift by all 64 bits: so the shift is made in two steps
    return (words[number] >> shift) | (words[number + 1] << (np.uint64(63) - shift) << _ONE)

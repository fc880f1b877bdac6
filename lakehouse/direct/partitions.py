"""Dividing rows by a table's partition columns, and naming the folders of partitions as Hive and Delta do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from lakehouse.python_values import day_text

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_ESCAPED = re.compile(r"[\x00-\x1f\x7f\"#%'*/:=?\\{\[\]^]")
"""What Hive, and Spark after it, escapes in the name of a folder."""


@dataclass(frozen=True)
class Partition:
    """The values that the rows of a partition share.

    Attributes:
        values: By column, as Delta's log has them; None for NULL.
        folder: ``country=DE/day=2026-11-26/``; empty without partition columns.
    """

    values: dict[str, str | None]
    folder: str


def partitions_of(table: pa.Table, columns: Sequence[str]) -> Iterator[tuple[Partition, pa.Table]]:
    """The rows of each partition, without the partition columns."""
    codes = np.zeros(table.num_rows, np.int64)
    values: list[list[str | None]] = []
    for name in columns:
        encoded = table[name].combine_chunks().dictionary_encode(null_encoding="encode")
        texts = spelled(encoded.dictionary)
        own = list(dict.fromkeys(texts))  # an empty text and NULL make one folder
        place = {text: at for at, text in enumerate(own)}
        same = np.array([place[text] for text in texts], np.int64)
        codes = codes * max(len(own), 1) + same[encoded.indices.to_numpy(zero_copy_only=False)]
        values.append(own)
    rest = table.drop_columns(list(columns))
    order = np.argsort(codes, kind="stable")
    found, first = np.unique(codes[order], return_index=True)
    for code, low, high in zip(found.tolist(), first, [*first[1:], len(order)], strict=True):
        of_code: list[str | None] = []
        for own in reversed(values):
            code, at = divmod(code, len(own))
            of_code.append(own[at])
        pairs = dict(zip(columns, reversed(of_code), strict=True))
        yield Partition(pairs, folder_of(pairs)), rest.take(pa.array(order[low:high]))


def spelled(values: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """The values as Delta's log has them; None for NULL."""
    if pa.types.is_date32(values.type):  # not Python's, which have few years
        return [None if days is None else day_text(days) for days in values.cast(pa.int32()).to_pylist()]
    return [_spelled(value) for value in values.to_pylist()]


def _spelled(value: Any) -> str | None:
    if value is None or value == "":
        return None  # an empty text makes no folder: it is NULL for Spark, too
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def folder_of(pairs: dict[str, str | None]) -> str:
    """``country=DE/``, with a slash at the end."""
    return "".join(
        f"{_escaped(name)}={_NO_VALUE if value is None else _escaped(value)}/" for name, value in pairs.items()
    )


def _escaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", text)

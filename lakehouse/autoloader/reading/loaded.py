"""Parsed rows, and where each of them is from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from lakehouse.autoloader.files.plan import Span


@dataclass(frozen=True)
class Loaded:
    """Parsed rows with their origin: for each row (and bad record) which of ``spans`` it is from, and which record."""

    table: pa.Table
    spans: Sequence[Span]
    owners: np.ndarray
    records: np.ndarray
    bad: pa.Table | None = None
    bad_owners: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

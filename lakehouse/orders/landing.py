"""The files in the orders' landing folder, by a single listing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lakehouse.lake import Lake
from lakehouse.orders.tables import ORDER_FILES
from lakehouse.storage import ObjectInfo


@dataclass(frozen=True)
class Landing:
    """What lies in the landing folder.

    Attributes:
        orders: Order files, oldest key first.
        ignored: Objects that are no order files: another name, a folder marker, no bytes.
    """

    orders: tuple[ObjectInfo, ...]
    ignored: tuple[ObjectInfo, ...]

    @property
    def next_number(self) -> int:
        """The number after the highest; a count would, after a removal, name a file that was loaded already."""
        numbers = [re.search(r"orders_stream_(\d+)\.json$", info.key) for info in self.orders]
        return max((int(found[1]) + 1 for found in numbers if found), default=0)


def is_order_file(info: ObjectInfo) -> bool:
    """Whether an object is input. An empty object is not: its sender is still writing, or had no orders."""
    name = info.key.rsplit("/", 1)[-1]
    return info.size_bytes > 0 and fnmatchcase(name, ORDER_FILES)


def look_at_landing(lake: Lake) -> Landing:
    """Lists the landing folder."""
    listed = list(lake.store.list(lake.settings.landing_bucket, lake.settings.landing_prefix))
    orders = tuple(info for info in listed if is_order_file(info))
    return Landing(orders, tuple(info for info in listed if not is_order_file(info)))

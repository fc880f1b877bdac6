"""In which partitions data files were that the newest version of a table does not have any more."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from deltalake.exceptions import DeltaError

from lakehouse.delta_log import removed_paths
from lakehouse.lake import Lake, LakeTable, adds_of, partitions_of
from lakehouse.storage import ObjectMissing

if TYPE_CHECKING:
    from pyarrow.dataset import Expression


def older_partitions(lake: Lake, uri: str, newest: int, paths: Collection[str]) -> dict[str, Expression]:
    """What Arrow has to know of files that were taken out of a table: their values of partition columns, by path.

    Commits are read from the newest back, until each file is found in the version before the commit that took it out.
    Files of which the log tells nothing any more are left out.

    Args:
        lake: Where the table is.
        uri: Its folder.
        newest: Its newest version.
        paths: The files.
    """
    found: dict[str, Expression] = {}
    wanted = set(paths)
    for version in range(newest, 0, -1):
        if not wanted:
            break
        try:
            if removed := wanted & removed_paths(lake.store, uri, version):
                before = LakeTable(uri, lake.endpoint, version - 1)
                known = partitions_of(before, adds_of(before))
                found |= {path: known[path] for path in removed & known.keys()}
                wanted -= found.keys()
        except (ObjectMissing, DeltaError):
            break
    return found

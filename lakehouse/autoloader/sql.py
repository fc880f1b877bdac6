"""``cloud_files_state`` as a table function of SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lakehouse.autoloader.outcomes.file_states import STATE_DDL, as_rows, file_states
from lakehouse.storage.by_place import PlacedStore
from lakehouse.storage.environment import endpoint_from_environment
from lakehouse.storage.fast_store import FastStore


class CloudFilesState:
    """``SELECT * FROM cloud_files_state('s3a://bucket/folder')``: a checkpoint, or a schema location; local, too."""

    def eval(self, location: str) -> Iterator[tuple[Any, ...]]:
        """A row for each file version."""
        store = PlacedStore(lambda: FastStore(endpoint_from_environment()))
        yield from as_rows(file_states(store, location))


def register_cloud_files_state(spark: Any) -> None:
    """Makes the function known to a session."""
    from pyspark.sql.functions import udtf

    # told outright: left open, the function would ask whichever session this process made first
    spark.udtf.register("cloud_files_state", udtf(CloudFilesState, returnType=STATE_DDL, useArrow=False))

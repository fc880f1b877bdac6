"""Where the versions of the schema of a table's files are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.autoloader.options.paths import split_uri

if TYPE_CHECKING:
    from lakehouse.autoloader.schema.versions import SchemaLocation
    from lakehouse.lake import Lake


def schema_of(lake: Lake, table: str) -> SchemaLocation:
    """The versions of the schema of the stream into ``table``."""
    from lakehouse.autoloader.schema.versions import SchemaLocation

    return SchemaLocation(lake.store, *split_uri(lake.settings.schema_uri(table)))

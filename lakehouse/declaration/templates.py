"""Texts of declarations: a first file, and a table that is added to a file."""

from __future__ import annotations

from pathlib import Path

from lakehouse.declaration.problems import shown
from lakehouse.errors import ConfigurationError

FIRST = """\
# The tables of this lake. `lakehouse validate` checks the file, `lakehouse ingest` fills the tables.
#
# Files that are on the store already become a table with one command, which writes it here:
#   lakehouse add bronze.customers s3a://landing/customers/ --key id --yes
#
# Or write tables below `tables:`, such as these. ${NAME:-default} takes a variable of the environment.
#
#  bronze.customers:                 # layer.name; the layers are bronze, silver and gold
#    description: Customers, as they were sent.
#    files:                          # every new file under the path is loaded once
#      path: s3a://${LAKEHOUSE_LANDING_BUCKET:-landing}/customers/
#      format: csv                   # json, csv, xml, parquet, avro, orc, text, binaryFile or excel
#      options:
#        cloudFiles.inferColumnTypes: true
#    checks:
#      - not_null: id                # a check that fails stops what comes after the table
#
#  silver.customers:
#    description: Every customer once, as it was sent last.
#    latest:                         # of all versions of a key the last one
#      of: bronze.customers
#      key: id
#    checks:
#      - unique: id
#
#  gold.customers_by_country:
#    rollup:                         # aggregates that follow every change
#      of: silver.customers
#      group: {country: country}
#      aggregates: {customers: count(*)}
#
# For completion in an editor: `lakehouse validate --json-schema > lakehouse.schema.json`, and this as the first line:
#   # yaml-language-server: $schema=lakehouse.schema.json

tables:
"""


def write_first(path: Path) -> None:
    """Writes a first declaration; never over a file.

    Raises:
        ConfigurationError: there is a file, or it cannot be written.
    """
    if path.exists():
        raise _exists(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("x", encoding="utf-8")
    except OSError as error:
        if path.exists():  # since a moment ago
            raise _exists(path) from None
        raise ConfigurationError(
            f"the declaration cannot be written: {error.strerror or error}",
            where=shown(path),
            state="nothing was written",
            next_command="name a folder that can be written: lakehouse init FOLDER",
        ) from None
    with file:
        file.write(FIRST)


def _exists(path: Path) -> ConfigurationError:
    return ConfigurationError(
        "there is a declaration already",
        where=shown(path),
        state="it is as it was",
        next_command="lakehouse validate   (checks it), or lakehouse add   (adds a table to it)",
    )

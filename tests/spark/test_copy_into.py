"""COPY INTO: each file once, in one commit a call."""

import csv
import io
import json
import signal
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import lakehouse, lakehouse_json, start_lakehouse

from lakehouse import copy_into as copies
from lakehouse.copied import APP_ID, CopiedFiles
from lakehouse.copy_into import Copy, copy_into, validate_copy
from lakehouse.errors import ConfigurationError, CopyFailed, LeaseHeld
from lakehouse.pipeline import BRONZE
from lakehouse.storage.environment import environment_of

TABLE = "bronze.copied"


def as_json(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_parquet(rows):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


KINDS = {
    "json": (as_json, {}),
    "csv": (as_csv, {"header": "true", "inferSchema": "true"}),
    "parquet": (as_parquet, {}),
}


class Files:
    """A landing folder, and a table that files are copied into."""

    def __init__(self, spark, lake):
        self.spark, self.lake = spark, lake
        self.uri = lake.settings.landing_uri

    def put(self, name, rows, kind="json"):
        data = rows if isinstance(rows, bytes) else KINDS[kind][0](rows)
        self.lake.store.write(self.lake.settings.landing_bucket, self.lake.settings.landing_prefix + name, data)

    def copy(self, kind="json", **how):
        options = {**KINDS[kind][1], **how.pop("options", {})}
        return copy_into(self.spark, self.lake, Copy(TABLE, self.uri, kind, options=options, **how))

    def validate(self, rows=None, **how):
        return validate_copy(self.lake, Copy(TABLE, self.uri, "json", **how), rows)

    def rows(self, *columns):
        table = self.lake.delta(TABLE).to_pyarrow_table(columns=list(columns) or None)
        return sorted(tuple(row.values()) for row in table.to_pylist())

    def numbers(self):
        return [number for number, *_ in self.rows("a")]


@pytest.fixture
def files(spark, lake):
    return Files(spark, lake)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_copied_once_also_when_it_changed(files, kind):
    files.put("1", [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], kind)
    files.put("2", [{"a": 3, "b": "z"}], kind)
    first = files.copy(kind)
    assert (first.rows, len(first.files), first.already_loaded, first.delta_version) == (3, 2, 0, 0)
    assert files.rows() == [(1, "x"), (2, "y"), (3, "z")]
    assert {one.name: str(one.type.type) for one in files.lake.delta(TABLE).schema().fields} == {"a": "long", "b": "string"} if kind != "csv" else True
    files.put("2", [{"a": 99, "b": "changed"}], kind)
    files.put("sub/3", [{"a": 4, "b": "new"}], kind)
    second = files.copy(kind)
    assert (second.rows, second.already_loaded, second.delta_version) == (1, 2, 1)
    assert files.numbers() == [1, 2, 3, 4]
    third = files.copy(kind)
    assert (third.files, third.delta_version, files.lake.version(TABLE)) == ((), None, 1)

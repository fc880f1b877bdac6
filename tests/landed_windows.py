"""Bronze tables of chosen orders, cut into data files, commits and runs as a test wishes."""

import io
import json
import uuid
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions
from hypothesis import strategies as st
from reference_silver import DATE, judged

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.orders.tables import BRONZE

BEGIN = datetime(2026, 1, 1, 10, tzinfo=UTC)
SCHEMA = pa.schema(
    {
        **dict.fromkeys(("order_id", "customer_id", "order_date"), pa.string()),
        "total_amount": pa.float64(),
        **dict.fromkeys(("payment_method", "product_id"), pa.string()),
        "quantity": pa.int32(),
        "_rescued_data": pa.string(),
        "_processing_time": pa.timestamp("us", "UTC"),
        "_source_file": pa.string(),
        "_source_sequence": pa.int64(),
        "_source_record": pa.int64(),
    }
)
DELTA_SCHEMA = Schema.from_arrow(SCHEMA)


ODD = ["broken", "undated", "1970-01-01 00:00:00", "2999-12-31 23:59:59", "huge"]


class BronzeWriter:
    """Writes the table that ``cloudFiles`` would write: one data file for each list of lines, in their order."""

    def __init__(self, lake):
        self.lake, self.uri = lake, lake.settings.table_uri(BRONZE)
        self.files = 0
        self.moment = None

    def commit(self, files):
        """One commit with these data files: one micro-batch of bronze."""
        self.moment = datetime.now(UTC)
        actions = [self._file(lines) for lines in files]
        place = {"storage_options": self.lake.endpoint.deltalake_options()}
        uri = self.uri.replace("s3a://", "s3://")
        if self.lake.version(BRONZE) is None:
            create_table_with_add_actions(uri, DELTA_SCHEMA, actions, **place)
        else:
            DeltaTable(uri, **place).create_write_transaction(actions, "append", DELTA_SCHEMA)

    def _file(self, lines):
        self.files += 1
        rows = [self._row(line, record) for record, line in enumerate(lines)]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), buffer)
        # names that sort unlike their numbers: the order comes from the time, then from the name
        name = f"part-{uuid.uuid4()}.parquet"
        bucket, key = split_uri(f"{self.uri}/{name}")
        self.lake.store.write(bucket, key, buffer.getvalue())
        stats = json.dumps({"numRecords": len(rows)})
        return AddAction(name, buffer.tell(), {}, 1_767_000_000_000 + self.files * 1000, True, stats)

    def _row(self, line, record):
        problem, _, _ = judged(line, datetime.now(UTC))
        order = {"_corrupt_record": line.decode()} if problem == "invalid_row" else json.loads(line)
        known = {name: value for name, value in order.items() if name in SCHEMA.names}
        return {
            **known,
            "_rescued_data": json.dumps(order) if problem == "invalid_row" else None,
            "_processing_time": self.moment,
            "_source_file": f"s3a://landing/{self.files}.json",
            "_source_sequence": self.files,
            "_source_record": record,
        }


@st.composite
def lines(draw):
    """One line: mostly orders of an hour, out of order; some come again, some are no orders."""
    odd = draw(
        st.sampled_from([None] * 12 + ["broken", "undated", "1970-01-01 00:00:00", "2999-12-31 23:59:59", "huge"])
    )
    time = BEGIN + timedelta(seconds=30 * draw(st.integers(0, 120)))
    order = {
        "order_id": f"O-{draw(st.integers(0, 40))}",
        "order_date": f"{time:{DATE}}",
        "total_amount": draw(st.sampled_from([0.25, 10.5, 99.75, -10.5, None])),
        "payment_method": draw(st.sampled_from(["card", "blik", None])),
        "quantity": 1,
    }
    if odd == "broken":
        return b'{"order_id": "O-'
    if odd == "undated":
        order["order_date"] = draw(st.sampled_from([None, "yesterday", "2026-02-30 10:00:00"]))
    elif odd == "huge":
        order["total_amount"] = 1e12
    elif odd:
        order["order_date"] = odd
    return json.dumps(order).encode()


files = st.lists(lines(), min_size=1, max_size=8)
commits = st.lists(files, min_size=1, max_size=3)
runs = st.lists(st.lists(commits, min_size=0, max_size=2), min_size=1, max_size=3).filter(lambda made: any(made))


def batches_of(run, size):
    """The micro-batches of a run: its files in order, so many in each."""
    flat = [lines for commit in run for lines in commit]
    return [[line for file in flat[at : at + size] for line in file] for at in range(0, len(flat), size)]

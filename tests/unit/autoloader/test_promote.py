"""Values leave the rescued data for the columns that can take them, without servers."""

import json

import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from lakehouse.autoloader.schema.hints import parse_hints, with_hints
from lakehouse.autoloader.schema.promote import PROMOTED, Promoter

RESCUED = "_rescued_data"
TABLE = "id STRING, qty BIGINT, device STRUCT<id STRING>, _source_record BIGINT, _rescued_data STRING"


def schema(text):
    return with_hints(StructType(), parse_hints(text))


def promote(now, *rows, format="json"):
    """Rows of a table with the columns of ``TABLE``, after its schema became ``now``."""
    target = schema(now)
    files = StructType([field for field in target.fields if not field.name.startswith("_")])
    promoter = Promoter(target, files, RESCUED, format, {})
    old = schema(TABLE)
    filled = [dict.fromkeys(old.names) | row for row in rows]
    batch = pa.RecordBatch.from_pylist(filled, to_arrow_schema(old, timezone="UTC"))
    [out] = promoter([batch])
    assert out.schema.names == promoter.returns.names
    return out.to_pylist()


def rescued(**values):
    return json.dumps({**values, "_file_path": "s3a://b/f"}, separators=(",", ":"))


NOW = f"{TABLE}, coupon STRING, tip DOUBLE"


def test_a_value_goes_into_its_new_column_and_nothing_is_left():
    (row,) = promote(NOW, {"id": "1", "_source_record": 7, RESCUED: rescued(coupon="TEN")})
    assert row == {
        **{"id": "1", "qty": None, "device": None, "_source_record": 7, RESCUED: None},
        **{"coupon": "TEN", "tip": None, PROMOTED: ["coupon"]},
    }


def test_what_still_fits_nowhere_stays_as_it_was_spelled():
    text = '{"coupon":"TEN","other":1.50,"big":1e400,"_file_path":"s3a://b/f"}'
    (row,) = promote(NOW, {RESCUED: text})
    assert (row["coupon"], row[RESCUED]) == ("TEN", '{"other":1.50,"big":1e400,"_file_path":"s3a://b/f"}')


def test_a_value_of_another_type_stays():
    (row,) = promote(NOW, {RESCUED: rescued(tip="much", coupon="TEN")})
    assert (row["tip"], row["coupon"], row[RESCUED]) == (None, "TEN", rescued(tip="much"))
    (row,) = promote(NOW, {RESCUED: rescued(tip="much")})
    assert (row[PROMOTED], row[RESCUED]) == ([], rescued(tip="much"))


def test_a_value_that_is_there_is_never_overwritten():
    (row,) = promote(NOW, {"qty": 2, RESCUED: rescued(qty=1)})
    assert (row["qty"], row[RESCUED], row[PROMOTED]) == (2, rescued(qty=1), [])


def test_a_widened_column_takes_the_value_that_was_too_large():
    now = NOW.replace("qty BIGINT", "qty DECIMAL(20,0)")
    rows = promote(now, {RESCUED: rescued(qty=10**19)}, {"qty": 1, RESCUED: rescued(coupon="x")})
    assert [int(row["qty"]) for row in rows] == [10**19, 1]
    assert rows[0][RESCUED] is None


def test_a_nested_field_completes_the_value_that_is_there():
    now = NOW.replace("STRUCT<id STRING>", "STRUCT<id STRING, os STRING>")
    first = {"device": {"id": "d"}, RESCUED: rescued(device={"id": "d", "os": "linux"})}
    two = {"device": {"id": "d"}, RESCUED: rescued(device={"id": "d", "os": "linux", "more": 1})}
    other = {"device": {"id": "e"}, RESCUED: rescued(device={"id": "d", "os": "linux"})}
    rows = promote(now, first, two, other)
    full = {"id": "d", "os": "linux"}
    assert [row["device"] for row in rows] == [full, full, {"id": "e", "os": None}]
    assert [row[RESCUED] for row in rows] == [None, two[RESCUED], other[RESCUED]]
    assert [row[PROMOTED] for row in rows] == [["device"], ["device"], []]


@pytest.mark.parametrize(
    "text",
    [
        rescued(**{"_corrupt_record": '{"coupon":"TE'}),
        rescued(Coupon="case"),
        '{"coupon":"a","coupon":"b","_file_path":"s3a://b/f"}',
        rescued(),
    ],
)
def test_promoting_twice_is_promoting_once(text):
    once = promote(NOW, {RESCUED: text})
    names = schema(TABLE).names
    again = promote(NOW, {name: value for name, value in once[0].items() if name in names})
    if once[0]["coupon"] is None:
        assert (once[0][RESCUED], once[0][PROMOTED]) == (text, [])
        assert again == once


def test_values_of_csv_are_read_as_csv():
    flat = NOW.replace("device STRUCT<id STRING>, ", "")
    (row,) = promote(flat, {RESCUED: rescued(tip="1.5", qty="x", coupon="7")}, format="csv")
    assert (row["tip"], row["qty"], row["coupon"], row[RESCUED]) == (1.5, None, "7", rescued(qty="x"))

"""What a reader says in another process reaches whoever asked."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from pyspark.sql import types as t

from lakehouse.autoloader.formats.rows import BadFile, OutOfMemory
from lakehouse.autoloader.reading.columns import Columns
from lakehouse.errors import ConfigurationError, StoreUnavailable


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as running:
        yield running


def open_columns(type_):
    Columns(t.StructType([t.StructField("a", type_)]), [], "landing", "orders/")


@pytest.mark.parametrize("type_", [t.CharType(3), t.CalendarIntervalType(), t.YearMonthIntervalType()], ids=str)
def test_a_type_that_files_cannot_fill_is_named_across_processes(pool, type_):
    with pytest.raises(ConfigurationError, match=r"not supported in conversion") as raised:
        pool.submit(open_columns, type_).result()
    assert raised.value.next_command


@pytest.mark.parametrize(
    "error",
    [
        BadFile("TRUNCATED", "it ends too early"),
        OutOfMemory("no memory", where="s3a://b/a", state="as it was", next_command="more"),
        StoreUnavailable("away", where="s3a://b/a", state="as it was", next_command="again"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_keep_their_text_when_pickled(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))

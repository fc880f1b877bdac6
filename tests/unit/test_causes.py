"""What other libraries say of a request that failed reaches people in one line, with the reason and without noise."""

import socket

import obstore
import pytest
from deltalake import DeltaTable
from pydantic import SecretStr

from lakehouse.errors import StoreUnavailable
from lakehouse.plain_text import cause_of
from lakehouse.storage.fast_store import FastStore
from lakehouse.storage.store import StoreEndpoint


@pytest.fixture
def nobody():
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return StoreEndpoint(f"http://127.0.0.1:{port}", SecretStr("a"), SecretStr("b"), "r")


def test_a_store_that_cannot_be_reached_is_told_however_long_the_name_of_the_object(nobody):
    with pytest.raises(StoreUnavailable) as raised:
        FastStore(nobody).read("bucket", "long" * 100)
    assert raised.value.what.endswith("GET, after 4 retries: HTTP error: error sending request")
    assert nobody.url in raised.value.where


def test_a_table_that_cannot_be_reached_is_told_to_the_last_reason_in_one_line(nobody):
    with pytest.raises(OSError, match="Generic S3 error") as raised:
        DeltaTable("s3://bucket/table", storage_options={**nobody.deltalake_options(), "max_retries": "0"})
    said = cause_of(raised.value)
    assert "\n" not in said
    assert "\x1b" not in said
    assert nobody.url not in said
    assert "GET: HTTP error: error sending request: " in said
    assert "tcp connect error: Connection refused" in said


def test_other_exceptions_are_told_by_their_first_line_and_silent_ones_by_their_names():
    assert cause_of(ValueError("first\nsecond")) == "first"
    assert cause_of(ValueError("x" * 300), 100) == "x" * 100
    assert cause_of(TimeoutError()) == "TimeoutError"
    assert cause_of(obstore.exceptions.GenericError("\n")) == "GenericError"

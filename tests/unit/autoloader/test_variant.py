"""The limits of a variant; its bytes are compared with Spark's in ``tests/spark/test_variant.py``."""

import sys

import pytest

from lakehouse.autoloader.formats.json_text import Items, Malformed, Members
from lakehouse.autoloader.formats.variant import SIZE_LIMIT, encode


def test_a_value_at_the_limit_is_one_and_a_byte_more_is_malformed():
    head = 5
    value, metadata = encode("x" * (SIZE_LIMIT - head))
    assert (len(value), metadata) == (SIZE_LIMIT, b"\x01\x00\x00")
    with pytest.raises(Malformed, match="134,217,728 bytes"):
        encode("x" * (SIZE_LIMIT - head + 1))


def test_a_name_twice_is_malformed_at_any_depth_and_at_every_try():
    for _ in range(2):
        with pytest.raises(Malformed, match="twice"):
            encode(Items([Members([("a", None), ("b", True), ("a", False)])]))
    encode(Members([("a", Members([("a", None)]))]))


def test_a_thousand_levels_leave_pythons_limit_as_it_was():
    usual, nested = sys.getrecursionlimit(), None
    for _ in range(1000):
        nested = Items([nested])
    value, _ = encode(nested)
    assert value.endswith(b"\x00")
    assert sys.getrecursionlimit() == usual

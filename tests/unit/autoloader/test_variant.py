"""The limits of a variant; its bytes are compared with Spark's in ``tests/spark/test_variant.py``."""

import json
import sys
from bisect import bisect_left
from itertools import pairwise

import pytest
from pyspark.sql import types as t

from lakehouse.autoloader.formats.json import parse_json_lines
from lakehouse.autoloader.formats.json_text import Integer, Items, Malformed, Members
from lakehouse.autoloader.formats.variant import SIZE_LIMIT, encode
from lakehouse.autoloader.schema.hints import columns_of


def test_a_value_at_the_limit_is_one_and_a_byte_more_is_malformed():
    head = 5
    value, metadata = encode("x" * (SIZE_LIMIT - head))
    assert (len(value), metadata) == (SIZE_LIMIT, b"\x01\x00\x00")
    with pytest.raises(Malformed, match="134,217,728 bytes"):
        encode("x" * (SIZE_LIMIT - head + 1))


def test_a_column_takes_any_value_beside_others_and_a_name_twice_is_rescued():
    columns = columns_of("id BIGINT, v VARIANT, s STRUCT<w: VARIANT>, l ARRAY<VARIANT>, r STRING")
    lines = [
        '{"id": 1, "v": {"b": 1.5, "a": [true]}, "s": {"w": "x"}, "l": [1, {}]}',
        '{"id": "x", "v": null}',
        '{"id": 3, "v": {"a": 1, "a": 2}}',
        '{"id": 4}',
    ]
    data = "\n".join(lines * 20).encode()
    found = parse_json_lines(data, columns, reader={}, path_at=lambda line: "f", rescued_column="r").table.to_pylist()
    assert [row["id"] for row in found[:4]] == [1, None, 3, 4]
    assert [row["v"] and t.VariantVal(**row["v"]).toJson() for row in found[:4]] == [
        '{"a":[true],"b":1.5}',
        "null",
        None,
        None,
    ]
    assert t.VariantVal(**found[0]["s"]["w"]).toPython() == "x"
    assert [t.VariantVal(**part).toPython() for part in found[0]["l"]] == [1, {}]
    rescued = [row["r"] and json.loads(row["r"]) for row in found[:4]]
    assert rescued == [None, {"id": "x", "_file_path": "f"}, {"v": {"a": 2}, "_file_path": "f"}, None]
    assert found == found[:4] * 20


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


def test_spark_finds_every_field_of_a_large_object_whatever_its_name():
    names = [chr(0xE000 + n) for n in range(20)] + [chr(0x1F600 + n) for n in range(20)]
    value, metadata = encode(Members((name, Integer(str(n))) for n, name in enumerate(names)))
    assert (value[1], metadata[1]) == (40, 40)  # fields and names, each counted in a byte
    starts, texts = metadata[2:43], metadata[43:]
    spelled = [texts[low:high].decode() for low, high in pairwise(starts)]
    order = [spelled[number].encode("utf-16-be") for number in value[2:42]]

    def found(name):  # as Spark 4.2 looks in objects of 32 fields or more
        at = bisect_left(order, name.encode("utf-16-be"))
        return order[at : at + 1] == [name.encode("utf-16-be")]

    assert all(map(found, names))

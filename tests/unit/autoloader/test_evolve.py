"""How a schema grows, without servers."""

import io
import json

import pytest
from pyspark.sql.types import StructType

from lakehouse.autoloader.evolve import Learner, evolved, lines_of, new_columns
from lakehouse.autoloader.formats.json import parse_json_lines
from lakehouse.autoloader.options import CloudFilesOptions

RESCUED = "_rescued_data"


def schema(**columns):
    made = StructType()
    for name, type_ in columns.items():
        made.add(name, type_)
    return made


@pytest.mark.parametrize(
    ("known", "found", "grown", "new"),
    [
        (schema(a="long"), schema(a="long"), schema(a="long"), []),
        (schema(a="long"), schema(b="string", a="long"), schema(a="long", b="string"), ["b"]),
        (schema(a="long"), schema(a="string"), schema(a="long"), []),
        (schema(a="long"), schema(A="long"), schema(a="long"), []),
        (
            schema(a=schema(x="long")),
            schema(a=schema(b="string", x="double")),
            schema(a=schema(x="long", b="string")),
            ["a.b"],
        ),
        (schema(a="long"), schema(a=schema(x="long")), schema(a="long"), []),
    ],
)
def test_new_columns_come_last_and_old_types_stay(known, found, grown, new):
    assert evolved(known, found) == grown
    assert list(new_columns(known, grown)) == new
    assert evolved(grown, found) == grown


class Reading:
    """Lines of JSON read by a stream with some columns."""

    def __init__(self, known, *, types="true", others=()):
        options = {"path": "s3a://b/f/", "cloudFiles.format": "json", "cloudFiles.inferColumnTypes": types}
        self.known = known
        self.learner = Learner(CloudFilesOptions.parse(options), known, frozenset({RESCUED, *others}), RESCUED)

    def read(self, *documents):
        data = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in documents).encode()
        columns = StructType([*self.known.fields, *schema(**{RESCUED: "string"}).fields])
        rows = parse_json_lines(data, columns, reader={}, path_at=lambda _: "s3a://b/f/x", rescued_column=RESCUED)
        self.learner.look(
            rows, lambda row: ("x", int(rows.records[row])), lambda hits: lines_of(data, rows.records[hits].tolist())
        )
        return self.learner


def test_a_new_column_is_learned_with_its_place():
    learner = Reading(schema(a="long")).read({"a": 1}, {"a": 2, "coupon": "x"}, {"a": 3, "coupon": "y", "n": 1.5})
    assert learner.grown == schema(a="long", coupon="string", n="double")
    assert learner.introduced == {"coupon": ("x", 1), "n": ("x", 2)}


def test_a_new_nested_field_is_learned():
    learner = Reading(schema(a="long", device=schema(id="string"))).read(
        {"a": 1, "device": {"id": "d"}}, {"a": 1, "device": {"id": "d", "os": "linux"}}
    )
    assert learner.grown == schema(a="long", device=schema(id="string", os="string"))
    assert learner.introduced == {"device.os": ("x", 1)}


def test_without_types_new_columns_are_strings():
    learner = Reading(schema(a="string"), types="false").read({"a": 1, "b": {"c": 1}, "d": 7})
    assert learner.grown == schema(a="string", b="string", d="string")


@pytest.mark.parametrize(
    "line",
    [
        {"a": "no number"},
        {"A": 1},
        {"a": 1, "day": "2026-01-01"},
        {"a": 1, "b": None},
        "not json at all",
        '{"a": 1, "b":',
    ],
)
def test_what_is_no_new_column_changes_nothing(line):
    learner = Reading(schema(a="long"), others=["day"]).read({"a": 1}, line)
    assert (learner.grown, learner.introduced) == (schema(a="long"), {})


def test_the_lines_of_rows():
    assert lines_of(b"a\nb\nc\n", [2, 0, 0]).read() == io.BytesIO(b"a\nc").read()

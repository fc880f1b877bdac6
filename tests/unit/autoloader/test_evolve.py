"""How a schema grows, without servers."""

import io
import json

import pytest
from pyspark.sql.types import ArrayType, MapType, StringType, StructType
from unit.autoloader.memory_store import MemoryStore

from lakehouse.autoloader.formats.json import parse_json_lines
from lakehouse.autoloader.options.parse import WIDENING, CloudFilesOptions
from lakehouse.autoloader.schema.evolve import Learner, changes, evolved, leaves, limited, lines_of, possible
from lakehouse.autoloader.schema.hints import parse_hints
from lakehouse.autoloader.schema.versions import SchemaLocation, SchemaVersion
from lakehouse.autoloader.schema.wider import wider

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
    assert [name for name, old, _ in changes(known, grown) if old is None] == new
    assert evolved(grown, found) == grown


class Reading:
    """Lines of JSON read by a stream with some columns."""

    def __init__(self, known, *, types="true", others=(), **options):
        options = {
            "path": "s3a://b/f/",
            "cloudFiles.format": "json",
            "cloudFiles.inferColumnTypes": types,
            **{f"cloudFiles.{name}": value for name, value in options.items()},
        }
        self.known = known
        self.learner = Learner(CloudFilesOptions.parse(options), known, frozenset({RESCUED, *others}), RESCUED)

    def read(self, *documents):
        data = "\n".join(
            document if isinstance(document, str) else json.dumps(document) for document in documents
        ).encode()
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


BIG = 10**19


def test_a_type_widens_when_the_mode_says_so_and_says_where():
    learner = Reading(schema(a="long", s=schema(b="long")), schemaEvolutionMode=WIDENING).read(
        {"a": 1, "s": {"b": 1}}, {"a": BIG, "s": {"b": BIG}}
    )
    assert learner.grown == schema(a="decimal(20,0)", s=schema(b="decimal(20,0)"))
    assert learner.introduced == {"a": ("x", 1), "s.b": ("x", 1)}


@pytest.mark.parametrize("value", ["text", 1.5, True, [1]])
def test_what_no_type_may_widen_to_stays_rescued(value):
    learner = Reading(schema(a="long"), schemaEvolutionMode=WIDENING).read({"a": value})
    assert (learner.grown, learner.introduced) == (schema(a="long"), {})


def test_a_hinted_column_does_not_widen():
    learner = Reading(schema(a="long", b="long"), schemaEvolutionMode=WIDENING, schemaHints="a long").read(
        {"a": BIG, "b": BIG}
    )
    assert learner.grown == schema(a="long", b="decimal(20,0)")


def test_without_that_mode_no_type_widens():
    learner = Reading(schema(a="long"), schemaEvolutionMode="addNewColumns").read({"a": BIG, "b": 1})
    assert learner.grown == schema(a="long", b="long")


def test_changes_tell_what_is_new_gone_and_of_another_type():
    before = schema(a="long", gone="string", s=schema(b="integer"), t=ArrayType(schema(c="integer")))
    after = schema(a="double", s=schema(b="integer", n="integer"), t=ArrayType(schema(c="long")), z="string")
    assert {
        (name, old and old.simpleString(), new and new.simpleString()) for name, old, new in changes(before, after)
    } == {
        ("a", "bigint", "double"),
        ("gone", "string", None),
        ("s.n", None, "int"),
        ("t[].c", "int", "bigint"),
        ("z", None, "string"),
    }


WIDER = [
    ("tinyint", "smallint", "smallint"),
    ("tinyint", "bigint", "bigint"),
    ("smallint", "double", "double"),
    ("int", "bigint", "bigint"),
    ("int", "double", "double"),
    ("int", "decimal(5,2)", "decimal(12,2)"),
    ("bigint", "decimal(5,2)", "decimal(22,2)"),
    ("bigint", "decimal(20,0)", "decimal(20,0)"),
    ("float", "double", "double"),
    ("decimal(5,2)", "decimal(6,4)", "decimal(7,4)"),
    ("decimal(5,2)", "bigint", "decimal(22,2)"),
    ("date", "timestamp_ntz", "timestamp_ntz"),
    ("bigint", "int", None),
    ("bigint", "double", None),
    ("int", "string", None),
    ("string", "int", None),
    ("double", "float", None),
    ("decimal(38,2)", "decimal(38,10)", None),
    ("decimal(20,2)", "decimal(10,2)", None),
    ("date", "timestamp", None),
    ("boolean", "int", None),
]


@pytest.mark.parametrize(("known", "found", "becomes"), WIDER)
def test_types_widen_as_auto_loader_and_delta_allow(known, found, becomes):
    [(_, known_type)], [(_, other)] = parse_hints(f"a {known}"), parse_hints(f"a {found}")
    widened = wider(known_type, other)
    assert (widened and widened.simpleString()) == becomes


def test_the_lines_of_rows():
    assert lines_of(b"a\nb\nc\n", [2, 0, 0]).read() == io.BytesIO(b"a\nc").read()


def test_the_place_of_a_column_is_the_one_in_the_earlier_file():
    learner, other = (Reading(schema(a="long")).learner for _ in range(2))
    learner.grown, learner.introduced = schema(a="long", b="string", c="string"), {"b": ("y", 0), "c": ("y", 5)}
    other.grown, other.introduced = schema(a="long", b="string", d="long"), {"b": ("x", 7), "d": ("z", 1)}
    learner.take_over(other, {"x": 1, "y": 2, "z": 3})
    assert learner.introduced == {"b": ("x", 7), "c": ("y", 5), "d": ("z", 1)}
    assert learner.grown == schema(a="long", b="string", c="string", d="long")


def test_names_that_differ_only_by_case_are_one_column_at_every_depth():
    inner = schema(X="long", x="string")
    found = schema(Id="long", ID="string", o=inner, l=ArrayType(inner), m=MapType(StringType(), inner))
    assert possible(found).simpleString() == (
        "struct<Id:bigint,o:struct<X:bigint>,l:array<struct<X:bigint>>,m:map<string,struct<X:bigint>>>"
    )


@pytest.mark.parametrize("name", ["s", "S"])
def test_a_column_grows_by_what_has_its_own_spelling(name):
    found = schema(S=schema(in_S="long"), s=schema(in_s="long"), New="date", new="long")
    grown = evolved(schema(**{name: schema(a="long")}), found)
    assert grown == schema(**{name: schema(a="long").add(f"in_{name}", "long"), "New": "date"})


def test_names_that_a_table_cannot_have_are_no_columns():
    found = StructType().add("ok", "long").add("a b", "long")
    found.add("s", StructType().add("x,y", "long").add("z", "long")).add("gone", StructType().add("(", "long"))
    found.add("list", ArrayType(StructType().add("a=b", "long")))
    assert possible(found).simpleString() == "struct<ok:bigint,s:struct<z:bigint>>"
    assert evolved(schema(a="long"), found).simpleString() == "struct<a:bigint,ok:bigint,s:struct<z:bigint>>"


def test_a_version_of_the_schema_stays_as_it_was_written_first():
    versions = SchemaLocation(MemoryStore(), "lake", "schemas")
    mine, theirs = (SchemaVersion(0, schema(a="long", **{name: "string"}), schema()) for name in ("mine", "theirs"))
    assert versions.write(theirs) == theirs
    assert versions.write(mine) == theirs, "whoever is second gets what stands there"
    assert versions.read(0) == theirs


def test_of_two_who_learn_columns_at_the_same_moment_neither_loses_one():
    store = MemoryStore()
    location, other = (SchemaLocation(store, "lake", "schemas") for _ in range(2))
    location.write(SchemaVersion(0, schema(a="long"), schema()))
    latest = location.latest

    def before_the_other():
        found = latest()
        location.latest = latest
        other.grow(schema(theirs="string"), {})
        return found

    location.latest = before_the_other
    assert location.grow(schema(mine="string"), {}).version == 2
    assert [version.data for version in other.history()] == [
        schema(a="long"),
        schema(a="long", theirs="string"),
        schema(a="long", theirs="string", mine="string"),
    ]


@pytest.mark.parametrize(
    ("known", "grown", "most", "kept"),
    [
        (schema(a="long"), schema(a="long", b="long", c="long"), 2, schema(a="long", b="long")),
        (schema(a="long"), schema(a="long", b="long"), 1, schema(a="long")),
        (schema(a="long", b="long"), schema(a="long", b="double", c="long"), 1, schema(a="long", b="double")),
        (
            schema(),
            schema(a=schema(x="long", y="long"), b="long", c="long"),
            3,
            schema(a=schema(x="long", y="long"), b="long"),
        ),
        (schema(), schema(a=schema(x="long", y="long"), b="long"), 1, schema(a=schema(x="long"))),
        (
            schema(a=ArrayType(schema(x="long"))),
            schema(a=ArrayType(schema(x="long", y="long")), b="long"),
            2,
            schema(a=ArrayType(schema(x="long", y="long"))),
        ),
        (schema(), schema(m=MapType(StringType(), schema(x="long", y="long"))), 2, schema()),
        (
            schema(),
            schema(m=MapType(StringType(), StringType()), b="long"),
            2,
            schema(m=MapType(StringType(), StringType())),
        ),
        (schema(), schema(e=StructType(), b="long"), 1, schema(e=StructType())),
    ],
)
def test_no_more_leaf_columns_than_the_limit_and_those_there_are_stay(known, grown, most, kept):
    assert limited(known, grown, most) == kept
    assert leaves(kept) <= max(most, leaves(known))


def test_what_is_beyond_the_limit_is_no_new_column():
    reading = Reading(schema(a="long"), maxColumns="2")
    learner = reading.read({"a": 1, "b": 1}, {"c": 1, "d": {"e": 1, "f": 2}})
    assert learner.grown == schema(a="long", b="long")
    assert learner.introduced == {"b": ("x", 0)}
    assert learner.beyond == 3
    full = Reading(learner.grown, maxColumns="2").read({"a": 1, "g": 1})
    assert (full.grown, full.introduced) == (learner.grown, {})


def test_what_several_tasks_learn_stays_below_the_limit_together():
    learner = Reading(schema(a="long"), maxColumns="2").read({"b": 1})
    other = Reading(schema(a="long"), maxColumns="2").read({"c": 1})
    learner.take_over(other, {"x": 1})
    assert learner.grown == schema(a="long", b="long")
    assert set(learner.introduced) == {"b"}


def test_a_stream_that_must_fail_on_a_new_column_fails_beyond_the_limit_too():
    learner = Reading(schema(a="long"), maxColumns="1", schemaEvolutionMode="failOnNewColumns").read({"b": 1})
    assert set(learner.introduced) == {"b"}

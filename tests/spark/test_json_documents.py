"""Generated JSON documents of generated schemas: our reader gives the rows, and infers the columns, that Spark does."""

import json
from datetime import datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pyspark.sql import types as T  # noqa: N812
from spark.test_json_like_spark import SHOWN, by_spark, plain

from lakehouse.autoloader.formats.json import infer_json, parse_json_lines

SCHEMAS, MORE_SCHEMAS, DOCUMENTS = 10, 40, 80
CORRUPT = "_corrupt_record"
NAMES = st.sampled_from(["a", "b", "k", "x", "\u017c\u00f3\u0142\u0107", "a b", "x.y", "K", "key", "`", "1"])


class Pairs(list):
    """An object's fields."""


class Raw(str):
    """Text that stands in the document as it is."""


WHOLE = st.one_of(
    st.integers(-200, 200),
    st.integers(-(2**31) - 2, 2**31 + 1),
    st.integers(-(2**63) - 2, 2**63 + 1),
    st.integers(-(10**40), 10**40),
)
SPELLED = st.builds(
    lambda sign, whole, fraction, exponent: Raw(f"{sign}{whole}{fraction}{exponent}"),
    st.sampled_from(["", "-"]),
    st.sampled_from(["0", "1", "12", "123456789", "99999999999999999999", "1" * 30]),
    st.sampled_from(["", ".0", ".5", ".10", ".005", ".123456789", "." + "0" * 30 + "1", "." + "9" * 25]),
    st.sampled_from(["", "", "e0", "E1", "e+5", "e-7", "E-30", "e30", "e308", "e-320", "e400", "e-400"]),
)
MOMENTS = st.datetimes(datetime(1583, 1, 1), datetime(2999, 12, 31))
TIMES = st.one_of(
    MOMENTS.map(str),
    MOMENTS.map(lambda moment: moment.isoformat() + "Z"),
    MOMENTS.map(lambda moment: moment.isoformat(timespec="milliseconds") + "+02:00"),
    st.dates().map(str),
    st.sampled_from(["2026", "2026-7", "2026-02-30", "2026-01-02 25:00:00", "2026-01-02T03:04", "1 Jan 2026", "now"]),
)
ESCAPES = (r"\n", r"\t", r"\"", r"\\", r"\/", r"\b", r"\f", r"\r", r"\u00e9", r"\ud83d\ude00", r"\ud800", r"\udc00")
ESCAPED = st.lists(
    st.sampled_from([*ESCAPES, r"\u0000", r"\u2028", "a", " ", "\u00e9", "\U0001f600", "'", "{", "}"]), max_size=6
).map(lambda parts: Raw('"' + "".join(parts) + '"'))
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(["", " ", "1", "1.5", "true", "NaN", "Infinity", "-INF", "null", "YWJj", "YWI="]),
    TIMES,
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.one_of(st.none(), st.booleans(), WHOLE, SPELLED, TEXT, ESCAPED, FLOATS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(NAMES, inner, max_size=4).map(lambda fields: Pairs(fields.items())),
    ),
    max_leaves=8,
)
DEEP = st.builds(
    lambda levels, start, end: Raw(start * levels + "1" + end * levels),
    st.sampled_from([3, 29, 300, 900]),
    st.sampled_from(["[", '{"k":']),
    st.just("]"),
).map(lambda raw: Raw(raw.replace("]", "}")) if raw.startswith("{") else raw)
BLANKS = st.sampled_from(["", "", "", " ", "\t", "  "])
BASE64 = ("", "YWJj", "YWI=")
ATOMS = {
    T.StringType(): SCALARS,
    T.LongType(): WHOLE,
    T.IntegerType(): WHOLE,
    T.ShortType(): st.integers(-40_000, 40_000),
    T.DoubleType(): SPELLED | WHOLE | FLOATS,
    T.FloatType(): SPELLED | FLOATS,
    T.BooleanType(): st.booleans(),
    T.TimestampType(): TIMES | st.integers(-(10**10), 10**10),
    T.TimestampNTZType(): TIMES,
    T.DateType(): TIMES,
    T.DecimalType(10, 2): SPELLED | WHOLE | st.sampled_from(["1.005", "12", "x"]),
    T.DecimalType(38, 10): SPELLED | WHOLE,
    T.DecimalType(38, 0): WHOLE,
    T.BinaryType(): st.sampled_from([*BASE64, "YWJj", "Y"]),
}


@st.composite
def structs(draw, depth=0):
    """Structs without two names that differ only by case: Spark refuses those."""
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique_by=str.lower))
    return T.StructType([T.StructField(name, draw(types(depth + 1))) for name in names])


@st.composite
def types(draw, depth):
    kind = draw(st.integers(0, 9)) if depth < 4 else 9
    if kind == 0:
        return draw(structs(depth))
    if kind == 1:
        return T.ArrayType(draw(types(depth + 1)))
    return (
        T.MapType(T.StringType(), draw(types(depth + 1)))
        if kind == 2
        else draw(st.sampled_from(sorted(ATOMS, key=str)))
    )


@st.composite
def fitting(draw, kind):
    """A value of a type; rarely null, or one of another type."""
    chance = draw(st.integers(0, 11))
    if chance > 9:
        return None if chance == 10 else draw(VALUES)
    if isinstance(kind, T.ArrayType):
        return draw(st.lists(fitting(kind.elementType), max_size=4))
    if isinstance(kind, T.MapType):
        return Pairs((name, draw(fitting(kind.valueType))) for name in draw(st.lists(NAMES, max_size=4, unique=True)))
    return draw(objects(kind) if isinstance(kind, T.StructType) else ATOMS[kind])


@st.composite
def objects(draw, schema):
    """An object with some of a struct's fields in any order, and rarely with others or with one that comes twice."""
    names = draw(st.lists(st.sampled_from(schema.fieldNames()), max_size=6, unique=draw(st.integers(0, 9)) > 0))
    pairs = Pairs((name, draw(fitting(schema[name].dataType))) for name in names)
    if draw(st.integers(0, 4)) == 0:
        pairs.append((draw(NAMES | st.just("other")), draw(VALUES | DEEP)))
    return pairs


def written(value, blank):
    """A document's text, with blanks between its tokens."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Pairs):
        parts = [f"{blank}{json.dumps(name)}{blank}:{blank}{written(part, blank)}" for name, part in value]
        return "{" + ",".join(parts) + blank + "}"
    if isinstance(value, list):
        return "[" + ",".join(blank + written(part, blank) for part in value) + blank + "]"
    return json.dumps(value, ensure_ascii=False)


def drawn(strategy, count, number):
    """So many examples, the same at each call."""
    found = []

    @seed(number)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(example):
        found.append(example)

    collect()
    return found


def documents_of(schemas):
    """Schemas, each with its documents and their text."""
    found = []
    for number, schema in enumerate(schemas):
        documents = drawn(st.tuples(objects(schema), BLANKS), DOCUMENTS, number)
        found.append((schema, {written(*pair): pair[0] for pair in documents}))
    assert sum(len(documents) for _, documents in found) >= 45 * len(found)
    return found


@pytest.fixture(scope="module")
def files():
    return documents_of(drawn(structs(), SCHEMAS, 1))


def meetings(kind, value):
    """The parts of a document, each with the type that it is read as."""
    yield kind, value
    if isinstance(value, Pairs):
        known = {field.name: field.dataType for field in kind.fields} if isinstance(kind, T.StructType) else {}
        for name, part in value:
            inner = kind.valueType if isinstance(kind, T.MapType) else known.get(name)
            if inner is not None:
                yield from meetings(inner, part)
    elif isinstance(value, list) and isinstance(kind, T.ArrayType):
        for part in value:
            yield from meetings(kind.elementType, part)


def is_beyond_timestamps(kind, value):
    """The difference "times": Spark wraps seconds that no timestamp holds."""
    return isinstance(kind, T.TimestampType) and isinstance(value, int) and abs(value) > 9_000_000_000_000


def repeats_a_key(kind, value):
    """The difference "duplicate keys of a map"."""
    is_map = isinstance(kind, T.MapType) and isinstance(value, Pairs)
    return is_map and len({name for name, _ in value}) < len(value)


def is_no_base64(kind, value):
    """The difference "base64": Spark loses the other values of the row."""
    return isinstance(kind, T.BinaryType) and isinstance(value, str) and value not in BASE64


def is_intended(schema, document):
    differences = (is_beyond_timestamps, repeats_a_key, is_no_base64)
    return any(difference(*meeting) for meeting in meetings(schema, document) for difference in differences)


def numbers(kind):
    """The Arrow type with numbers for times: Python's own end with the year 9999."""
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_date(kind):
        return pa.int32()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(numbers(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, numbers(kind.item_type))
    return pa.list_(numbers(kind.value_type)) if pa.types.is_list(kind) else kind


def rows_of(table):
    columns = [table.column(at).cast(numbers(field.type)) for at, field in enumerate(table.schema)]
    return [tuple(map(plain, row)) for row in zip(*(column.to_pylist() for column in columns), strict=True)]


def test_generated_documents_give_the_rows_that_spark_reads(spark, lake, files):
    assert_rows_are_those_of_spark(spark, lake, files)


@pytest.mark.soak("four times as many schemas, others")
def test_more_documents_give_the_rows_that_spark_reads(spark, lake):
    assert_rows_are_those_of_spark(spark, lake, documents_of(drawn(structs(), MORE_SCHEMAS, 2)))


def assert_rows_are_those_of_spark(spark, lake, files):
    wrong, left_out = [], 0
    for schema, documents in files:
        full = T.StructType([*schema.fields]).add(CORRUPT, "string")
        kept = [text for text, document in documents.items() if not is_intended(schema, document)]
        left_out += len(documents) - len(kept)
        data = "\n".join(kept).encode()
        theirs = rows_of(by_spark(spark, lake, data, full, timeZone="UTC").toArrow())
        read = parse_json_lines(data, full, reader={}, path_at=lambda _: "", corrupt_column=CORRUPT)
        ours = rows_of(read.table)
        assert len(ours) == len(theirs) == len(kept)
        pairs = zip(kept, ours, theirs, strict=True)
        wrong += [(text, full.simpleString(), mine, other) for text, mine, other in pairs if mine != other]
    wrong.sort(key=lambda difference: len(difference[0]))
    text = "\n\n".join("\n".join(map(str, difference)) for difference in wrong[:SHOWN])
    assert not wrong, f"{len(wrong)} documents differ, the shortest:\n{text}"
    assert left_out < 5 * len(files)


def levels(value):
    """How deep a document is nested."""
    if isinstance(value, Raw):
        return max(value.count("["), value.count('{"'))
    parts = [part for _, part in value] if isinstance(value, Pairs) else value if isinstance(value, list) else ()
    return max(map(levels, parts), default=0) + isinstance(value, list)


def has_rivals(value):
    """The difference "names": Spark refuses what differs only by case, or not at all."""
    if isinstance(value, Pairs):
        names = [name for name, _ in value]
        return len(set(names)) < len(names) or "K" in names or any(has_rivals(part) for _, part in value)
    return isinstance(value, list) and any(map(has_rivals, value))


@pytest.mark.parametrize("options", [{}, {"inferTimestamp": "true"}, {"primitivesAsString": "true"}], ids=str)
def test_generated_documents_have_the_columns_that_spark_infers(spark, lake, files, options):
    wrong = []
    for _, documents in files[::3]:
        # the differences "inference" and "deep nesting"
        kept = [text for text, value in documents.items() if levels(value) < 30 and not has_rivals(value)]
        assert len(kept) > 20
        data = "\n".join(kept).encode()
        theirs = by_spark(spark, lake, data, None, timeZone="UTC", **options).schema
        reader = {name.lower(): value for name, value in options.items()}
        ours = infer_json([data], reader=reader, infer_column_types=True)
        if ours.simpleString() != theirs.simpleString():
            wrong.append((ours.simpleString(), theirs.simpleString()))
    assert wrong == []

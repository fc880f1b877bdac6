"""Which first bytes are taken for UTF-16 and UTF-32, and which never."""

import io
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyspark.sql.types import StructType
from unit.autoloader.given_options import parse

from lakehouse.autoloader.formats.csv import parse_csv
from lakehouse.autoloader.formats.encoding import refuse_wide
from lakehouse.autoloader.formats.json import parse_json_lines
from lakehouse.autoloader.formats.rows import BadFile, Target
from lakehouse.autoloader.formats.text import parse_text

WIDE = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
PATH = "s3a://landing/orders/my file.json"
TEXTS = {
    "json": '{"order_id": "1", "name": "\u017c\u00f3\u0142\u0107 \U0001f9ca"}\n',
    "mostly Chinese": '{"\u8ba2\u5355": "' + "\u5f20\u4e09" * 5 + '", "a": 1}\n',
    "csv": "order_id,name\r\n1,x\r\n",
    "text": "first line\nsecond\n",
    "empty object": "{}",
    "blank line first": '\n\t{"a": 1}',
}


@pytest.mark.parametrize("mark", [True, False], ids=["marked", "bare"])
@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_wide_text_is_refused_and_named(text, encoding, mark):
    data = (("\ufeff" if mark else "") + text).encode(encoding)
    with pytest.raises(BadFile) as raised:
        refuse_wide(data, PATH)
    assert str(raised.value) == (
        f"NOT_UTF8: the file looks like {encoding.upper().replace('-', '', 2).replace('UTF', 'UTF-')}; "
        f"convert it to UTF-8, then: lakehouse replay --files '{PATH}'"
    )


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


FILES = (DOCUMENTS, st.booleans(), st.sampled_from(["", " ", "\n", "\r\n", "\t", "\ufeff"]))


def assert_is_not_refused(document, ascii_only, before):
    text = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "replace")
    refuse_wide(before.encode() + text, PATH)


@given(*FILES)
@example("\0a\0", True, "")
@settings(max_examples=200, derandomize=True, deadline=None, database=None)
def test_no_json_in_utf_8_is_refused(document, ascii_only, before):
    assert_is_not_refused(document, ascii_only, before)


@pytest.mark.soak("fifty times as many documents")
@given(*FILES)
@settings(max_examples=10_000, deadline=None)
def test_no_json_in_utf_8_is_refused_of_many_documents(document, ascii_only, before):
    assert_is_not_refused(document, ascii_only, before)


@given(st.text())
@settings(max_examples=1000, derandomize=True, deadline=None, database=None)
def test_no_text_in_utf_8_is_refused_unless_it_alternates_with_nul(text):
    data = text.encode("utf-8", "replace")
    if len(data) < 4 or not (data[0] == data[2] == 0 or data[1] == data[3] == 0):
        refuse_wide(data, PATH)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"a\0",
        b"\0" * 1000,
        b'\0\0\0\n{"a": 1}\n{"a": 2}\n',
        b"\0\0\0{",
        b'\0{"a": 1}\n',
        b'{"a": 1}\n\0\0\0\n',
        b"\xff\xff\n{}",
        b"a\0b\0" + b'{"a": 1, "text": "goes on as UTF-8 does"}\n' * 2,
        b"\xef\xbb\xbf{}",
    ],
)
def test_bytes_that_are_not_plainly_wide_are_left_to_the_reader(data):
    refuse_wide(data, PATH)


def target(**reader):
    return Target(StructType().add("value", "string"), reader, PATH)


@pytest.mark.parametrize("encoding", [*WIDE, "utf-16"])
@pytest.mark.parametrize("format_", ["json", "csv", "text", "wholetext"])
def test_files_that_are_read_whole_are_refused_too(format_, encoding):
    data = "a,b\n1,2\n".encode(encoding)
    with pytest.raises(BadFile, match=r"NOT_UTF8: .*my file\.json'"):
        if format_ == "json":
            parse_json_lines(data, target().schema, reader={"multiline": "true"}, path_at=lambda _: PATH)
        elif format_ == "csv":
            list(parse_csv(io.BytesIO(data), target()))
        else:
            list(parse_text(io.BytesIO(data), target(**{"wholetext": "true"} if format_ == "wholetext" else {})))


@pytest.mark.parametrize(
    ("encoding", "in_python", "letter"),
    [("UTF-16", "utf-16", "y"), ("Windows-31J", "cp932", "\u2460"), ("x-MacRoman", "mac_roman", "\u20ac")],
)
def test_csv_whose_encoding_is_told_is_read(encoding, in_python, letter):
    (rows,) = parse_csv(io.BytesIO(f"x\n{letter}\n".encode(in_python)), target(encoding=encoding))
    assert rows.table["value"].to_pylist() == ["x", letter]
    assert parse(cloudFiles_format="csv", encoding=encoding).reader == {"encoding": encoding}


def test_names_with_nul_between_them_are_text_where_nul_separates():
    (rows,) = parse_text(io.BytesIO(b"a\0b\0c\0"), target(linesep="\0"))
    assert rows.table["value"].to_pylist() == ["a", "b", "c"]

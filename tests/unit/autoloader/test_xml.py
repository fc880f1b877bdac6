"""XML: which elements are rows, what their columns are, what is rescued, and which files are refused."""

import io
import json
import tracemalloc
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pyspark.sql import types as t

from lakehouse.autoloader.formats.rows import QUARANTINE, BadFile, Target
from lakehouse.autoloader.formats.xml import infer_xml, parse_xml
from lakehouse.autoloader.formats.xml_records import MAX_DEPTH
from lakehouse.autoloader.schema.hints import parse_hints, with_hints
from lakehouse.errors import ConfigurationError

PATH = "s3a://bucket/file.xml"
BOOKS = b"""<?xml version="1.0"?>
<catalog xmlns:p="u">
  <book id="1"><title>A</title><author>X</author><author>Y</author><price cur="EU">5.5</price><day>2020-01-02</day>
    <at>2020-01-02T03:04:05Z</at><n>5</n><gone/><mixed>one <b>two</b> three</mixed></book>
  <book id="2"><title lang="en">B</title><author>Z</author><price>7</price><n>x</n><is>true</is><p:q>1</p:q>
    <tags><tag>1</tag><tag>2</tag></tags></book>
  <book/>
</catalog>"""


def lower(reader):
    return {name.lower(): value for name, value in {"rowTag": "row", **reader}.items()}


def inferred(*files, typed=True, **reader):
    found = infer_xml([io.BytesIO(file) for file in files], reader=lower(reader), infer_column_types=typed)
    return found.simpleString().removeprefix("struct<").removesuffix(">")


def parts(data, schema, *, max_record_bytes=1 << 28, **reader):
    schema = schema if isinstance(schema, t.StructType) else with_hints(t.StructType(), parse_hints(schema))
    corrupt, rescued = (name if name in schema.names else None for name in ("_corrupt_record", "_rescued_data"))
    target = Target(schema, lower(reader), PATH, corrupt, rescued, max_record_bytes=max_record_bytes)
    return list(parse_xml(io.BytesIO(data), target))


def rows(data, schema, **reader):
    return [tuple(row.values()) for part in parts(data, schema, **reader) for row in part.table.to_pylist()]


def values(content, type_, **reader):
    """What records with this content give for a column ``a``."""
    return rows(f"<r><row>{content}</row></r>".encode(), f"a {type_}", **reader)[0][0]


def reason(data, schema="a STRING", **options):
    with pytest.raises(BadFile) as caught:
        rows(data, schema, **options)
    return caught.value.reason


def test_columns_are_strings_and_repeated_elements_arrays_of_them():
    assert inferred(BOOKS, typed=False, rowTag="book") == (
        "_id:string,at:string,author:array<string>,day:string,gone:string,is:string,mixed:string,n:string,p:q:string,"
        "price:string,tags:string,title:string"
    )


def test_with_types_elements_become_what_spark_makes_of_them():
    assert inferred(BOOKS, rowTag="book") == (
        "_id:bigint,at:timestamp,author:array<string>,day:date,gone:string,is:boolean,"
        "mixed:struct<_VALUE:array<string>,b:string>,n:string,p:q:bigint,price:struct<_VALUE:double,_cur:string>,"
        "tags:struct<tag:array<bigint>>,title:struct<_VALUE:string,_lang:string>"
    )
    schema = infer_xml([io.BytesIO(BOOKS)], reader=lower({"rowTag": "book"}), infer_column_types=True)
    first, second, empty = rows(BOOKS, schema, rowTag="book")
    nothing = (None,) * 8
    title = {"_VALUE": "A", "_lang": None}
    mixed = {"_VALUE": ["one", "three"], "b": "two"}
    at = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    price = {"_VALUE": 5.5, "_cur": "EU"}
    assert first == (1, at, ["X", "Y"], date(2020, 1, 2), "", None, mixed, "5", None, price, None, title)
    price = {"_VALUE": 7.0, "_cur": None}
    title = {"_VALUE": "B", "_lang": "en"}
    assert second == (2, None, ["Z"], None, None, True, None, "x", 1, price, {"tag": [1, 2]}, title)
    assert empty == (*nothing, *nothing[:4])


@pytest.mark.parametrize(
    ("texts", "type_"),
    [
        (("1", "+2", "-3", ""), "bigint"),
        (("1", "9223372036854775808"), "double"),
        (("1", "2.5", ".5", "1e3"), "double"),
        (("1d",), "string"),
        (("1", "x"), "string"),
        (("true", "FALSE"), "boolean"),
        (("true", "1"), "string"),
        (("2020-01-02",), "date"),
        (("2020-01-02", "2020-01-02 03:04:05"), "timestamp"),
        (("2020-1-2",), "timestamp"),
        (("12:30",), "string"),
        (("", " "), "string"),
    ],
)
def test_types_of_texts(texts, type_):
    records = "".join(f"<row><a>{text}</a></row>" for text in texts)
    assert inferred(f"<r>{records}</r>".encode()) == f"a:{type_}"


@pytest.mark.parametrize(
    ("records", "columns"),
    [
        ("<row><a><b>1</b></a></row><row><a><b>x</b><c>1</c></a></row>", "a:struct<b:string,c:bigint>"),
        ("<row><a>1</a></row><row><a>1</a><a>2.5</a></row>", "a:array<double>"),
        ("<row><a x='1'>1</a></row><row><a>x</a></row>", "a:struct<_VALUE:string,_x:bigint>"),
        ("<row><a x='1'/></row><row><a>5</a></row>", "a:string"),
        ("<row><a><b/></a></row>", "a:struct<b:string>"),
        ("<row>text</row>", "_VALUE:string"),
        ("<row><a>1<!-- 2 --><?x y?>3</a></row>", "a:bigint"),
        ("<row><a><![CDATA[<b>1</b>]]></a></row>", "a:string"),
        ("<row/>", ""),
    ],
)
def test_types_of_elements(records, columns):
    assert inferred(f"<r>{records}</r>".encode()) == columns


def test_decimals_are_preferred_and_dates_are_not_where_options_say_so():
    data = b"<row><a>1.25</a><b>2020-01-02</b></row>"
    assert inferred(data, prefersDecimal="true", preferDate="false") == "a:decimal(3,2),b:timestamp"


def test_a_file_that_is_no_xml_adds_no_column():
    assert inferred(b"<row><a>1</a></row>", b"<r><row><b>1</b></row>") == "a:bigint"


def test_names_of_attributes_of_texts_and_of_namespaces_are_as_the_options_say():
    data = b'<r xmlns:p="u"><p:row p:x="1">t<p:a>2</p:a></p:row></r>'
    assert inferred(data, rowTag="p:row") == "_VALUE:string,_p:x:bigint,p:a:bigint"
    assert inferred(data, rowTag="row") == ""
    found = inferred(data, ignoreNamespace="true", attributePrefix="@", valueTag="text")
    assert found == "@x:bigint,a:bigint,text:string"
    assert inferred(data, ignoreNamespace="true", excludeAttribute="true") == "_VALUE:string,a:bigint"


@pytest.mark.parametrize(
    ("content", "type_", "options", "value"),
    [
        ("<a> 1 </a>", "INT", {}, 1),
        ("<a> x </a>", "STRING", {}, "x"),
        ("<a> x </a>", "STRING", {"ignoreSurroundingSpaces": "false"}, " x "),
        ("<a/>", "STRING", {}, ""),
        ("<a/>", "STRING", {"nullValue": ""}, None),
        ("<a/>", "INT", {}, None),
        ("<a> </a>", "INT", {}, None),
        ("<a>-</a>", "INT", {"nullValue": "-"}, None),
        ("<a/>", "STRUCT<b: INT>", {}, {"b": None}),
        ("<a>1</a>", "BOOLEAN", {}, True),
        ("<a>1,234.5</a>", "DOUBLE", {}, 1234.5),
        ("<a>1,234.5</a>", "DECIMAL(6, 1)", {}, Decimal("1234.5")),
        ("<a>02.01.2020</a>", "DATE", {"dateFormat": "dd.MM.yyyy"}, date(2020, 1, 2)),
        ("<a>x</a>", "BINARY", {}, b"x"),
        ("<a>1</a><a>2</a>", "ARRAY<INT>", {}, [1, 2]),
        ("<a>1</a><a/>", "ARRAY<INT>", {}, [1, None]),
        ("<a k='v'><b>1</b></a>", "MAP<STRING, STRING>", {}, [("_k", "v"), ("b", "1")]),
        ("<a>x<b c='1'>&lt;</b>y</a>", "STRING", {}, 'x<b c="1"><</b>y'),
        ("<a><![CDATA[<b>]]>&amp;&#65;</a>", "STRING", {}, "<b>&A"),
        ("<a>1<!-- <a>9</a> -->2</a>", "INT", {}, 12),
        ("<x/>", "INT", {}, None),
    ],
)
def test_values(content, type_, options, value):
    assert values(content, type_, **options) == value


def test_what_no_column_shows_is_rescued_and_new_names_are_told():
    data = b"<row><a>x</a><a>1</a><b>2</b><b>y</b><c k='v'>t</c><d><e>1</e><f>2</f></d><g>1</g><g/></row>"
    (part,) = parts(data, "a INT, b ARRAY<INT>, c STRING, d STRUCT<e: INT>, _rescued_data STRING")
    *row, text = part.table.to_pylist()[0].values()
    assert row == [1, None, "t", {"e": 1}]
    assert json.loads(text) == {
        "a": "x",
        "b": ["2", "y"],
        "c": {"_k": "v", "_VALUE": "t"},
        "d": {"e": "1", "f": "2"},
        "g": ["1", ""],
        "_file_path": PATH,
    }
    assert part.new_fields == {"g"}


def test_of_a_repeated_element_without_an_array_the_last_is_kept_and_the_others_are_rescued():
    ((value, text),) = rows(b"<row><a>1</a><a>2</a><a>3</a></row>", "a INT, _rescued_data STRING")
    assert (value, json.loads(text)) == (3, {"a": ["1", "2"], "_file_path": PATH})


def test_names_are_told_apart_by_case_unless_the_option_says_otherwise():
    data = b"<row><A>1</A></row>"
    assert rows(data, "a INT") == [(None,)]
    assert rows(data, "a INT", readerCaseSensitive="false") == [(1,)]


def test_an_element_that_has_no_column_goes_to_the_wildcard_s():
    data = b"<row k='1'><a>1</a><b>2</b><c><d/></c>text</row>"
    ((_, any_, text),) = rows(data, "a INT, xs_any ARRAY<STRING>, _rescued_data STRING")
    assert any_ == ["2", "<d></d>"]
    assert json.loads(text) == {"_k": "1", "_VALUE": "text", "_file_path": PATH}
    assert rows(data, "a INT, rest STRING", wildcardColName="rest") == [(1, "<d></d>")]


BAD = b'<r><row><a>1</a></row>\n<row><a>x</a><b>&lt;2</b></row ><row c="/>"/></r>'


def test_a_value_of_a_wrong_type_costs_only_itself_and_the_record_is_kept_as_it_stands():
    found = rows(BAD, "a INT, b STRING, _corrupt_record STRING")
    assert found == [(1, None, None), (None, "<2", "<row><a>x</a><b>&lt;2</b></row >"), (None, None, None)]
    assert rows(BAD, "a INT, b STRING", mode="DROPMALFORMED") == [(1, None), (None, None)]
    assert reason(BAD, "a INT", mode="FAILFAST") == "MALFORMED"
    (part,) = parts(BAD, "a INT", mode=QUARANTINE)
    assert part.records.tolist() == [0, 2]
    assert part.bad.to_pylist() == [
        {
            "record": 1,
            "raw": "<row><a>x</a><b>&lt;2</b></row >",
            "reason": "WRONG_TYPE: the value of a is not of its column's type",
        }
    ]


def test_a_record_within_one_of_its_name_is_part_of_it_and_those_in_comments_and_texts_are_none():
    data = b"<r><row><a>1</a><row><a>2</a></row></row><!-- <row/> --><x><![CDATA[<row/>]]><row><a>3</a></row></x></r>"
    assert rows(data, "a INT, row STRUCT<a: INT>") == [(1, {"a": 2}), (3, None)]


def test_several_documents_in_a_file_are_read_one_after_another():
    data = b'<?xml version="1.0"?><row><a>1</a></row>\n<?xml version="1.0"?>\n<r><row><a>2</a></row></r><row/>'
    assert rows(data, "a INT") == [(1,), (2,), (None,)]
    many = parts(b"<row><a>7</a></row>\n" * 12_000, "a INT")
    assert [part.table.num_rows for part in many] == [2_000] * 6
    assert many[1].records.tolist()[:2] == [2_000, 2_001]


@pytest.mark.parametrize("data", [b"", b" \n", b"<r/>", b"<r><other/></r>"])
def test_a_file_without_records_has_no_rows(data):
    assert rows(data, "a INT") == []


LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
REFUSED = [
    (f'<!DOCTYPE r [<!ENTITY l0 "lol">{LAUGHS}]><r><row><a>&l9;</a></row></r>', "HAS_DTD"),
    ('<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><r><row><a>&a;</a></row></r>', "HAS_DTD"),
    ("<!DOCTYPE r [<!ELEMENT r ANY>]><r><row/></r>", "HAS_DTD"),
    ('<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd"><r><row><a>&named;</a></row></r>', "HAS_DTD"),
    ('<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd"><r><row a="1 &named; 2"/></r>', "HAS_DTD"),
    ("<r><row><a>&named;</a></row></r>", "NOT_XML"),
    ("<r><row><a></row></r>", "NOT_XML"),
    ("<r><row/></r> and more", "NOT_XML"),
    ("no XML", "NOT_XML"),
    ("<r>" * MAX_DEPTH + "<row/>", "NOT_XML"),
    ("<r><row>" + "<a>" * MAX_DEPTH, "NOT_XML"),
    ("<r><row><a>1</a></row><row><a>2", "TRUNCATED"),
    ("<r><row><a>1</a></row><row", "TRUNCATED"),
    ("<r><row><a>1</a></row>", "TRUNCATED"),
    ('<?xml version="1.0" encoding="klingon"?><r/>', "NOT_UTF8"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[f"{why} {n}" for n, (_, why) in enumerate(REFUSED)])
def test_a_file_that_is_refused_gives_no_rows(text, why):
    assert reason(text.encode()) == why


def test_a_file_that_is_no_xml_is_malformed_in_the_mode_failfast():
    assert reason(b"<r><row><a>1</a></row>", mode="FAILFAST") == "MALFORMED"


def test_a_doctype_that_declares_nothing_is_passed_over():
    data = b'<!DOCTYPE r PUBLIC "-//X//Y" "http://127.0.0.1:1/x.dtd"><r><row><a>1</a></row></r>'
    assert rows(data, "a INT") == [(1,)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "iso-8859-1", "utf-16", "utf-16-be", "utf-32", "gbk"])
def test_the_encoding_is_what_the_file_says(encoding):
    said = "utf-8" if encoding == "utf-8-sig" else encoding
    letter = "\u4e2d" if encoding == "gbk" else "\xe4"
    text = f'<?xml version="1.0" encoding="{said}"?><r><row><a>{letter}</a></row></r>'
    assert rows(text.encode(encoding), "a STRING") == [(letter,)]


def test_the_option_encoding_wins_and_a_declaration_that_cannot_be_is_passed_over():
    text = '<?xml version="1.0" encoding="utf-16"?><row><a>\xe4</a></row>'
    assert rows(text.encode(), "a STRING") == [("\xe4",)]
    assert rows(text.encode("latin-1"), "a STRING", encoding="ISO-8859-1") == [("\xe4",)]
    by_java = text.replace("utf-16", "Windows-31J").replace("\xe4", "\u2460").encode("cp932")
    assert rows(by_java, "a STRING") == rows(by_java, "a STRING", encoding="windows-31j") == [("\u2460",)]
    assert reason(text.encode("latin-1")) == "NOT_UTF8"
    assert reason(text.encode("utf-16-be")[:-1]) == "NOT_UTF8"


def test_a_record_without_an_end_is_refused_before_it_fills_the_memory():
    endless = b"<row>" + b"<a>1</a>" * 400_000
    assert reason(endless, max_record_bytes=8 << 20) == "RECORD_TOO_LARGE"


def test_memory_holds_the_records_that_are_read_and_not_the_file():
    record = b"<row><a>" + b"x" * 4000 + b"</a></row>"

    class Endless(io.RawIOBase):
        left = 4000

        def read(self, size=-1):
            some = min(self.left, 64)
            self.left -= some
            return record * some

    target = Target(t.StructType().add("a", "string"), lower({}), PATH)
    tracemalloc.start()
    assert sum(part.table.num_rows for part in parse_xml(Endless(), target)) == 4000
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 12 << 20


XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="u" elementFormDefault="qualified">
<xs:element name="row"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int"/></xs:sequence>
</xs:complexType></xs:element></xs:schema>"""


def test_records_are_held_against_an_xsd_with_the_namespaces_around_them(tmp_path):
    place = tmp_path / "x.xsd"
    place.write_text(XSD)
    data = b'<r xmlns:p="u"><p:row><p:a>1</p:a></p:row><p:row><p:a>x</p:a></p:row></r>'
    options = {"rowTag": "p:row", "rowValidationXSDPath": str(place)}
    found = rows(data, "`p:a` STRING, _corrupt_record STRING", **options)
    assert found == [("1", None), (None, "<p:row><p:a>x</p:a></p:row>")]
    assert rows(data, "`p:a` STRING", mode="DROPMALFORMED", **options) == [("1",)]
    with pytest.raises(ConfigurationError, match="no XSD can be read"):
        rows(data, "a STRING", rowTag="p:row", rowValidationXSDPath=f"{place}.gone")


def test_a_record_is_one_variant():
    data = b"<r><row k='1'><a>true</a><a>x</a><b>1.50</b><B>2</B><c/></row><row>5</row><row/></r>"
    assert inferred(b"no XML", singleVariantColumn="v") == "v:variant"
    (part,) = parts(data, t.StructType().add("v", t.VariantType()), singleVariantColumn="v")
    found = [t.VariantVal(**row["v"]).toJson() for row in part.table.to_pylist()]
    assert found == ['{"_k":1,"a":[true,"x"],"b":[1.50,2],"c":null}', "5", "null"]
    with pytest.raises(ConfigurationError, match="the files fill one column, v VARIANT"):
        parts(data, "a STRING", singleVariantColumn="v")


@pytest.mark.parametrize("type_", ["ARRAY<ARRAY<INT>>", "MAP<INT, INT>", "STRUCT<b: MAP<INT, INT>>", "VARIANT"])
def test_types_that_xml_cannot_fill_are_refused(type_):
    with pytest.raises(ConfigurationError, match="The XML reader gives no"):
        rows(b"", f"a {type_}")

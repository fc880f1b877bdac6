"""Types that win over inferred ones."""

import pytest
from pyspark.sql.types import StructType

from lakehouse.autoloader.schema.hints import hinted_names, parse_hints, types_of, with_hints
from lakehouse.errors import ConfigurationError

HINTS = [
    ("id bigint, name STRING", "struct<id:bigint,name:string>"),
    ("a int,b  DECIMAL(10,2) , c dec", "struct<a:int,b:decimal(10,2),c:decimal(10,0)>"),
    ("tags array<string>, m map<string,int>", "struct<tags:array<string>,m:map<string,int>>"),
    ("s struct<a:int, b: array<struct<c:date>>>", "struct<s:struct<a:int,b:array<struct<c:date>>>>"),
    ("`with space` int, `a``b` string", "struct<with space:int,a`b:string>"),
    ("a INT NOT NULL COMMENT 'the \\'first\\', of two', b string comment \"x\"", "struct<a:int,b:string>"),
    ("s struct<a: int not null, b: char(3)>, v VARCHAR(10)", "struct<s:struct<a:int,b:string>,v:string>"),
    ("-- those\nid int, -- not null\r\n/* a name,\n*/ name/**/string --", "struct<id:int,name:string>"),
    ("t timestamp_ltz, c CHARACTER(3)", "struct<t:timestamp,c:string>"),
    ("t timestamp_ntz, u timestamp, f float, x binary", "struct<t:timestamp_ntz,u:timestamp,f:float,x:binary>"),
    ("v VARIANT, s struct<w:variant>", "struct<v:variant,s:struct<w:variant>>"),
]


def columns(text):
    return with_hints(StructType(), parse_hints(text))


@pytest.mark.parametrize(("text", "type_"), HINTS)
def test_hints_are_read_as_spark_reads_columns(text, type_):
    assert columns(text).simpleString() == type_
    written = ", ".join(map(" ".join, types_of(columns(text)).items()))
    assert columns(written) == columns(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a int b int",
        "a array<int",
        "a nonsense",
        "a int,",
        "a decimal(x)",
        "a int;",
        "a int /* b string",
        "a - int",
        "a int not",
        "a int not b",
        "a int comment b",
        "a char",
        "a varchar(x)",
    ],
)
def test_what_is_no_hint_is_one_clear_error(text):
    with pytest.raises(ConfigurationError, match="cannot read the schema hints"):
        parse_hints(text)


def test_a_hint_keeps_the_columns_place_and_an_expected_column_comes_last():
    inferred, hints = columns("a string, b string"), parse_hints("later date, a int")
    assert with_hints(inferred, hints).simpleString() == "struct<a:int,b:string,later:date>"


@pytest.mark.parametrize(
    ("inferred", "hints", "wanted"),
    [
        ("s struct<a:string,b:string>", "s.b date", "struct<s:struct<a:string,b:date>>"),
        ("s struct<a:string>", "s.later int", "struct<s:struct<a:string,later:int>>"),
        ("t array<string>", "t.element int", "struct<t:array<int>>"),
        ("t array<struct<a:string>>", "t.element.a int", "struct<t:array<struct<a:int>>>"),
        ("m map<string,string>", "m.key int, m.value double", "struct<m:map<int,double>>"),
        ("`a.b` string, a struct<b:string>", "`a.b` int", "struct<a.b:int,a:struct<b:string>>"),
        ("a struct<`b.c`:string>", "a.`b.c` int", "struct<a:struct<b.c:int>>"),
        ("coupon string", "Coupon int", "struct<Coupon:int>"),
        (
            "a string",
            "s.b int, t.element date, m.value int",
            "struct<a:string,s:struct<b:int>,t:array<date>,m:map<string,int>>",
        ),
        ("s string", "s.b int", "struct<s:struct<b:int>>"),
    ],
)
def test_hints_reach_into_columns(inferred, hints, wanted):
    assert with_hints(columns(inferred), parse_hints(hints)).simpleString() == wanted


def test_the_names_that_hints_pin():
    assert hinted_names(parse_hints("a int, s.b date, t array<int>, m map<string,struct<c:int>>")) == {
        *("a", "s.b", "t[]", "m{}.c")
    }

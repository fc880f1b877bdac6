"""Types that win over inferred ones."""

import pytest

from lakehouse.autoloader.hints import parse_hints, with_hints
from lakehouse.errors import ConfigurationError

HINTS = [
    ("id bigint, name STRING", "struct<id:bigint,name:string>"),
    ("a int,b  DECIMAL(10,2) , c dec", "struct<a:int,b:decimal(10,2),c:decimal(10,0)>"),
    ("tags array<string>, m map<string,int>", "struct<tags:array<string>,m:map<string,int>>"),
    ("s struct<a:int, b: array<struct<c:date>>>", "struct<s:struct<a:int,b:array<struct<c:date>>>>"),
    ("`with space` int, `a``b` string", "struct<with space:int,a`b:string>"),
    ("t timestamp_ntz, u timestamp, f float, x binary", "struct<t:timestamp_ntz,u:timestamp,f:float,x:binary>"),
]


@pytest.mark.parametrize(("text", "type_"), HINTS)
def test_hints_are_read_as_spark_reads_columns(text, type_):
    assert parse_hints(text).simpleString() == type_


@pytest.mark.parametrize(
    "text", ["", "a", "a int b int", "a array<int", "a nonsense", "a int,", "a decimal(x)", "a int;"]
)
def test_what_is_no_hint_is_one_clear_error(text):
    with pytest.raises(ConfigurationError, match="cannot read the schema hints"):
        parse_hints(text)


def test_a_hint_keeps_the_columns_place_and_an_expected_column_comes_last():
    inferred, hints = parse_hints("a string, b string"), parse_hints("later date, a int")
    assert with_hints(inferred, hints).simpleString() == "struct<a:int,b:string,later:date>"

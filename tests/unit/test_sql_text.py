"""The text of a query: its tables get other names, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lakehouse.checks.groups import scale_of
from lakehouse.flows.query import Python, Sql
from lakehouse.flows.sql_text import defines, tables_read, tokens, with_tables_named

NAMES = {"silver.orders": "`o`", "bronze.x": "`b`", "main.silver.orders": "`m`"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT * FROM silver.orders", "SELECT * FROM `o`"),
        ("FROM Silver . `Orders` AS s", "FROM `o` AS s"),
        ("SELECT silver.orders.id FROM silver.orders,bronze.x", "SELECT `o`.id FROM `o`,`b`"),
        ("SELECT silver /* of */ . -- the\n orders.id", "SELECT `o`.id"),
        (
            "SELECT 'silver.orders', \"bronze.x\" -- silver.orders",
            "SELECT 'silver.orders', \"bronze.x\" -- silver.orders",
        ),
        (r"SELECT 'it\'s silver.orders', r'\' , silver.orders", r"SELECT 'it\'s silver.orders', r'\' , `o`"),
        ("/* silver.orders */ FROM silver.orders_old", "/* silver.orders */ FROM silver.orders_old"),
        ("FROM my.silver.orders JOIN oldsilver.orders", "FROM my.silver.orders JOIN oldsilver.orders"),
        ("FROM `silver.orders`", "FROM `silver.orders`"),
        ("SELECT main.silver.orders.id FROM `Main` . silver.orders m", "SELECT `m`.id FROM `m` m"),
    ],
)
def test_a_table_is_found_as_a_whole_name_only(query, expected):
    assert with_tables_named(query, NAMES) == expected


@given(st.text("ab.`'\"\\-*/\n ()1", max_size=30))
def test_the_parts_of_a_query_are_the_query(query):
    assert "".join(part.text for part in tokens(query)) == query
    assert with_tables_named(query, NAMES) == query


def test_a_query_that_names_a_table_which_it_does_not_declare_is_refused():
    assert tables_read("SELECT gold.x FROM silver.a JOIN -- FROM bronze.q\n `bronze`.b ON 'FROM gold.c'") == {
        "silver.a",
        "bronze.b",
    }
    with pytest.raises(ValidationError, match=r"silver\.ordres"):
        Sql(of="silver.orders", query="SELECT * FROM silver.ordres")
    with pytest.raises(ValidationError, match="names no function"):
        Python(of="silver.orders", function="module.function")


def test_a_table_keeps_the_last_part_of_its_name_unless_that_is_taken():
    alone = Sql(of="silver.orders", query="SELECT orders.id FROM silver.orders;")
    assert alone.over({"silver.orders": "v"}) == (
        "WITH `orders` AS (SELECT * FROM `v`)\nSELECT * FROM (\nSELECT orders.id FROM `orders`\n)"
    )
    query = "WITH orders (a) AS (SELECT 1) SELECT * FROM silver.orders JOIN orders"
    assert "JOIN orders" in Sql(of="silver.orders", query=query).over({"silver.orders": "v"})
    assert "FROM `silver__orders`" in Sql(of="silver.orders", query=query).over({"silver.orders": "v"})
    both = Sql(of=["silver.x", "bronze.x"], query="SELECT * FROM silver.x JOIN bronze.x")
    assert both.over({"silver.x": "s", "bronze.x": "b"}).endswith("SELECT * FROM `silver__x` JOIN `bronze__x`\n)")
    assert not defines("SELECT orders AS (x) FROM t.orders AS o", "order")


@pytest.mark.parametrize(
    ("aggregate", "scale"),
    [
        ("sum(amount)", "sum(abs(amount))"),
        (" AVG ( a * (b + 1) ) ", "AVG(abs( a * (b + 1) ))"),
        ("sum(if(x = ')', a, b))", "sum(abs(if(x = ')', a, b)))"),
        ("sum(a) / sum(b)", None),
        ("sum(DISTINCT a)", None),
        ("sum(a) FILTER (WHERE (b))", None),
        ("max(a)", None),
        ("sum(a -- the amount\n)", None),
    ],
)
def test_only_a_plain_sum_or_mean_has_a_scale(aggregate, scale):
    assert scale_of(aggregate) == scale

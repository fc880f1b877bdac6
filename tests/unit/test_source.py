"""How the source is cut: what belongs to the orders stays with them, and a module is short."""

import re
import subprocess
from pathlib import Path
from statistics import median

import pytest

from lakehouse.declaration.variables import _MOVED

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = sorted((ROOT / "lakehouse").rglob("*.py"))
OF_ORDERS = ROOT / "lakehouse/orders"
FIELDS = ("order_id", "customer_id", "order_date", "total_amount", "payment_method", "product_id", "quantity")


ABOUT_ORDERS = (
    "lakehouse/orders",
    *("lakehouse.yaml", "contracts/bronze.orders_autoloader.odcs.yaml", "examples/pipelines"),  # what is declared
    *("README.md", "docs", "notebooks", "benchmarks", "tests"),  # what explains, measures and tests by their files
)
OF_CUSTOMERS = "customer_id"
"""Of the other example, too."""


def _found(fields, *places):
    command = ["git", "grep", "-nwIE", "|".join(fields), "--", *places]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def test_no_field_of_an_order_is_named_outside_of_the_orders_folder():
    others = [f":!{place}" for place in ABOUT_ORDERS]
    assert _found(FIELDS, ".", *others, ":!examples/customers") == []
    assert _found([name for name in FIELDS if name != OF_CUSTOMERS], "examples/customers") == []


@pytest.mark.parametrize("place", ABOUT_ORDERS)
def test_each_place_that_is_about_orders_names_some_field(place):
    assert _found(FIELDS, place)


def test_the_orders_folder_names_every_field():
    text = "".join(path.read_text(encoding="utf-8") for path in OF_ORDERS.glob("*.py"))
    assert [name for name in FIELDS if not re.search(rf"\b{name}\b", text)] == []


def test_no_variable_of_the_orders_declaration_is_named_where_any_table_is_meant():
    moved = re.compile(rf"LAKEHOUSE_({'|'.join(_MOVED)})\b")
    files = [path for path in LIBRARY if OF_ORDERS not in path.parents]
    assert [str(path.relative_to(ROOT)) for path in files if moved.search(path.read_text(encoding="utf-8"))] == []


def _lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_has_more_than_400_lines():
    assert [f"{path.relative_to(ROOT)}: {_lines(path)}" for path in LIBRARY if _lines(path) > 400] == []


def test_half_of_the_modules_have_at_most_120_lines():
    assert median(map(_lines, LIBRARY)) <= 120

"""How the source is cut: what belongs to the orders stays with them, and a module is short."""

import re
from pathlib import Path
from statistics import median

import pytest

from lakehouse.declaration.variables import _MOVED

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = sorted((ROOT / "lakehouse").rglob("*.py"))
OF_ORDERS = ROOT / "lakehouse/orders"
FIELDS = ("order_id", "customer_id", "order_date", "total_amount", "payment_method", "product_id", "quantity")


def _files(folder):
    return [path for path in sorted((ROOT / folder).rglob("*")) if path.is_file() and path.suffix != ".pyc"]


def _named(path):
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    word = re.compile(rf"\b({'|'.join(FIELDS)})\b")
    return [f"{path.relative_to(ROOT)}:{number}: {line.strip()}" for number, line in lines if word.search(line)]


@pytest.mark.parametrize("folder", ["lakehouse", "assets", "resources"])
def test_no_field_of_an_order_is_named_outside_of_the_orders_folder(folder):
    files = [path for path in _files(folder) if OF_ORDERS not in path.parents]
    assert files
    assert [line for path in files for line in _named(path)] == []


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

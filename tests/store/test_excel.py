"""Workbooks that land become rows of a table on the local engine; what is no workbook, or too large, is left out."""

import io
import json
import zipfile
from datetime import date, datetime

import openpyxl
import pyarrow as pa
import pytest
from store.local_world import TABLE, LocalWorld

OPTIONS = {"headerRows": 1, "cloudFiles.inferColumnTypes": True, "dataAddress": "Orders"}


def workbook(rows, sheet="Orders"):
    made, file = openpyxl.Workbook(), io.BytesIO()
    made.active.title = "Notes"
    orders = made.create_sheet(sheet)
    for row in rows:
        orders.append(row)
    made.save(file)
    return file.getvalue()


HEADER = ["id", "city", "day", "price"]
JANUARY = workbook([HEADER, [1, "Oslo", date(2026, 1, 2), 9.5], [2, "Łódź", None, "#N/A"]])


@pytest.fixture
def orders(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(format="excel", options=OPTIONS)


def test_workbooks_become_rows_each_once_and_what_does_not_fit_is_rescued(orders):
    orders.put("1.xlsx", JANUARY)
    assert orders.load_rows() == 2
    orders.put("2.xlsm", workbook([[*HEADER, "coupon"], [3, "Rio", "2026-02-03", 1, "X"], [4.5, "Rom", None, 2]]))
    run = orders.load()
    assert (run.rows_added, run.rescued_rows) == (2, 2)
    assert orders.rows("id", "city", "day", "price") == [
        (1, "Oslo", date(2026, 1, 2), 9.5),
        (2, "Łódź", None, None),
        (3, "Rio", date(2026, 2, 3), 1.0),
        (None, "Rom", None, 2.0),
    ]
    kept = [json.loads(text) for (text,) in orders.rows("_rescued_data") if text]
    assert [{name: value for name, value in rescued.items() if name != "_file_path"} for rescued in kept] == [
        {"coupon": "X"},
        {"id": 4.5},
        {"price": "#N/A"},
    ]
    assert orders.load_rows() == 0
    assert not orders.failed_checks()


def test_what_cannot_be_read_goes_to_quarantine_with_its_reason_and_its_neighbours_are_loaded(orders):
    orders.declare(format="excel", options={**OPTIONS, "maxWorkbookBytes": "1m"})
    orders.put("1.xlsx", JANUARY)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("xl/workbook.xml", b"<workbook>" + b" " * (8 << 20))
    bad = {
        "bomb.xlsx": (packed.getvalue(), "WORKBOOK_TOO_LARGE"),
        "cut.xlsx": (JANUARY[:-200], "TRUNCATED"),
        "locked.xlsx": (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512) + "EncryptedPackage".encode("utf-16-le"),
            "ENCRYPTED",
        ),
        "other.xlsx": (workbook([HEADER], sheet="Customers"), "NO_SUCH_SHEET"),
        "page.xls": (b"<html><table></table></html>", "NOT_EXCEL"),
    }
    for name, (data, _) in bad.items():
        orders.put(name, data)
    assert orders.load_rows() == 2
    states = {state.path.rsplit("/", 1)[1]: (state.ingestion_state, state.error) for state in orders.file_states()}
    for name, (_, reason) in bad.items():
        assert states[name][0] == "QUARANTINED", name
        assert states[name][1].startswith(reason), states[name]
    assert "no_quarantined_files" in orders.failed_checks()


def test_times_of_workbooks_have_no_zone(orders):
    orders.put("1.xlsx", workbook([["at"], [datetime(2026, 1, 2, 3, 4, 5)]]))
    assert orders.load_rows() == 1
    orders.put("2.xlsx", workbook([["at"], [datetime(2026, 2, 2, 3, 4, 5, 678000)]]))
    assert orders.load_rows() == 1
    assert orders.rows("at") == [(datetime(2026, 1, 2, 3, 4, 5),), (datetime(2026, 2, 2, 3, 4, 5, 678000),)]
    assert not orders.failed_checks()
    table = orders.lake.delta(TABLE)
    assert str(table.schema().fields[0].type) == 'PrimitiveType("timestamp_ntz")'
    later = [("at", ">", datetime(2026, 1, 31))]
    assert table.to_pyarrow_table(filters=later).num_rows == 1
    told = [action["min"]["at"] for action in pa.table(table.get_add_actions()).to_pylist()]
    assert sorted(told) == [datetime(2026, 1, 2, 3, 4, 5), datetime(2026, 2, 2, 3, 4, 5, 678000)]

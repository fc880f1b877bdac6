"""Workbooks that spreadsheets write and that few people have seen, and headers that are not what columns need."""

import io
import json
import zipfile
from datetime import date, datetime

import openpyxl
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from pyspark.sql.types import StructType
from unit.autoloader.test_excel import GOOD, HEADER, XML, inferred, repacked, rows, sheet, workbook

from lakehouse.autoloader.formats.csv import parse_csv
from lakehouse.autoloader.formats.rows import BadFile, Target
from lakehouse.autoloader.formats.text import header_names

TITLE = b'<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c></row>'
BOOK = "xl/workbook.xml"
LIST = {"operation": "listSheets"}


def saved(book):
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def part(data, name):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return file.read(name)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["a", "a", "b"], ["a1", "a2", "b"]),
        (["a", "a", "a2"], ["a1", "a2_2", "a2"]),
        (["_c2", ""], ["_c2", "_c2_2"]),
        (["a", "A", "A1", "a1_1"], ["a1_1_1", "A2", "A1", "a1_1"]),
        (["a", "a", "a1", "a1"], ["a1", "a2", "a13", "a14"]),
        (["", ""], ["_c1", "_c2"]),
    ],
)
def test_no_column_of_a_header_takes_the_place_of_another(header, names):
    assert header_names(header, first=1) == names
    assert len({name.lower() for name in names}) == len(names)


def test_of_columns_whose_names_collide_every_value_is_kept():
    schema = StructType().add("a0", "string").add("a1", "string").add("r", "string")
    [*_, part] = parse_csv(io.BytesIO(b"a,a,a1\nx,y,z\n"), Target(schema, {"header": "true"}, "p", None, "r"))
    assert part.table.to_pylist() == [{"a0": "x", "a1": "z", "r": '{"a1_1":"y","_file_path":"p"}'}]
    data = workbook([["a", "a", "a2"], ["x", "y", "z"]])
    assert inferred(data) == "a1:string,a2_2:string,a2:string"
    [row] = rows(data, "a1 STRING, a2 STRING", rescued="r")
    assert (row["a1"], row["a2"], json.loads(row["r"])["a2_2"]) == ("x", "z", "y")


@pytest.mark.parametrize(("written", "number"), [("NaN", "NaN"), ("1e400", "Infinity"), ("-1e400", "-Infinity")])
@pytest.mark.parametrize("type_", ["BIGINT", "DECIMAL(5,2)", "DATE", "BOOLEAN"])
def test_a_number_that_is_none_is_rescued_as_text_and_stops_nothing(written, number, type_):
    data = sheet(TITLE, f'<row r="2"><c r="A2"><v>{written}</v></c></row>'.encode())
    [row] = rows(data, f"a {type_}", rescued="r")
    assert (row["a"], json.loads(row["r"])["a"]) == (None, number)
    assert rows(data, "a STRING") == [{"a": number}]
    assert str(rows(data, "a DOUBLE")[0]["a"]) == str(float(written))
    assert inferred(data) == "a:double"


def test_a_whole_number_has_no_point_however_large_it_is():
    data = workbook([["a"], [2**53 - 1], [2.0**60], [1e300]])
    assert [row["a"] for row in rows(data, "a STRING")] == ["9007199254740991", "1.152921504606847e+18", "1e+300"]
    far = sheet(TITLE, b'<row r="2"><c r="A2"><v>9007199254740992</v></c></row>')
    assert rows(far, "a STRING") == [{"a": "9007199254740992"}]


def test_dates_that_count_from_1904_are_the_same_dates():
    book = openpyxl.Workbook()
    book.epoch = CALENDAR_MAC_1904
    for cells in (["a"], [date(2024, 1, 2)], [datetime(2024, 1, 2, 3, 4, 5)]):
        book.active.append(cells)
    found = rows(saved(book), "a TIMESTAMP_NTZ")
    assert [row["a"] for row in found] == [datetime(2024, 1, 2), datetime(2024, 1, 2, 3, 4, 5)]


def test_the_date_of_excel_that_never_was_is_the_day_before_it():
    """Excel counts a 29th of February in 1900."""
    book = openpyxl.Workbook()
    for row, value in enumerate(["a", 59, 60, 61], 1):
        book.active.cell(row, 1, value).number_format = "yyyy-mm-dd"
    assert [str(row["a"]) for row in rows(saved(book), "a DATE")] == ["1900-02-28", "1900-02-28", "1900-03-01"]


def test_a_sheet_that_is_hidden_is_a_sheet_and_a_chart_is_none():
    book = openpyxl.Workbook()
    for cells in (["a"], ["one"]):
        book.active.append(cells)
    book.active.sheet_state = "veryHidden"
    book.create_chartsheet("chart", 0)
    second = book.create_sheet("two")
    for cells in (["a"], ["#N/A"], ["two"]):
        second.append(cells)
    second.row_dimensions[3].hidden = True
    data = saved(book)
    assert rows(data, "sheetIndex BIGINT, sheetName STRING", LIST) == [
        {"sheetIndex": 1, "sheetName": "Sheet"},
        {"sheetIndex": 2, "sheetName": "two"},
    ]
    assert rows(data, "a STRING") == [{"a": "one"}]
    found = rows(data, "a STRING", {**HEADER, "dataaddress": "two"}, "r")
    assert [row["a"] for row in found] == [None, "two"]
    assert json.loads(found[0]["r"])["a"] == "#N/A"


@pytest.mark.parametrize(
    "change",
    [
        lambda book: book.replace(b'name="Sheet"', b'name="A > B"'),
        lambda book: book.replace(b"<sheets>", b'<sheets><!-- <sheet name="old" r:id="rId2"/> -->'),
        lambda book: book.replace(b"http://schemas.openxmlformats.org/spreadsheetml/2006/main", b"http://purl.oclc.org/ooxml/spreadsheetml/main"),
    ],
    ids=["a name with a sign of XML", "a sheet in a comment", "strict OOXML"],
)  # fmt: skip
def test_a_list_of_sheets_may_be_written_in_any_way(change):
    data = workbook([["a"], ["#N/A"]])
    changed = repacked(data, {BOOK: change(part(data, BOOK))})
    [row] = rows(changed, "a STRING", rescued="r")
    assert json.loads(row["r"])["a"] == "#N/A"


def test_a_date_that_is_written_as_a_text_is_a_date():
    cells = b'<row r="2"><c r="A2" t="d"><v>2024-01-02</v></c></row>'
    cells += b'<row r="3"><c r="A3" t="d"><v>2024-01-02T03:04:05</v></c></row>'
    found = rows(sheet(TITLE, cells), "a TIMESTAMP_NTZ")
    assert [row["a"] for row in found] == [datetime(2024, 1, 2), datetime(2024, 1, 2, 3, 4, 5)]


@pytest.mark.parametrize("address", ["A10:C20", "Sheet!A3:A9", "7:9"])
def test_a_range_behind_the_last_cell_has_no_header_and_no_rows(address):
    data = workbook([["a"], ["x"]])
    reader = {**HEADER, "dataaddress": address}
    assert rows(data, "a STRING", reader, "r") == []
    assert inferred(data, reader=reader) == ""


def test_numbers_that_are_texts_are_numbers_where_they_are_written_as_such():
    found = rows(workbook([["a"], ["007"], ["1,5"], ["'9"]]), "a INT", rescued="r")
    assert [row["a"] for row in found] == [7, None, None]
    assert [row["r"] and json.loads(row["r"])["a"] for row in found] == [None, "1,5", "'9"]


def test_texts_in_pieces_and_with_escapes_are_whole():
    texts = (
        b"<is><r><t>a</t></r><r><t xml:space='preserve'> b_x000D_&#10;c</t></r><rPh sb='0' eb='1'><t>no</t></rPh></is>"
    )
    assert rows(sheet(TITLE, b'<row r="2"><c r="A2" t="inlineStr">' + texts + b"</c></row>"), "a STRING") == [
        {"a": "a b\r\nc"}
    ]


def test_a_workbook_without_a_sheet_of_cells_has_no_rows_or_a_reason():
    empty = repacked(GOOD, {XML: part(workbook(), XML)})
    assert rows(empty, "a STRING") == []
    book = openpyxl.Workbook()
    book.create_chartsheet("chart")
    book.remove(book.active)
    with pytest.raises(BadFile, match="NO_SUCH_SHEET: there is no sheet"):
        rows(saved(book), "a STRING")

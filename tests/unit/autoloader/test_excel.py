"""Cells of workbooks become values of columns; what is packed too tight, cut off or no workbook has a reason."""

import io
import random
import re
import zipfile
from collections import Counter
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import openpyxl
import pytest
from pyspark.sql.types import StructType
from unit.autoloader.biff import record, xls

from lakehouse.autoloader.formats.excel import infer_excel, parse_excel
from lakehouse.autoloader.formats.excel_address import Address, parse_address
from lakehouse.autoloader.formats.rows import BadFile, Target
from lakehouse.autoloader.schema.hints import columns_of
from lakehouse.errors import ConfigurationError

HEADER = {"headerrows": "1"}
BEGIN = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
END = b"</sheetData></worksheet>"


def workbook(rows=(), changed=None, others=(), at="A1"):
    """A workbook whose first sheet has rows from a cell on, with its parts changed."""
    made, file = openpyxl.Workbook(), io.BytesIO()
    first = made.active[at]
    for down, row in enumerate(rows):
        for right, value in enumerate(row):
            made.active.cell(first.row + down, first.column + right, value)
    for name in others:
        made.create_sheet(name)
    made.save(file)
    return repacked(file.getvalue(), changed) if changed else file.getvalue()


def repacked(data, changed):
    """The same with other bytes for some parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in {**dict.fromkeys(old.namelist()), **changed}:
            new.writestr(name, changed[name] if name in changed else old.read(name))
    return file.getvalue()


def sheet(*cells):
    """A workbook whose one sheet is that XML."""
    return workbook(changed={"xl/worksheets/sheet1.xml": BEGIN + b"".join(cells) + END})


def rows(data, schema, reader=HEADER, rescued=None):
    columns = columns_of(schema)
    if rescued:
        columns.add(rescued, "string")
    parts = list(parse_excel(io.BytesIO(data), Target(columns, reader, "p", None, rescued)))
    return [row for part in parts for row in part.table.to_pylist()]


def inferred(*data, reader=HEADER, types=True):
    files = [io.BytesIO(content) for content in data]
    return infer_excel(files, reader=reader, infer_column_types=types).simpleString()[len("struct<") : -1]


def reason(data, schema="a STRING", reader=HEADER, rescued=None):
    with pytest.raises(BadFile) as caught:
        rows(data, schema, reader, rescued)
    return caught.value


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", Address()),
        ("Sheet1", Address("Sheet1")),
        ("A2:D5", Address(None, 1, 0, 4, 3)),
        ("Sheet1!$A$1:$A$1", Address("Sheet1", 0, 0, 0, 0)),
        ("'My Sheet!?>'!D5:G10", Address("My Sheet!?>", 4, 3, 9, 6)),
        ("'It''s'", Address("It's")),
        ("a!b!B:AA", Address("a!b", None, 1, None, 26)),
        ("3:7", Address(None, 2, None, 6, None)),
    ],
)
def test_an_address_is_a_sheet_a_range_or_both(text, meant):
    assert parse_address(text) == meant


@pytest.mark.parametrize("text", ["Sheet1!A1", "Sheet1!", "!A1:B2", "B2:A1", "A1:B", "A0:B2", "A1:XFE2", "A1:A1048577"])
def test_what_is_no_range_is_no_address(text):
    with pytest.raises(ValueError, match="range"):
        parse_address(text)


MOMENT = datetime(2024, 1, 2, 3, 4, 5, 678000)
MIXED = workbook([
    ["id", "size", "name", "at", "day", "hour", "long", "ok"],
    [1, 1, "a", MOMENT, date(2024, 1, 2), time(3, 4, 5), timedelta(hours=30), True],
    [],
    [2, 2.5, 7, date(2024, 1, 3), None, None, None, False],
])  # fmt: skip


def test_types_are_the_narrowest_for_all_cells_of_a_column_and_strings_unless_they_are_asked_for():
    assert inferred(MIXED) == (
        "id:bigint,size:double,name:string,at:timestamp_ntz,day:date,hour:string,long:string,ok:boolean"
    )
    assert inferred(workbook([["id"], [1]]), workbook([["id", "day"], [1.5, "x"]])) == "id:double,day:string"
    assert inferred(workbook([["id"], [None]]), b"no workbook") == "id:string"
    assert {column.partition(":")[2] for column in inferred(MIXED, types=False).split(",")} == {"string"}


def test_a_row_without_a_value_is_none_and_the_others_keep_their_numbers():
    [part] = parse_excel(io.BytesIO(MIXED), Target(columns_of("id BIGINT, name STRING"), HEADER, "p"))
    assert part.records.tolist() == [0, 2]
    assert part.table.to_pylist() == [{"id": 1, "name": "a"}, {"id": 2, "name": "7"}]
    assert part.new_fields == {"size", "at", "day", "hour", "long", "ok"}


def test_a_string_is_what_the_cell_shows():
    names = "id STRING, size STRING, at STRING, day STRING, hour STRING, long STRING, ok STRING"
    assert rows(MIXED, names) == [
        {"id": "1", "size": "1", "at": "2024-01-02T03:04:05.678000", "day": "2024-01-02", "hour": "03:04:05"}
        | {"long": "30:00:00", "ok": "true"},
        {"id": "2", "size": "2.5", "at": "2024-01-03", "day": None, "hour": None, "long": None, "ok": "false"},
    ]


@pytest.mark.parametrize(
    ("type_", "cell", "value"),
    [
        ("INT", 7, 7),
        ("INT", "7", 7),
        ("INT", 7.5, None),
        ("INT", 3_000_000_000, None),
        ("BIGINT", True, None),
        ("DOUBLE", 7, 7.0),
        ("DECIMAL(5,2)", 1.1, Decimal("1.10")),
        ("DECIMAL(5,2)", "1.1", Decimal("1.10")),
        ("BOOLEAN", "true", True),
        ("BOOLEAN", 1, None),
        ("DATE", MOMENT, None),
        ("DATE", "02.01.2024", date(2024, 1, 2)),
        ("DATE", 45293, None),
        ("TIMESTAMP_NTZ", date(2024, 1, 2), datetime(2024, 1, 2)),
        ("TIMESTAMP_NTZ", "2024/01/02 03", datetime(2024, 1, 2, 3)),
    ],
)
def test_a_cell_is_a_value_of_its_column_or_rescued(type_, cell, value):
    reader = {**HEADER, "dateformat": "dd.MM.yyyy", "timestampntzformat": "yyyy/MM/dd HH"}
    [row] = rows(workbook([["a"], [cell]]), f"a {type_}", reader, "r")
    assert (row["a"], row["r"] is None) == (value, value is not None)
    if value is None:
        assert reason(workbook([["a"], [cell]]), f"a {type_}", reader).reason == "WRONG_TYPE"


def test_what_has_no_column_is_rescued_and_so_is_an_error():
    data = workbook([["a", "b", None, "b"], [1, "#N/A", "x", 2.0], [2, None, None, None]])
    assert inferred(data) == "a:bigint,b2:string,_c3:string,b4:bigint"
    found = rows(data, "a BIGINT, b2 STRING", rescued="r")
    assert [row["b2"] for row in found] == [None, None]
    assert [row["r"] for row in found] == ['{"_c3":"x","b4":2,"b2":"#N/A","_file_path":"p"}', None]


def test_of_merged_cells_the_first_has_the_value_and_a_formula_has_what_was_kept_of_it():
    book = openpyxl.load_workbook(io.BytesIO(workbook([["a", "b"], [1, None], [None, None]])))
    book.active.merge_cells("A2:B3")
    file = io.BytesIO()
    book.save(file)
    assert rows(file.getvalue(), "a INT, b INT") == [{"a": 1, "b": None}]
    cells = b'<row r="1"><c r="A1"><f>1+1</f><v>2</v></c><c r="B1"><f>1+2</f></c></row>'
    assert rows(sheet(cells), "_c1 INT, _c2 INT", {}) == [{"_c1": 2, "_c2": None}]


def test_columns_without_a_header_go_by_their_place_under_their_own_names_or_those_of_the_schema():
    data = workbook([[1, "a", 2], [3, "b", 4]], at="C3")
    assert inferred(data, reader={}) == "_c1:bigint,_c2:string,_c3:bigint"
    assert rows(data, "_c3 INT, _c1 INT", {}) == [{"_c3": 2, "_c1": 1}, {"_c3": 4, "_c1": 3}]
    assert rows(data, "x INT, y STRING", {}) == [{"x": 1, "y": "a"}, {"x": 3, "y": "b"}]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("B2:C3", [["b2", "c2"], ["b3", "c3"]]),
        ("C:C", [["c2"], ["c3"]]),
        ("3:9", [["b3", "c3"]]),
        ("A1:B2", [[None, "b2"]]),
        ("C3:F9", [["c3", None, None, None]]),
        ("Q1:R9", []),
        ("sheet!B2:B2", [["b2"]]),
    ],
)
def test_a_range_is_what_is_read_and_cells_beyond_the_sheet_s_are_empty(address, found):
    data = workbook([["b2", "c2"], ["b3", "c3"]], at="B2")
    reader = {"dataaddress": address}
    names = [column.partition(":")[0] for column in inferred(data, reader=reader).split(",")] if found else ["_c1"]
    got = rows(data, ", ".join(f"{name} STRING" for name in names), reader)
    assert [list(row.values()) for row in got] == found


def test_sheets_are_listed_and_a_missing_one_is_told_or_left_out():
    data = workbook([["a"], ["x"]], others=["Zwei & 3"])
    listed = {"operation": "listSheets"}
    assert inferred(data, reader=listed) == "sheetIndex:bigint,sheetName:string"
    assert rows(data, "sheetName STRING, sheetIndex BIGINT", listed) == [
        {"sheetName": "Sheet", "sheetIndex": 0},
        {"sheetName": "Zwei & 3", "sheetIndex": 1},
    ]
    with pytest.raises(ConfigurationError, match="sheetIndex BIGINT"):
        rows(data, "name STRING", listed)
    missing = {**HEADER, "dataaddress": "'Drei'!A1:B2"}
    assert (
        str(reason(data, reader=missing)) == "NO_SUCH_SHEET: there is no sheet 'Drei'; there are: 'Sheet', 'Zwei & 3'"
    )
    assert rows(data, "a STRING", {**missing, "ignoremissingsheet": "true"}) == []
    assert rows(data, "a STRING", {**HEADER, "dataaddress": "zwei & 3"}) == []


def test_the_older_kind_of_workbooks_is_read_too():
    data = xls([["id", "name", "ok", "bad"], [1, "a", True, b"\x2a"], [], [2.5, "b", False, 7]])
    assert inferred(data) == "id:double,name:string,ok:boolean,bad:bigint"
    assert rows(data, "id DOUBLE, name STRING, ok BOOLEAN, bad BIGINT") == [
        {"id": 1.0, "name": "a", "ok": True, "bad": None},
        {"id": 2.5, "name": "b", "ok": False, "bad": 7},
    ]


GOOD = workbook([["a"], ["x"]])
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
XML = "xl/worksheets/sheet1.xml"


def lying(data, name, size):
    """A workbook one of whose parts says that it is of another size."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        real = file.getinfo(name).file_size
    at = data.rindex(name.encode(), 0, data.rindex(b"PK\x05\x06")) - 46  # in the list at the end
    assert int.from_bytes(data[at + 24 : at + 28], "little") == real
    return data[: at + 24] + size.to_bytes(4, "little") + data[at + 28 :]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "NOT_EXCEL: it is empty"),
        (b"hello", "NOT_EXCEL: it begins with b'hello'"),
        (b"<html><table>", "NOT_EXCEL: it is text"),
        (repacked(GOOD, {"x": b""})[:-30], "TRUNCATED"),
        (GOOD[:1000], "TRUNCATED"),
        (OLE + bytes(600), "DAMAGED_EXCEL"),
        (OLE + bytes(600) + "EncryptedPackage".encode("utf-16-le"), "ENCRYPTED"),
        (sheet(b'<row r="1"><c r="A1"><v>1</v></c><c r='), "DAMAGED_EXCEL"),
        (sheet(b'<row r="1"><c r="A1" t="s"><v>99</v></c></row>'), "DAMAGED_EXCEL"),
        (sheet(b'<row r="1"><c r="AAAAAA1"><v>1</v></c></row>'), "DAMAGED_EXCEL: a cell is beyond"),
        (workbook(changed={XML: (BEGIN + END).decode().encode("utf-16")}), "DAMAGED_EXCEL: a sheet is not UTF-8"),
        (workbook(changed={"xl/_rels/workbook.xml.rels": b"<Relationships/>"}), "DAMAGED_EXCEL"),
        (xls([["a"]], before=record(0x2F, b"\1\0" + bytes(52))), "ENCRYPTED: a password opens it"),
        (lying(GOOD, XML, 100), "DAMAGED_EXCEL"),
        (lying(GOOD, "xl/workbook.xml", 100), "DAMAGED_EXCEL"),
    ],
)
def test_what_cannot_be_read_is_left_out_with_its_reason(data, said):
    assert str(reason(data)).startswith(said)


@pytest.mark.parametrize("kind", ["xls", "xlsx"])
def test_whatever_bytes_of_a_workbook_are_changed_it_is_read_or_left_out(kind):
    cells = [["a", "b"], ["x", 1.5], ["y", True]]
    good = xls(cells) if kind == "xls" else workbook(cells)
    assert rows(good, "a STRING")[1] == {"a": "y"}
    chance = random.Random(7)
    outcomes = Counter()
    for _ in range(40):
        data = bytearray(good)
        for _ in range(chance.choice([1, 2, 8])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            rows(bytes(data), "a STRING", {**HEADER, "maxworkbookbytes": "1m"})
            outcomes["read"] += 1
        except BadFile as error:
            outcomes[error.reason] += 1
    assert len(outcomes) > 2, outcomes


def test_a_zip_file_that_is_no_workbook_is_none():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as other:
        other.writestr("a.txt", "x")
    assert reason(file.getvalue()).reason == "NOT_EXCEL"


MANY = b"".join(b'<row r="%d"><c r="A%d" t="s"><v>0</v></c></row>' % (row, row) for row in range(1, 1001))
LONG = b"<sst><si><t>a</t></si><si><t>" + b"x" * 100_000 + b"</t></si></sst>"


@pytest.mark.parametrize(
    "data",
    [
        workbook(changed={"xl/styles.xml": b"<styleSheet>" + b" " * 2_000_000}),
        sheet(b" " * 2_000_000),
        sheet(b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'),
        sheet(b"<x:row r='1048576'><x:c\nt='n' r = 'XFD1048576'><x:v>1</x:v></x:c></x:row>"),
        sheet(b'<row r="1000">', b"<c><v>1</v></c>" * 40, b"</row>"),
        workbook(changed={XML: BEGIN + MANY.replace(b"<v>0", b"<v>1") + END, "xl/sharedStrings.xml": LONG}),
    ],
    ids=["a part", "a sheet", "a far cell", "a far cell spelled otherwise", "cells without places", "a shared text"],
)
def test_a_small_file_that_takes_much_memory_is_left_out_before_it_is_parsed(data):
    found = reason(data, reader={"maxworkbookbytes": "1m"})
    assert found.reason == "WORKBOOK_TOO_LARGE"
    assert re.search(r"takes [0-9,]{9,} bytes .* maxWorkbookBytes is 1,048,576", found.detail)


def test_a_sheet_is_looked_through_in_pieces(monkeypatch):
    monkeypatch.setattr("lakehouse.autoloader.formats.excel_scan._CHUNK_BYTES", 50)
    cells = [
        b'<row r="%d"><c r="A%d"><v>1</v></c><c r="B%d" t="e"><v>#REF!</v></c></row>' % (n, n, n) for n in range(1, 30)
    ]
    found = rows(sheet(*cells), "_c1 INT", {}, "r")
    assert [row["r"] for row in found] == ['{"_c2":"#REF!","_file_path":"p"}'] * 29
    assert reason(sheet(*cells), reader={"maxworkbookbytes": "7k"}).reason == "WORKBOOK_TOO_LARGE"


def test_a_column_of_a_type_that_no_cell_has_is_refused():
    with pytest.raises(ConfigurationError, match="cannot be read from text"):
        rows(GOOD, "a ARRAY<INT>")


def test_an_empty_sheet_has_no_columns_and_gives_no_rows():
    assert inferred(workbook()) == ""
    assert rows(workbook(), "a STRING") == []
    assert infer_excel([], reader={}, infer_column_types=True) == StructType()

"""XML on the local engine, from the store to the table: types, hints, new columns, rescued values, quarantine."""

import gzip
import json

from store.local_world import LocalWorld

FIRST = """<?xml version="1.0"?>
<!DOCTYPE books SYSTEM "http://127.0.0.1:1/books.dtd">
<books>
  <book id="007"><title>Eins &amp; zwei</title><author>X</author><author>Y</author><price cur="EU">5.5</price></book>
  <book id="2"><title>Zwei</title><author>Z</author><price>7</price><sold>2026-01-02</sold></book>
</books>"""
SECOND = '<books><book id="3"><title>Drei</title><isbn><print>1</print></isbn><sold>soon</sold></book></books>'
BOMB = '<!DOCTYPE books [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><books><book><title>&b;</title></book></books>'
OPTIONS = {
    "rowTag": "book",
    "cloudFiles.inferColumnTypes": True,
    "cloudFiles.schemaHints": "_id STRING",
}


def test_books_become_rows_new_elements_columns_and_what_is_no_xml_is_in_quarantine(lake, tmp_path):
    things = LocalWorld(lake, tmp_path).declare(format="xml", options=OPTIONS)
    things.put("1.xml", FIRST)
    assert things.load_rows() == 2
    price, other = {"_VALUE": 5.5, "_cur": "EU"}, {"_VALUE": 7.0, "_cur": None}
    assert things.rows("_id", "author", "price", "title") == [
        ("007", ["X", "Y"], price, "Eins & zwei"),
        ("2", ["Z"], other, "Zwei"),
    ]

    things.put("2.xml.gz", gzip.compress(SECOND.encode()))
    things.put("3.xml", BOMB)
    things.put("4.xml", FIRST[:-10])
    things.put("5.xml", "no XML")
    assert things.load_rows() == 1
    (third,) = [row for row in things.rows() if row["_id"] == "3"]
    assert (third["isbn"], third["sold"], third["author"]) == ({"print": 1}, None, None)
    assert json.loads(third["_rescued_data"])["sold"] == "soon"
    errors = {state.path.rpartition("/")[2]: (state.error or "").split(":")[0] for state in things.file_states()}
    assert errors == {"1.xml": "", "2.xml.gz": "", "3.xml": "HAS_DTD", "4.xml": "TRUNCATED", "5.xml": "NOT_XML"}
    assert things.load().batches == ()

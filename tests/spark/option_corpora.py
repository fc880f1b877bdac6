"""For a set of options the files that it is tried on: their bytes, and what stands in each record.

Good records are there before the stream begins, and another comes afterwards. The last step brings, in a folder of its
own, a record with a new column, a value that fits no number or time, and what is broken: a line, or a file of a format
whose records cannot be.
"""

import csv
import io
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

import fastavro
import pyarrow as pa
from pyarrow import orc, parquet
from pyspark.sql import types as t

from lakehouse.autoloader.schema.hints import parse_hints

CORRUPT = "_corrupt_record"
BROKEN = "{broken"
BASE = {"id": t.LongType(), "name": t.StringType(), "amount": t.DoubleType(), "at": t.TimestampType()}
"""The columns of all files, and the schema where a set has one."""
SUFFIX = {"binaryfile": "bin", "text": "txt"}


@dataclass
class File:
    """A file of a corpus.

    Attributes:
        name: Below the folder.
        step: 0 before the stream begins, 1 before its first batch, 2 before the next.
        content: What the stream reads.
        for_spark: What Spark's reader gets; None where it gets nothing. See ``DIFFERENCES`` of the test.
        records: For each row what stands in the file, by the names of fields.
        misfit: Whether a column of the file has another type than the stream's.
    """

    name: str
    step: int
    content: bytes
    for_spark: bytes | None
    records: list[dict] = field(default_factory=list)
    misfit: bool = False


def corpus(option_set):
    """The files of a set, in the order in which they are loaded."""
    options = {name.lower().removeprefix("cloudfiles."): value for name, value in option_set["options"].items()}
    kind = options["format"].lower()
    hinted = options.get("schemahints")
    hints = {path[0]: type_ for path, type_ in parse_hints(hinted)} if hinted else {}
    columns = {**BASE, **hints}
    make = {"json": _json, "csv": _csv, "xml": _xml, "text": _text, "binaryfile": _binary}.get(kind, _typed)
    files = make(options, columns, _misfit(hints), option_set["schema_given"])
    for number, file in enumerate(files):
        folder = _folder(options, file.step)
        file.name = f"{folder}{_name(options.get('pathglobfilter'), SUFFIX.get(kind, kind), number)}"
    good = files[0].content
    files.append(File("_hidden.json", 0, good, good))
    if "pathglobfilter" in options:
        files.append(File("another.bak", 0, good, good))
    return files


def _misfit(hints):
    """The column that has a value of no number: one whose type is hinted, as others may be STRING."""
    return next((name for name, type_ in hints.items() if not isinstance(type_, t.StringType)), "id")


def _name(glob, suffix, number):
    if not glob:
        return f"{number}.{suffix}"
    glob = re.sub(r"\{([^}]*)\}", lambda found: found[1].split(",")[number % 2], glob)
    return glob.replace("*", str(number))


def _folder(options, step):
    columns = options.get("partitioncolumns")
    if columns is None:
        return "sub/" if step == 2 else ""
    values = {"collect_date": "2026-01-02", "year": "2026", "month": "01", "day": f"0{step + 1}"}
    return "".join(f"{name}={values[name]}/" for name in columns.split(",") if name) or f"p={step}/"


def value(type_, number):
    """A value of a type."""
    day = date(2026, 1, number)
    match type_:
        case t.StringType():
            return f"é {number}"
        case t.BooleanType():
            return number % 2 == 0
        case t.DoubleType() | t.FloatType():
            return number + 0.5
        case t.DecimalType():
            return Decimal(f"{number}.25")
        case t.TimestampType():
            return datetime(2026, 1, number, 3, 4, 5, tzinfo=UTC)
        case t.DateType():
            return day
        case t.MapType():
            return {"k": "v"}
        case t.StructType():
            return {part.name: value(part.dataType, number) for part in type_.fields}
    return number


def record(columns, number, **more):
    return {**{name: value(type_, number) for name, type_ in columns.items()}, **more}


def _plain(part):
    """A value as JSON writes it."""
    if isinstance(part, datetime):
        return part.strftime("%Y-%m-%d %H:%M:%S")
    return float(part) if isinstance(part, Decimal) else str(part) if isinstance(part, date) else part


def _json(options, columns, misfit, given):
    def text(row, **layout):
        return json.dumps(row, ensure_ascii=False, default=_plain, **layout)

    first, second = [record(columns, number) for number in (1, 2, 3)], [record(columns, 8)]
    new, wrong, last = record(columns, 4, added="new"), record(columns, 5, **{misfit: "x"}), record(columns, 6)
    if options.get("multiline", "").lower() == "true":
        contents = [text(first, indent=1), text(second[0]), text(new), text(wrong, indent=1), BROKEN, text(last)]
        rows = [first, second, [new], [wrong], [{CORRUPT: BROKEN}], [last]]
        steps = (0, 1, 2, 2, 2, 2)
    else:
        contents = ["\n".join(map(text, first)), text(second[0])]
        contents.append("\n".join([text(new), text(wrong), BROKEN, text(last)]))
        rows, steps = [first, second, [new, wrong, {CORRUPT: BROKEN}, last]], (0, 1, 2)
    files = [
        File("", step, content.encode(), content.encode(), records)
        for step, content, records in zip(steps, contents, rows, strict=True)
    ]
    if "badrecordspath" in options:  # a malformed record has no row
        for file in files:
            file.for_spark = file.content.replace(BROKEN.encode(), b"")
            file.records = [row for row in file.records if CORRUPT not in row]
    if whole := options.get("singlevariantcolumn"):
        if len(files) > 3:  # a document is a row, also where it is an array
            files[0].records = [{"all": first}]
        for file in files:
            file.records = [row if CORRUPT in row else {whole: row} for row in file.records]
    return files


def _csv(options, columns, misfit, given):
    sep = options.get("sep", options.get("delimiter", ","))
    doubled = options.get("escape") == '"'
    encoding = options.get("encoding", "UTF-8")
    header = options.get("header", "false" if given else "true").lower() == "true"

    def text(rows, header_names):
        sink = io.StringIO()
        writer = csv.writer(
            sink, delimiter=sep, doublequote=doubled, escapechar=None if doubled else "\\", lineterminator="\n"
        )
        writer.writerows([[*header_names], *rows] if header else rows)
        return sink.getvalue()

    def texts(row):
        row = {name: str(_plain(part)) for name, part in row.items()}
        quoted = f'{row["name"]} "b"{sep}c'
        return {**row, "name": f"{quoted}\n2" if options.get("multiline") == "true" else quoted}

    first, second = [texts(record(columns, number)) for number in (1, 2, 3)], [texts(record(columns, 8))]
    more = {"added": "new"} if header else {}  # without a header nothing would name it
    last = [texts(record(columns, 4, **more)), texts(record(columns, 5, **{misfit: "x"}, **more))]
    last += [{"id": "7", "name": "short"}, texts(record(columns, 6, **more))]
    kept = [row for row in last if len(row) > 2] if "badrecordspath" in options else last
    begin = "made today\n" * int(options.get("skiprows", "0"))
    files = []
    for step, rows, of_spark in ((0, first, first), (1, second, second), (2, last, kept)):
        names = [*columns, *more] if step == 2 else [*columns]
        content, other = (text([[*row.values()] for row in part], names) for part in (rows, of_spark))
        files.append(File("", step, (begin + content).encode(encoding), other.encode(encoding), of_spark))
    return files


def _xml(options, columns, misfit, given):
    tag = options["rowtag"]

    def text(rows):
        inner = "".join(
            f"<{tag}>{''.join(f'<{name}>{_plain(part)}</{name}>' for name, part in row.items())}</{tag}>\n"
            for row in rows
        )
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<rows>\n{inner}</rows>\n'.encode()

    def shown(row):
        return {name: str(_plain(part)) for name, part in row.items()}

    first, second = [shown(record(columns, number)) for number in (1, 2, 3)], [shown(record(columns, 8))]
    new, wrong = shown(record(columns, 4, added="new")), shown(record(columns, 5, **{misfit: "x"}))
    bare = {name: part for name, part in wrong.items() if name != misfit}
    typed = given or options.get("infercolumntypes", "").lower() == "true"
    return [
        File("", 0, text(first), text(first), first),
        File("", 1, text(second), text(second), second),
        File("", 2, text([new, wrong]), text([new, bare if typed else wrong]), [new, wrong]),
        File("", 2, text([new]).replace(b"</name>", b"", 1), None),
    ]


def _text(options, columns, misfit, given):
    contents = ["é one\n two\n\nthree".encode(), b"four\r\nfive\n", b"six"]
    whole = options.get("wholetext", "").lower() == "true"
    rows = [[{}] * (1 if whole else len(content.splitlines())) for content in contents]
    return [File("", step, content, content, rows[step]) for step, content in enumerate(contents)]


def _binary(options, columns, misfit, given):
    return [File("", step, content, content, [{}]) for step, content in enumerate((b"\x00\xff1", b"two", b"3"))]


def _typed(options, columns, misfit, given):
    """Files with types of their own: a value of another type is in a file whose column has that type."""
    kind, by_schema = options["format"].lower(), "avroschema" in options
    first, second = [record(columns, number) for number in (1, 2, 3)], [record(columns, 8)]
    new, wrong = [record(columns, 4, added="new")], [record(columns, 5, **{misfit: "x"})]
    bare = [{name: part for name, part in row.items() if name != misfit} for row in wrong]
    files = [File("", step, _packed(kind, rows), None, rows) for step, rows in enumerate((first, second, new))]
    for file in files:
        file.for_spark = file.content
        if by_schema:  # which has this one field
            file.records = [{"id": row["id"]} for row in file.records]
    files.append(File("", 2, _packed(kind, wrong), None if by_schema else _packed(kind, bare), wrong, misfit=True))
    return [*files, File("", 2, b"no such file", None)]


def _packed(kind, rows):
    zone = None if kind == "orc" else "UTC"
    types = {datetime: pa.timestamp("us", zone), int: pa.int64(), float: pa.float64(), str: pa.string()}
    arrays = {name: pa.array([row[name] for row in rows], types[type(rows[0][name])]) for name in rows[0]}
    sink = io.BytesIO()
    if kind == "avro":
        kinds = {str: "string", int: "long", float: "double"}
        at = {"type": "long", "logicalType": "timestamp-micros"}
        fields = [{"name": name, "type": kinds.get(type(part), at)} for name, part in rows[0].items()]
        fastavro.writer(sink, {"type": "record", "name": "r", "fields": fields}, rows)
    else:
        (parquet if kind == "parquet" else orc).write_table(pa.table(arrays), sink)
    return sink.getvalue()

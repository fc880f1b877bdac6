"""Documents that senders should not send: the rows of the first table of ``docs/bad-input.md``."""

import codecs
import json
import math
from dataclasses import dataclass, field

RESCUED = "`_rescued_data`"
FILES = "`lakehouse files --state quarantined`"


@dataclass(frozen=True)
class Bad:
    """Some inputs of a kind, each a file, with the rows of each: values that are not null, and what is rescued.

    Attributes:
        what, outcome, where: The row of the page.
        files: The rows that each file becomes, or the reason why it is in quarantine.
        columns: What is inferred from the files together, where that is of interest.
    """

    what: str
    outcome: str
    where: str
    files: dict[bytes, list[dict] | str] = field(hash=False)
    columns: str | None = None


def kept(line):
    """A row without a value that keeps its line."""
    return {"rescued": {"_corrupt_record": line}}


def rescued(_values=None, **fields):
    """A row with values, and fields that are rescued."""
    return {**(_values or {}), "rescued": fields}


WIDE = '{"a": 1}\n'
DEEP = "[" * 900 + "]" * 900
BAD = [
    Bad(
        "a key twice in an object",
        "the last value; the ones before it are rescued",
        RESCUED,
        {b'{"a": 1, "a": 2}': [rescued({"a": 2}, a=1)]},
    ),
    Bad(
        "`NaN`, `Infinity`, `-Infinity`",
        "values of DOUBLE and FLOAT; rescued from other columns",
        RESCUED,
        {b'{"d": NaN}\n{"d": -Infinity}': [{"d": math.nan}, {"d": -math.inf}], b'{"a": NaN}': [rescued(a="NaN")]},
    ),
    Bad(
        "10^400",
        "Infinity in a DOUBLE; rescued from other columns, as it is written",
        RESCUED,
        {b'{"d": 1e400}': [{"d": math.inf}], b'{"a": 1e400}': [rescued(a=math.inf)]},
    ),
    Bad(
        "a number of 1,000 digits",
        "text in a STRING; rescued from a LONG; of more digits: the line is kept, without values",
        RESCUED,
        {
            b'{"s": ' + b"1" * 1000 + b"}": [{"s": "1" * 1000}],
            b'{"a": ' + b"1" * 1000 + b"}": [rescued(a=int("1" * 1000))],
            b'{"s": ' + b"1" * 1001 + b"}": [kept('{"s": ' + "1" * 1001 + "}")],
        },
    ),
    Bad(
        "nesting over 1,000 levels, such as 10,000 brackets",
        "the line is kept, without values",
        RESCUED,
        {
            b"[" * 10_000: [kept("[" * 10_000)],
            b'{"n":' * 10_000 + b"1" + b"}" * 10_000: [kept('{"n":' * 10_000 + "1" + "}" * 10_000)],
            b'{"o": ' + b"[" * 10_000 + b"]" * 10_000 + b"}": [kept('{"o": ' + "[" * 10_000 + "]" * 10_000 + "}")],
        },
    ),
    Bad(
        "nesting of hundreds of levels",
        "inferred as STRING below 30 levels; rescued as a string of its text",
        RESCUED,
        {f'{{"a": 1, "new": {DEEP}}}'.encode(): [rescued({"a": 1}, new=DEEP)]},
        f"a bigint, new {'array<' * 30}string{'>' * 30}",
    ),
    Bad(
        "5,000 fields in an object",
        "5,000 columns; without them in the schema, rescued",
        "the table's schema",
        {json.dumps({f"c{n:04}": n for n in range(5000)}).encode(): [rescued(**{f"c{n:04}": n for n in range(5000)})]},
        ", ".join(f"c{n:04} bigint" for n in range(5000)),
    ),
    Bad(
        "an array of objects at the top",
        "a row for each object; an empty array has none",
        "",
        {b'[{"a": 1}, {"a": 2}]\n[]\n{"a": 3}': [{"a": 1}, {"a": 2}, {"a": 3}]},
        "a bigint",
    ),
    Bad(
        "a number, a text, `null` or an array of such at the top",
        "the line is kept, without values",
        RESCUED,
        {b'1\n"x"\nnull\n[1]\n[{"a": 1}, 2]': [*map(kept, ["1", '"x"', "null", "[1]", '[{"a": 1}, 2]'])]},
        "",
    ),
    Bad(
        "two documents on a line",
        "the values of the first; the line is kept",
        RESCUED,
        {b'{"a": 1}{"a": 2}': [rescued({"a": 1}, _corrupt_record='{"a": 1}{"a": 2}')]},
        "a bigint",
    ),
    Bad(
        r"half of a surrogate pair, such as `\ud800`",
        "the character `?`, as Spark has it",
        "",
        {rb'{"s": "\ud800"}' + b"\n" + rb'{"s": "x\udc00\ud800y"}': [{"s": "?"}, {"s": "x??y"}]},
    ),
    Bad("a byte order mark of UTF-8", "ignored", "", {codecs.BOM_UTF8 + b'{"a": 1}': [{"a": 1}]}, "a bigint"),
    Bad(
        "UTF-16 and UTF-32, either byte order, with a byte order mark or without",
        "the file is in quarantine: `NOT_UTF8`, with the encoding. JSON and CSV can be read with the option `encoding`",
        FILES,
        {
            mark + WIDE.encode(name): "NOT_UTF8"
            for name, mark in {
                "utf-16-le": codecs.BOM_UTF16_LE,
                "utf-16-be": codecs.BOM_UTF16_BE,
                "utf-32-le": codecs.BOM_UTF32_LE,
                "utf-32-be": codecs.BOM_UTF32_BE,
            }.items()
            for mark in (b"", mark)
        },
        "",
    ),
    Bad(
        "bytes that are no UTF-8",
        "the line is kept, with U+FFFD for them, without values",
        RESCUED,
        {b'{"s": "\xe9"}\n{"a": 1}\n\xff': [kept('{"s": "\ufffd"}'), {"a": 1}, kept("\ufffd")]},
        "a bigint",
    ),
    Bad(
        r"NUL bytes; the escape `\u0000` is a character",
        "the line is kept, without values",
        RESCUED,
        {
            b'\0\0\n{"s": "\0"}\n' + rb'{"s": "\u0000"}': [kept("\0\0"), kept('{"s": "\0"}'), {"s": "\0"}],
            b"\0" * 4096: [kept("\0" * 4096)],
        },
        "s string",
    ),
    Bad(
        "values of several types in a column, in one file or in several",
        "inferred as the narrowest type for all: STRING in the end; what comes later and does not fit is rescued",
        RESCUED,
        {b'{"a": 1}\n{"a": "x"}': [{"a": 1}, rescued(a="x")], b'{"a": {"x": 1}}': [rescued(a={"x": 1})]},
        "a string",
    ),
    Bad(
        "a column that is only null", "STRING by inference; later no new column", "", {b'{"n": null}': [{}]}, "n string"
    ),
    Bad(
        "names with a dot or a backtick",
        "columns of that name: write `` `a.b` `` and `` `x``y` `` in SQL",
        "the table's schema",
        {b'{"a.b": 1, "x`y": 2}': [rescued(**{"a.b": 1, "x`y": 2})]},
        "a.b bigint, x`y bigint",
    ),
    Bad(
        "names with a blank, a line feed, a tab or one of `,;{}()=`",
        "no columns, because a Delta table without column mapping refuses them; rescued. A hint makes a column of one",
        RESCUED,
        {b'{"a b": 1, "x,y": 2, "c": 3}': [rescued(**{"a b": 1, "x,y": 2, "c": 3})]},
        "c bigint",
    ),
    Bad(
        "an empty name", "no column; rescued", RESCUED, {b'{"": 1, "a": 2}': [rescued({"a": 2}, **{"": 1})]}, "a bigint"
    ),
    Bad(
        "names that differ only by case",
        "one column, spelled as one of them; the others are rescued. `cloudFiles.schemaHints` says which",
        RESCUED,
        {b'{"a": 1}\n{"A": 2}\n{"A": 3, "a": 4}': [{"a": 1}, rescued(A=2), rescued({"a": 4}, A=3)]},
        "A bigint",
    ),
    Bad(
        "fields named as columns that are added: `_metadata`, `_rescued_data`, partition columns",
        "no columns; rescued",
        RESCUED,
        {b'{"_rescued_data": 1, "_metadata": 2, "a": 3}': [rescued({"a": 3}, _rescued_data=1, _metadata=2)]},
        "a bigint",
    ),
]

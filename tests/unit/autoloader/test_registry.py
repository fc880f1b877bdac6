"""The registry of formats: each once, each with what it names, and nobody imports a format that is not read."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

from lakehouse.autoloader.formats.format import Format, Formats, words
from lakehouse.autoloader.formats.registry import FORMATS

ONE = Format("One", "one:infer", suffixes=("one",), mark=b"1")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Format("ONE", "x:infer"), "'one' stands for two formats: One and ONE"),
        (Format("x", "x:infer", suffixes=("x", "one")), "'one' stands for two formats: One and x"),
        (Format("x", "x:infer", mark=b"1"), "b'1' stands for two formats: One and x"),
    ],
    ids=["name", "suffix", "mark"],
)
def test_two_formats_have_no_name_no_suffix_and_no_mark_in_common(other, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        Formats(ONE, other)


def test_a_format_is_found_by_its_name_in_any_case_by_a_suffix_and_by_its_mark():
    formats = Formats(ONE)
    assert formats["oNe"] is formats.get("ONE") is formats.of_suffix("one") is formats.of_mark(b"1 and more") is ONE
    assert formats.get("two") is formats.of_suffix("two") is formats.of_mark(b"2") is None
    assert formats.names() == ("One",)
    assert formats.names(lambda format_: not format_.has_fields) == ()


def test_options_and_flags_are_together_what_a_reader_can_be_told():
    format_ = Format("one", "one:infer", options=words("b C"), flags=words("a", "d"))
    assert format_.reader_options == ("a", "b", "C", "d")


@pytest.mark.parametrize("format_", [*FORMATS], ids=lambda kind: kind.name)
def test_every_function_that_a_format_names_is_there(format_):
    for place in filter(None, (format_.parse, format_.parse_lines, format_.infer)):
        module, name = place.split(":")
        assert callable(getattr(import_module(f"lakehouse.autoloader.formats.{module}"), name))


@pytest.mark.parametrize("format_", [*FORMATS], ids=lambda kind: kind.name)
def test_a_format_says_how_its_files_are_parsed(format_):
    assert format_.parse_lines if format_.is_lines({}) else format_.parse


READ = """
import io, json, sys
from datetime import UTC, datetime
from pyspark.sql.types import StructType
from lakehouse.autoloader.reading.choose import ChosenFormat
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.files.plan import Span
options = CloudFilesOptions.parse({{"cloudFiles.format": "{name}", "path": "s3a://b/"}})
schema = StructType().add("{column}", "string" if "{column}" != "content" else "binary")
chosen = ChosenFormat(options, schema)
span = Span(1, "k", "e", 9, datetime(2026, 1, 1, tzinfo=UTC), 0, 9)
if chosen.lines:
    rows = [chosen.parse_lines({data!r}, lambda line: "k")]
else:
    rows = list(chosen.parse_file(io.BytesIO({data!r}), span, "k"))
assert sum(one.table.num_rows for one in rows) == 1, rows
package = "lakehouse.autoloader.formats."
print(json.dumps([one.removeprefix(package) for one in sys.modules if one.startswith(package)] + (
    ["fastavro"] if "fastavro" in sys.modules else [])))
"""
MODULES = {"json", "variant", "csv", "parquet", "avro", "orc", "binary_file", "fastavro", "json_files"}


@pytest.mark.parametrize(
    ("name", "column", "data", "own"),
    [
        ("json", "a", b'{"a": "1"}\n', {"json", "json_files"}),
        ("csv", "a", b"1\n", {"csv"}),
        ("text", "value", b"1\n", set()),
        ("binaryFile", "content", b"1", {"binary_file"}),
    ],
)
def test_whoever_reads_one_format_imports_no_other(name, column, data, own):
    code = READ.format(name=name, column=column, data=data)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert MODULES & set(json.loads(done.stdout)) == own

"""What the options of cloudFiles accept, refuse and say."""

import dataclasses
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql.types import StructType
from unit.autoloader.given_options import BASE, DAY, parse, problem, problems

from lakehouse.autoloader.options.parse import OPTIONS, CloudFilesOptions
from lakehouse.autoloader.schema.versions import SchemaVersion, full_schema
from lakehouse.autoloader.source import settled


def test_two_options_are_enough():
    assert parse() == CloudFilesOptions("json", "s3a://landing/orders/", None)


def test_names_may_have_any_case():
    given = {"CLOUDFILES.FORMAT": "JSON", "Path": "s3://b/x", "cloudfiles.maxfilespertrigger": "7", "multiLINE": "true"}
    options = CloudFilesOptions.parse(given)
    assert (options.format, options.max_files_per_trigger, options.reader) == ("json", 7, {"multiline": "true"})


def test_one_name_in_two_cases_with_two_values_is_refused():
    assert problems({**BASE, "PATH": "s3a://other/"}) == [
        "PATH is given twice, in different spellings and with different values."
    ]


def test_every_field_has_its_option():
    fields = {field.name for field in dataclasses.fields(CloudFilesOptions)} - {"reader", "notes"}
    assert {option.field for option in OPTIONS if option.field} == fields


def test_it_travels_to_workers_and_can_be_a_key():
    options = parse(multiLine="true", modifiedAfter="2020-06-01")
    assert pickle.loads(pickle.dumps(options)) == options
    assert hash(options) == hash(parse(multiLine="true", modifiedAfter="2020-06-01"))


def test_the_import_brings_no_library():
    heavy = "{'pydantic', 'pyspark', 'pyarrow', 'numpy', 'pandas', 'minio', 'difflib'}"
    code = f"import sys, lakehouse.autoloader.options.parse; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


@pytest.mark.parametrize("format_", ["json", "csv", "PARQUET", "avro", "orc", "text", "binaryFile", "BINARYFILE"])
def test_formats(format_):
    assert parse(cloudFiles_format=format_).format == format_.lower()


def test_xml_needs_the_name_of_the_elements_that_are_rows():
    given = {**BASE, "cloudFiles.format": "XML"}
    assert problems(given) == ["rowTag is missing: it names the elements of XML that are rows."]
    assert CloudFilesOptions.parse({**given, "ROWTAG": "row"}).reader == {"rowtag": "row"}


def test_columns_of_workbooks_do_not_grow():
    excel = {"cloudFiles_format": "excel", "headerRows": "1"}
    assert problem(**excel, cloudFiles_schemaEvolutionMode="addNewColumns") == (
        "cloudFiles.schemaEvolutionMode addNewColumns: columns of excel do not grow: use none, or rescue."
    )
    for mode in ("none", "rescue"):
        assert parse(**excel, cloudFiles_schemaEvolutionMode=mode).schema_evolution_mode == mode
    inferred = full_schema(parse(**excel), SchemaVersion(0, StructType().add("a", "long"), StructType()))
    assert inferred.names == ["a", "_rescued_data", "_metadata"]
    assert settled(parse(**excel), inferred).schema_evolution_mode == "rescue"
    assert settled(parse(**excel), StructType().add("a", "long")).schema_evolution_mode == "none"


def test_all_problems_come_in_one_error():
    assert problems({"cloudFiles.maxFilesPerTrigger": "0", "cloudFiles.inferColumnTypes": "yes"}) == [
        "cloudFiles.inferColumnTypes is 'yes': write true or false.",
        "cloudFiles.maxFilesPerTrigger is '0': write a whole number from 1 to 2147483647.",
        "cloudFiles.format is missing: it names what the files are, one of json, csv, xml, parquet, avro, orc, "
        "text, binaryFile, excel.",
        "path is missing: give load() a path such as s3a://bucket/folder/.",
    ]


@pytest.mark.parametrize("path", ["s3://b", "s3a://b/", "s3n://b/a b/%41/*", "s3a://b/x/{a,b}/[0-9]*", "s3a://b/x@y/"])
def test_paths(path):
    assert parse(path=path).path == path


@pytest.mark.parametrize("path", ["", "data", "file://h/x", "s3a://", "s3a:///x", "hdfs://b/x", "wasbs://c@a/x"])
def test_other_places_are_no_paths(path):
    assert "must be on the object store" in problem(path=path)
    assert "must be on the object store" in problem(cloudFiles_schemaLocation=path)


@pytest.mark.parametrize("glob", ["{a,b", "[z-a]"])
def test_globs_are_checked_at_once(glob):
    assert "glob" in problem(path=f"s3a://b/{glob}/")
    assert "glob" in problem(pathGlobFilter=glob)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("1048576", 1 << 20),
        ("10g", 10 << 30),
        ("512M", 512 << 20),
        (" 3kb ", 3 << 10),
        ("3 GB", 3 << 30),
        ("3GiB", 3 << 30),
        ("2b", 2),
        ("1t", 1 << 40),
    ],
)
def test_bytes(text, size):
    assert parse(cloudFiles_maxBytesPerTrigger=text).max_bytes_per_trigger == size


@pytest.mark.parametrize("text", ["", "0", "0g", "-1", "1.5g", "10  g", "10x", "g", "9999999p", "1_000", "\uff19"])
def test_no_bytes(text):
    assert "whole number of bytes" in problem(cloudFiles_maxBytesPerTrigger=text)


@pytest.mark.parametrize("text", ["", "0", "-3", "1e3", "1_000", "2147483648", "many"])
def test_no_counts(text):
    assert "whole number from 1" in problem(cloudFiles_maxFilesPerTrigger=text)
    assert "whole number from 1" in problem(minPartitions=text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7 days", 7 * DAY),
        ("12 hours", DAY / 2),
        ("1 week 2 days", 9 * DAY),
        ("INTERVAL 1 Day 30 minutes", DAY + 1800),
        ("1.5 seconds", 1.5),
        ("250 milliseconds", 0.25),
        ("7d", 7 * DAY),
        ("1 month", 31 * DAY),
        ("interval 1 year 2 months", 428 * DAY),
        ("1h 30m", 5400),
        ("5 secs", 5),
    ],
)
def test_intervals(text, seconds):
    assert parse(cloudFiles_backfillInterval=text).backfill_interval_seconds == seconds


@pytest.mark.parametrize("text", ["", "7", "days", "7 dayz", "-1 days", "1 day 2", "interval", "999999999 weeks", "7x"])
def test_no_intervals(text):
    assert "write an interval" in problem(cloudFiles_backfillInterval=text)


@pytest.mark.parametrize("name", ["useNotifications", "useManagedFileEvents"])
def test_events_are_switched_on_by_either_name_and_have_a_longer_interval_of_listings(name):
    assert parse(**{f"cloudFiles_{name}": "false"}) == parse()
    assert not parse().by_events
    told = parse(**{f"cloudFiles_{name}": "true"})
    assert told.by_events and told.backfill_interval_seconds == DAY
    both = parse(cloudFiles_useNotifications="true", cloudFiles_backfillInterval="2 hours")
    assert both.backfill_interval_seconds == 7200


def test_a_listing_needs_an_interval():
    assert "longer than 0 seconds" in problem(cloudFiles_backfillInterval="0 days")


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2020-06-01T13:00:00", 13),
        ("2020-06-01 13:00", 13),
        ("2020-06-01T13:00:00Z", 13),
        ("2020-06-01T13:00:00+02:00", 11),
        ("2020-06-01 13:00:00.000000 UTC+0", 13),
        ("2020-06-01 13:00:00.000000 UTC-3", 16),
        ("2020-06-01 13:00:00 Europe/Berlin", 11),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text, hour):
    found = parse(modifiedAfter=text).modified_after
    assert found == datetime(2020, 6, 1, hour, tzinfo=UTC)
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["", "yesterday", "2020-13-01", "0001-01-01T00:00:00+05:00"])
def test_no_times(text):
    assert "write a time such as" in problem(modifiedBefore=text)


@pytest.mark.parametrize(
    ("text", "names"), [("", ()), (" ", ()), ("year", ("year",)), ("year, month ,day", ("year", "month", "day"))]
)
def test_partition_columns(text, names):
    assert parse(cloudFiles_partitionColumns=text).partition_columns == names


@pytest.mark.parametrize("text", ["a,,b", ",", "a,A"])
def test_no_partition_columns(text):
    assert "different names" in problem(cloudFiles_partitionColumns=text)


@pytest.mark.parametrize(
    "mode", ["addNewColumns", "addNewColumnsWithTypeWidening", "rescue", "failOnNewColumns", "none"]
)
def test_evolution_modes_have_one_spelling(mode):
    assert parse(cloudFiles_schemaEvolutionMode=mode.upper()).schema_evolution_mode == mode


def test_no_evolution_mode():
    assert "write one of addNewColumns, " in problem(cloudFiles_schemaEvolutionMode="addColumns")


def test_folders_are_always_read_whole():
    assert parse(recursiveFileLookup="TRUE") == parse(recursiveFileLookup="false") == parse()
    assert "recursiveFileLookup is 'maybe': write true or false" in problem(recursiveFileLookup="maybe")


def test_empty_text_is_refused():
    assert "it is empty" in problem(cloudFiles_profile=" ")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("cloudFiles.schemaLocaton", "cloudFiles.schemaLocation"),
        ("cloudFiles.schemaHint", "cloudFiles.schemaHints"),
        ("cloudFiles.cleanSource.retentionDuratoin", "cloudFiles.cleanSource.retentionDuration"),
    ],
)
def test_nearly_an_option_of_ours_is_refused(written, meant):
    assert problem(**{written: "1"}).startswith(f"Unknown option {written}: did you mean {meant}")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("maxFilesPerTrigger", "cloudFiles.maxFilesPerTrigger"),
        ("FORMATT", "cloudFiles.format"),
        ("useNotifications", "cloudFiles.useNotifications"),
        ("multilines", "multiLine"),
        ("rescueDataColumn", "rescuedDataColumn"),
    ],
)
def test_nearly_an_option_of_anybody_else_s_is_without_effect_and_said(written, meant):
    options = parse(**{written: "1"})
    assert options == parse()
    (note,) = options.notes
    assert note.startswith(f"{written} is without effect: no option is called so: did you mean {meant}")


def test_an_error_says_which_names_were_nearly_right():
    found = problems({"path": "s3a://b/", "format": "json", "latestFirst": "true"})
    assert found[0].startswith("cloudFiles.format is missing")
    assert found[1:] == ["format is without effect: no option is called so: did you mean cloudFiles.format?"]


def test_nothing_like_an_option_is_without_effect():
    assert parse(zzz="1").notes == ("zzz is without effect: no option is called so.",)
    assert problem(cloudFiles_zzz="1") == "Unknown option cloudFiles.zzz."


def test_an_option_that_has_no_prefix_is_taken_with_one():
    options = parse(cloudFiles_format="csv", cloudFiles_header="true", cloudFiles_pathGlobFilter="*.csv")
    assert (options.reader, options.path_glob_filter) == ({"header": "true"}, "*.csv")
    assert options.notes == (
        "cloudFiles.header is taken as header: that option has no cloudFiles. before it.",
        "cloudFiles.pathGlobFilter is taken as pathGlobFilter: that option has no cloudFiles. before it.",
    )
    assert "given twice, in different spellings" in problem(pathGlobFilter="a", cloudFiles_pathGlobFilter="b")


@pytest.mark.parametrize("name", ["inferSchema", "mergeSchema", "samplingRatio", "checkpointLocation", "delimiter"])
def test_a_documented_option_that_nothing_reads_is_judged_alike_with_a_prefix(name):
    taken = f"cloudFiles.{name} is taken as {name}: that option has no cloudFiles. before it."
    first, *others = parse(**{f"cloudFiles.{name}": "true"}).notes
    assert first == taken
    assert [note.replace("cloudFiles.delimiter", "delimiter") for note in others] == [*parse(**{name: "true"}).notes]


def test_empty_hints_are_no_hints():
    assert parse(cloudFiles_schemaHints=" \n") == parse()
    single = {"singleVariantColumn": "v", "cloudFiles.schemaHints": ""}
    assert parse(**single) == parse(singleVariantColumn="v")


@pytest.mark.parametrize(
    ("first", "second", "values"), [("sep", "delimiter", ",;"), ("encoding", "charset", ["utf-8", "ascii"])]
)
def test_of_two_names_of_an_option_of_a_reader_the_first_counts_as_in_spark_and_that_is_said(first, second, values):
    value, other = values
    for said in ({first: value, second: other}, {second: other, first: value}):
        options = parse(cloudFiles_format="csv", **said)
        assert options.notes == (f"{second} is without effect: {first} is given, too, and says otherwise.",)
    assert parse(cloudFiles_format="csv", **{first: value, second: value}).notes == ()
    assert parse(cloudFiles_format="csv", **{second: other}).notes == ()


def test_second_names_of_options():
    assert parse(cloudFiles_rescuedDataColumn="r") == parse(rescuedDataColumn="r")
    assert parse(fileNamePattern="*.json") == parse(pathGlobFilter="*.json")
    assert parse(parserCaseSensitive="false").reader == {"readercasesensitive": "false"}
    assert "given twice" in problem(cloudFiles_rescuedDataColumn="r", rescuedDataColumn="s")
    assert parse(cloudFiles_rescuedDataColumn="r", rescuedDataColumn="r").notes == ()


def test_what_is_no_text_is_taken_by_its_text_and_none_is_not_given():
    given = {**BASE, "cloudFiles.maxFilesPerTrigger": 7, "multiLine": True, "cloudFiles.schemaHints": None}
    options = CloudFilesOptions.parse(given)
    assert (options.max_files_per_trigger, options.reader, options.schema_hints) == (7, {"multiline": "true"}, None)


def test_unknown_options_of_ours_can_be_ignored_and_no_others():
    loose = {**BASE, "cloudFiles.validateOptions": "false"}
    options = CloudFilesOptions.parse({**loose, "cloudFiles.newThing": "1", "cloudFiles.maxFiles": "1"})
    assert (options.validate_options, options.max_files_per_trigger, options.reader) == (False, 1000, {})
    for name in ("cloudFiles.awsSecretKey", "cloudFiles.storageSecret"):
        assert len(problems({**loose, name: "x"})) == 1

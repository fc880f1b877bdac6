"""What the options of cloudFiles accept, refuse and say."""

import dataclasses
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from unit.autoloader.given_options import BASE, DAY, parse, problem, problems

from lakehouse.autoloader.options.parse import OPTIONS, CloudFilesOptions
from lakehouse.autoloader.options.refused import DATABRICKS_OPTIONS, FLAGS, READER_OPTIONS, SPARK_OPTIONS


def test_two_options_are_enough():
    assert parse() == CloudFilesOptions("json", "s3a://landing/orders/", None)


def test_names_may_have_any_case():
    given = {"CLOUDFILES.FORMAT": "JSON", "Path": "s3://b/x", "cloudfiles.maxfilespertrigger": "7", "multiLINE": "true"}
    options = CloudFilesOptions.parse(given)
    assert (options.format, options.max_files_per_trigger, options.reader) == ("json", 7, {"multiline": "true"})


def test_one_name_in_two_cases_with_two_values_is_refused():
    assert problems({**BASE, "PATH": "s3a://other/"}) == [
        "PATH is given twice, in different cases and with different values."
    ]


def test_every_field_has_its_option():
    fields = {one.name for one in dataclasses.fields(CloudFilesOptions)} - {"reader"}
    assert {one.field for one in OPTIONS if one.field} == fields


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


def test_xml_is_known_and_not_read():
    assert problem(cloudFiles_format="xml") == (
        "cloudFiles.format is 'xml': XML is not read here, so have it converted to one of json, csv, parquet, avro, "
        "orc, text, binaryFile."
    )
    # its reader's options are not held against it as well
    assert len(problems({**BASE, "cloudFiles.format": "xml", "rowTag": "row", "multiLine": "true"})) == 1


def test_all_problems_come_in_one_error():
    assert problems({"cloudFiles.maxFilesPerTrigger": "0", "cloudFiles.inferColumnTypes": "yes"}) == [
        "cloudFiles.inferColumnTypes is 'yes': write true or false.",
        "cloudFiles.maxFilesPerTrigger is '0': write a whole number from 1 to 2147483647.",
        "cloudFiles.format is missing: it names what the files are, one of json, csv, parquet, avro, orc, text, "
        "binaryFile.",
        "path is missing: give load() a path such as s3a://bucket/folder/.",
    ]


@pytest.mark.parametrize("path", ["s3://b", "s3a://b/", "s3n://b/a b/%41/*", "s3a://b/x/{a,b}/[0-9]*", "s3a://b/x@y/"])
def test_paths(path):
    assert parse(path=path).path == path


@pytest.mark.parametrize("path", ["", "/data", "file:///data", "s3a://", "s3a:///x", "hdfs://b/x", "abfss://c@a/x"])
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
        ("2b", 2),
        ("1t", 1 << 40),
    ],
)
def test_bytes(text, size):
    assert parse(cloudFiles_maxBytesPerTrigger=text).max_bytes_per_trigger == size


@pytest.mark.parametrize("text", ["", "0", "0g", "-1", "1.5g", "10 g", "10x", "g", "9999999p", "1_000", "\uff19"])
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
    ],
)
def test_intervals(text, seconds):
    assert parse(cloudFiles_backfillInterval=text).backfill_interval_seconds == seconds


@pytest.mark.parametrize("text", ["", "7", "days", "7 dayz", "-1 days", "1 day 2", "interval", "999999999 weeks", "7d"])
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


def test_months_have_no_length_and_a_listing_needs_an_interval():
    assert "months and years differ" in problem(cloudFiles_cleanSource_retentionDuration="1 month")
    assert "longer than 0 seconds" in problem(cloudFiles_backfillInterval="0 days")


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2020-06-01T13:00:00", 13),
        ("2020-06-01 13:00", 13),
        ("2020-06-01T13:00:00Z", 13),
        ("2020-06-01T13:00:00+02:00", 11),
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
    assert parse(recursiveFileLookup="TRUE") == parse()
    assert "recursiveFileLookup is 'false': folders are always read" in problem(recursiveFileLookup="false")


@pytest.mark.parametrize("name", ["schemaHints", "profile"])
def test_empty_text_is_refused(name):
    assert "it is empty" in problems({**BASE, f"cloudFiles.{name}": " "})[0]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("maxFilesPerTrigger", "cloudFiles.maxFilesPerTrigger"),
        ("FORMATT", "cloudFiles.format"),
        ("cloudFiles.schemaLocaton", "cloudFiles.schemaLocation"),
        ("cloudfiles.pathglobfilter", "pathGlobFilter"),
        ("cloudFiles.rescuedDataColumn", "rescuedDataColumn"),
        ("cloudFiles.minPartitions", "minPartitions"),
        ("multilines", "multiLine"),
        ("cleanSource.retentionDuratoin", "cloudFiles.cleanSource.retentionDuration"),
    ],
)
def test_nearly_an_option(written, meant):
    found = problems({**BASE, written: "1"})
    assert len(found) == 1
    assert found[0].startswith(f"Unknown option {written}: did you mean {meant}")


def test_nothing_like_an_option():
    assert problem(zzz="1") == "Unknown option zzz."


def test_unknown_options_of_ours_can_be_ignored_and_no_others():
    loose = {**BASE, "cloudFiles.validateOptions": "false"}
    options = CloudFilesOptions.parse({**loose, "cloudFiles.newThing": "1", "cloudFiles.maxFiles": "1"})
    assert (options.validate_options, options.max_files_per_trigger, options.reader) == (False, 1000, {})
    for name in ("newThing", "cloudFiles.queueUrl", "cloudFiles.storageSecret"):
        assert len(problems({**loose, name: "x"})) == 1


@pytest.mark.parametrize(("name", "reason"), DATABRICKS_OPTIONS.items(), ids=DATABRICKS_OPTIONS)
def test_options_of_databricks_say_why(name, reason):
    name = name.replace("*", "Team.x")
    expected = [f"{name} is an option of Databricks, not had here: {reason}."]
    assert problems({**BASE, name: "kept-to-itself"}) == expected
    if name in DATABRICKS_OPTIONS:
        assert problems({**BASE, name.removeprefix("cloudFiles.").upper(): "kept-to-itself"}) == expected


@pytest.mark.parametrize(("name", "reason"), SPARK_OPTIONS.items(), ids=SPARK_OPTIONS)
def test_options_of_spark_s_files_say_why(name, reason):
    expected = [f"{name} is an option of Spark's file sources, not had here: {reason}."]
    assert problems({**BASE, name.lower(): "1"}) == expected


@pytest.mark.parametrize("format_", READER_OPTIONS)
def test_each_format_takes_its_reader_s_options(format_):
    options = {name: "FAILFAST" if name == "mode" else "true" for name in READER_OPTIONS[format_]}
    parsed = CloudFilesOptions.parse({**BASE, "cloudFiles.format": format_, **options})
    assert parsed.reader == {name.lower(): value for name, value in options.items()}


def test_reader_values_stay_as_they_are():
    assert parse(cloudFiles_format="csv", sep="\t", nullValue="").reader == {"sep": "\t", "nullvalue": ""}


def test_options_of_another_format():
    assert problem(delimiter=";") == "delimiter is an option of the format csv, and cloudFiles.format is json."
    assert problem(mergeSchema="true").startswith("mergeSchema is an option of the format parquet or orc,")
    assert problem(ROWTAG="x").startswith("ROWTAG is an option of the format xml,")
    assert problem(cloudFiles_format="binaryfile", multiLine="true").endswith("cloudFiles.format is binaryfile.")


def test_switches_and_modes_of_readers():
    assert problem(MULTILINE="ture") == "multiLine is 'ture': write true or false."
    assert problem(mode="FAILFST") == "mode is 'FAILFST': write one of PERMISSIVE, DROPMALFORMED, FAILFAST."
    assert {name.lower() for names in READER_OPTIONS.values() for name in names} >= FLAGS


SECRETS = [
    "accessKey", "secretKey", "fs.s3a.access.key", "fs.s3a.secret.key", "fs.s3a.bucket.b.secret.key", "awsSecretKey",
    "cloudFiles.awsSecretKey", "cloudFiles.awsAccesKey", "aws_secret_access_key", "AWS_ACCESS_KEY_ID", "sessionToken",
    "fs.s3a.session.token", "password", "storePasswd", "cloudFiles.clientSecret", "cloudFiles.privateKeyId",
    "cloudFiles.connectionString", "databricks.serviceCredential", "key", "spark.hadoop.fs.s3a.secret.key", "apiKey",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("format_", ["json", "xml"])
def test_secrets_are_refused_and_never_repeated(name, format_):
    found = "\n".join(problems({**BASE, "cloudFiles.format": format_, name: "hunter2"}))
    assert "hunter2" not in found
    assert "environment" in found or "S3 and compatible stores only" in found


@pytest.mark.parametrize(
    "path",
    [
        "s3a://AKIA:hunter2@bucket/x",
        "s3a://AKIA:ab/hunter2/x@bucket/x",
        "https://me:hunter2@host/x",
        "https://host/x?X-Amz-Signature=hunter2",
        "s3a://AKIA:" + "x" * 250 + "hunter2@bucket/",
    ],
)
def test_secrets_in_paths_are_not_repeated(path):
    assert "hunter2" not in problem(path=path)
    assert "hunter2" not in problem(cloudFiles_journalLocation=path)


def test_refused_names_keep_their_values_to_themselves():
    names = [*DATABRICKS_OPTIONS, *SPARK_OPTIONS, "zzz", "maxFilesPerTrigger", "delimiter", "fs.s3a.endpoint"]
    assert "hunter2" not in "\n".join(problems({**BASE, **dict.fromkeys(names, "hunter2")}))

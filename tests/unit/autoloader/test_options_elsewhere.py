"""Options that others document: what becomes of each, and of what the formats' readers are told."""

import pytest
from unit.autoloader.given_options import BASE, parse, problem, problems

from lakehouse.autoloader.options.elsewhere import DATABRICKS_OPTIONS, OF_FORMATS, SPARK_OPTIONS
from lakehouse.autoloader.options.names import FLAGS, READER_OPTIONS
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.verdict import ACCEPTED, REFUSED, WARNING
from lakehouse.errors import ConfigurationError


def given_of(format_, name, value):
    tag = {"rowTag": "row"} if format_ == "xml" else {}
    return {**BASE, "cloudFiles.format": format_, **tag, name.replace("*", "Team.x"): value}


ELSEWHERE = [
    *(("Databricks", "json", option) for option in DATABRICKS_OPTIONS.values()),
    *(("Spark", "json", option) for option in SPARK_OPTIONS.values()),
    *((f"the format {name}", name, option) for name, table in OF_FORMATS.items() for option in table.values()),
]


@pytest.mark.parametrize(
    ("owner", "format_", "option"), ELSEWHERE, ids=lambda argument: getattr(argument, "name", argument)
)
def test_documented_options_that_nothing_reads_are_accepted_without_effect_or_refused(owner, format_, option):
    for value in option.same:
        options = CloudFilesOptions.parse(given_of(format_, option.name, value.replace("*", "x").upper()))
        assert (options.reader.keys() - {"rowtag"}, options.notes) == (set(), ())
    other = given_of(format_, option.name, "kept-to-itself")
    name = option.name.replace("*", "Team.x")
    if option.of("kept-to-itself") == REFUSED:
        assert problems(other) == [f"{name} is an option of {owner}, not had here: {option.why}."]
    elif option.of("kept-to-itself") == WARNING:
        assert CloudFilesOptions.parse(other).notes == (f"{name} is without effect: {option.why}.",)
    else:
        assert option.verdict == ACCEPTED


def test_types_are_inferred_by_one_option_and_the_other_says_the_same_or_nothing():
    said = ("inferSchema is without effect: cloudFiles.inferColumnTypes decides whether types are inferred.",)
    assert parse(inferSchema="True", cloudFiles_inferColumnTypes="true").notes == ()
    assert parse(inferSchema="false").notes == ()
    assert parse(inferSchema="true").notes == said
    assert parse(inferSchema="false", cloudFiles_inferColumnTypes="true").notes == said
    assert parse(inferSchema="true", cloudFiles_format="parquet").notes == ()


def test_a_base_path_is_harmless_where_no_partition_folder_stands_between_it_and_the_load_path():
    for base in ("s3a://landing/orders/", "s3a://landing", "s3://landing/orders"):
        assert parse(basePath=base).notes == ()
    path = "s3a://landing/orders/year=2024/"
    assert parse(basePath=path, path=path).notes == ()
    for base in ("s3a://landing/orders", "s3a://other/", "s3a://landing/ord"):
        assert problem(basePath=base, path=path).startswith("basePath is an option of Spark, not had here: partition ")


VALUES = {
    "mode": "FAILFAST",
    "encoding": "UTF-8",
    "charset": "UTF-8",
    "lineSep": "\n",
    "locale": "en-US",
    "skipRows": "2",
    "headerRows": "1",
    "maxWorkbookBytes": "1g",
    "operation": "listSheets",
    "dataAddress": "'My Sheet'!A2:D5",
    "rowValidationXSDPath": "/x.xsd",
    "unescapedQuoteHandling": "STOP_AT_DELIMITER",
    **dict.fromkeys(["sep", "delimiter", "quote", "escape", "comment", "charToEscapeQuoteEscaping"], "|"),
}


@pytest.mark.parametrize("format_", READER_OPTIONS)
def test_each_format_takes_its_reader_s_options(format_):
    options = {name: VALUES.get(name, "true") for name in READER_OPTIONS[format_]}
    parsed = CloudFilesOptions.parse({**BASE, "cloudFiles.format": format_, **options})
    assert (parsed.reader, parsed.notes) == ({name.lower(): value for name, value in options.items()}, ())


@pytest.mark.parametrize(
    ("format_", "name", "value", "said"),
    [
        ("json", "encoding", "klingon", "no encoding of this name is known"),
        ("csv", "locale", "de", "numbers and dates are read as in en-US"),
        ("json", "lineSep", "|", "lines end at"),
        ("excel", "headerRows", "2", "write 0 or 1"),
        ("excel", "operation", "list", "write readSheet or listSheets"),
        ("excel", "dataAddress", "Sheet1!A1", "write a range as in Sheet1!A2:D5"),
        ("excel", "maxWorkbookBytes", "much", "write a whole number of bytes"),
        ("csv", "lineSep", ";", "lines end at"),
        ("csv", "sep", "|" * 17, "write one character, or at most 16"),
        ("csv", "delimiter", "", "write one character"),
        ("csv", "sep", "\\|", r"a backslash is written as \\"),
        ("csv", "delimiter", "\\", r"a backslash is written as \\"),
        ("csv", "quote", "\u201c\u201d", "one character is supported"),
        ("csv", "skipRows", "-1", "write a whole number of lines"),
        ("csv", "unescapedQuoteHandling", "RAISE_ERROR", "only STOP_AT_DELIMITER is had"),
        ("xml", "rowTag", "<row>", "write the name of an element, without < and >"),
        ("xml", "valueTag", " ", "write the name of an element"),
        ("xml", "rowValidationXSDPath", "s3a://bucket/x.xsd", "write the path of a file that the driver and all"),
    ],
)
def test_values_that_a_reader_cannot_have_are_refused_before_a_file_is_read(format_, name, value, said):
    tag = {"rowTag": "row"} if format_ == "xml" else {}
    assert said in problem(cloudFiles_format=format_, **tag | {name: value})


def test_reader_values_stay_as_they_are():
    assert parse(cloudFiles_format="csv", sep="\t", nullValue="").reader == {"sep": "\t", "nullvalue": ""}


def test_options_of_another_format_are_without_effect():
    def note(**given):
        (said,) = parse(**given).notes
        return said

    assert note(delimiter=";") == (
        "delimiter is without effect: it is an option of the format csv, and cloudFiles.format is json."
    )
    assert note(wholeText="true").startswith("wholeText is without effect: it is an option of the format text,")
    assert note(ROWTAG="x").startswith("ROWTAG is without effect: it is an option of the format xml,")
    assert note(cloudFiles_format="binaryfile", multiLine="true").endswith("cloudFiles.format is binaryfile.")


def test_switches_and_modes_of_readers():
    assert problem(MULTILINE="ture") == "multiLine is 'ture': write true or false."
    assert problem(mode="FAILFST") == "mode is 'FAILFST': write one of PERMISSIVE, DROPMALFORMED, FAILFAST."
    assert {name.lower() for names in READER_OPTIONS.values() for name in names} >= FLAGS


SECRETS = [
    "accessKey", "secretKey", "fs.s3a.access.key", "fs.s3a.secret.key", "fs.s3a.bucket.b.secret.key", "awsSecretKey",
    "cloudFiles.awsSecretKey", "cloudFiles.awsAccesKey", "aws_secret_access_key", "AWS_ACCESS_KEY_ID", "sessionToken",
    "fs.s3a.session.token", "password", "storePasswd", "cloudFiles.clientSecret", "cloudFiles.privateKeyId",
    "cloudFiles.connectionString", "serviceCredential", "key", "spark.hadoop.fs.s3a.secret.key", "apiKey",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("format_", ["json", "xml"])
def test_secrets_are_refused_and_never_repeated(name, format_):
    found = "\n".join(problems({**BASE, "cloudFiles.format": format_, name: "hunter2"}))
    assert "hunter2" not in found
    assert "environment" in found


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


def test_names_keep_their_values_to_themselves():
    names = [*DATABRICKS_OPTIONS, *SPARK_OPTIONS, "zzz", "maxFilesPerTrigger", "delimiter", "fs.s3a.endpoint"]
    for name in names:
        try:
            said = "\n".join(CloudFilesOptions.parse({**BASE, name: "hunter2"}).notes)
        except ConfigurationError as error:
            said = str(error)
        assert "hunter2" not in said

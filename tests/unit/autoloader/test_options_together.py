"""Options that are well each and cannot be together."""

import pytest
from unit.autoloader.given_options import DAY, parse, problem


def test_delete_needs_more_than_seven_days():
    for text in ("7 days", "1 hour"):
        assert "more than 7 days" in problem(
            cloudFiles_cleanSource="delete", cloudFiles_cleanSource_retentionDuration=text
        )
    assert parse(cloudFiles_cleanSource="delete").clean_source == "DELETE"
    kept = parse(cloudFiles_cleanSource="DELETE", cloudFiles_cleanSource_retentionDuration="7 days 1 second")
    assert kept.clean_source_retention_seconds == 7 * DAY + 1


def moved(to, path="s3a://landing/orders/"):
    return {"cloudFiles_cleanSource": "MOVE", "cloudFiles_cleanSource_moveDestination": to, "path": path}


def test_move_needs_a_destination():
    assert problem(cloudFiles_cleanSource="move") == (
        "cloudFiles.cleanSource MOVE needs cloudFiles.cleanSource.moveDestination."
    )
    # a wrong one is one problem, not two
    assert "must be on the object store" in problem(**moved("archive"))


def test_move_destinations():
    for to in ("s3://landing/orders-done", "s3a://landing/archive/", "s3a://landing/"):
        assert parse(**moved(to)).clean_source_move_destination == to
    assert parse(**moved("s3a://landing/done", "s3a://landing/in/*/x")).clean_source == "MOVE"
    no_retention = parse(**moved("s3a://landing/done"), cloudFiles_cleanSource_retentionDuration="0 days")
    assert no_retention.clean_source_retention_seconds == 0


@pytest.mark.parametrize("to", ["s3a://landing/orders", "s3://landing/orders/", "s3a://landing/orders/_done"])
def test_moved_files_must_not_come_back(to):
    assert "neither the load path nor below it" in problem(**moved(to))


def test_files_are_not_moved_between_buckets_or_inside_a_whole_bucket():
    assert "in the bucket of the load path" in problem(**moved("s3a://other/orders/"))
    assert "neither the load path nor below it" in problem(**moved("s3a://landing/done", "s3a://landing"))


def test_the_journal_is_no_data():
    assert "loaded as data" in problem(cloudFiles_journalLocation="s3a://landing/orders/journal")
    for place in ("s3a://landing/orders/_journal", "s3a://landing/journal/", "s3a://other/orders/journal"):
        assert parse(cloudFiles_journalLocation=place).journal_location == place


def test_no_file_is_newer_and_older():
    for before in ("2020-06-01", "2020-05-31"):
        assert "No file can be newer" in problem(modifiedAfter="2020-06-01", modifiedBefore=before)
    assert parse(modifiedAfter="2020-06-01", modifiedBefore="2020-06-02").modified_before


def test_files_without_fields_rescue_nothing():
    options = parse(cloudFiles_format="text", cloudFiles_rescuedDataColumn="_rescued_data")
    assert options == parse(cloudFiles_format="text")
    assert options.notes == (
        "rescuedDataColumn is without effect: files of text have no fields, so nothing is rescued.",
    )


def test_files_without_fields_have_no_new_columns():
    said = "cloudFiles.schemaEvolutionMode is without effect: columns of binaryFile are always the same."
    for mode, notes in (("addNewColumns", (said,)), ("failOnNewColumns", (said,)), ("none", ())):
        assert parse(cloudFiles_format="binaryFile", cloudFiles_schemaEvolutionMode=mode).notes == notes


def test_bad_records_path_is_a_place_outside_of_the_load_path_for_records_that_can_be_malformed():
    assert parse(badRecordsPath="s3a://lake/bad").bad_records_path == "s3a://lake/bad"
    assert problem(badRecordsPath="tmp/bad").startswith("badRecordsPath is 'tmp/bad': it must be on the object store")
    assert parse(badRecordsPath="s3a://lake/5% #1?").bad_records_path == "s3a://lake/5% #1?"
    assert "two hexadecimal digits" in problem(badRecordsPath="s3a://lake/bad%20records")
    for place in ("s3a://landing/orders", "s3a://landing/orders/bad/"):
        assert problem(badRecordsPath=place).startswith("badRecordsPath is below the load path, where its table would")
    assert parse(badRecordsPath="s3a://landing/orders/_bad")
    assert parse(badRecordsPath="s3a://landing/bad", cloudFiles_format="csv")
    for name in ("parquet", "avro", "orc", "text", "binaryFile"):
        options = parse(badRecordsPath="s3a://lake/bad", cloudFiles_format=name)
        assert (options.bad_records_path, len(options.notes)) == (None, 1)
        assert parse(badRecordsPath="s3a://landing/orders/bad/", cloudFiles_format=name) == options
        assert options.notes[0].startswith("badRecordsPath is without effect: only records of json and csv")


@pytest.mark.parametrize("mode", ["DROPMALFORMED", "failfast"])
def test_bad_records_are_not_both_kept_and_dropped_or_fatal(mode):
    found = problem(badRecordsPath="s3a://lake/bad", mode=mode)
    assert found == f"badRecordsPath keeps malformed records, and mode is {mode.upper()}: leave one of the two out."
    assert parse(badRecordsPath="s3a://lake/bad", mode="permissive")


@pytest.mark.parametrize("format_", ["json", "csv"])
def test_a_single_variant_column_is_named(format_):
    assert parse(cloudFiles_format=format_, singleVariantColumn="v").reader == {"singlevariantcolumn": "v"}
    assert problem(singleVariantColumn=" ") == "singleVariantColumn is empty: give the name of the column."
    assert "one VARIANT" in problem(singleVariantColumn="v", cloudFiles_schemaHints="a INT")
    assert "leave one out" in problem(badRecordsPath="s3a://lake/bad", singleVariantColumn="v")


def test_the_encoding_of_text_is_told_to_be_that_of_its_ends_of_lines():
    said = ("encoding is that of lineSep alone, as in Spark: the text itself is read as UTF-8.",)
    assert parse(cloudFiles_format="text", encoding="windows-1252").notes == said
    assert parse(cloudFiles_format="text", encoding="utf8").notes == ()

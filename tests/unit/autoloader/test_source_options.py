"""What ``format("cloudFiles")`` says and needs of its options, asked as Spark asks it: no store, no JVM."""

import json
import warnings

import pytest
from pyspark.sql.connect.proto import ExecutePlanRequest, Relation
from pyspark.sql.types import StructType

from lakehouse.autoloader.given_schemas import CompleteSchemas
from lakehouse.autoloader.option_notes import OptionWarning, TellOfOptions, sources
from lakehouse.autoloader.source import CloudFiles
from lakehouse.errors import ConfigurationError

BASE = {"cloudFiles.format": "json", "path": "s3a://landing/orders/"}
GIVEN = StructType().add("id", "string")


def test_options_without_effect_are_warned_of_once_where_the_stream_starts():
    source = CloudFiles({**BASE, "cloudFiles.region": "kept-to-itself", "zzz": "kept-to-itself"})
    with pytest.warns(UserWarning) as said:
        source.streamReader(GIVEN)
    assert [str(warning.message).split(":")[0] for warning in said] == [
        "cloudFiles.region is without effect",
        "zzz is without effect",
    ]
    assert "kept-to-itself" not in "".join(str(warning.message) for warning in said)


def test_options_that_ask_for_what_is_done_anyway_are_not_talked_about():
    same = {"cloudFiles.useNotifications": "False", "recursiveFileLookup": "false", "latestFirst": "false"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CloudFiles({**BASE, **same}).streamReader(GIVEN)


@pytest.mark.parametrize("name", ["cloudFiles.useNotifications", "CLOUDFILES.USEMANAGEDFILEEVENTS"])
def test_a_stream_that_asks_for_events_lists_where_nothing_names_an_inbox_and_says_so(name, monkeypatch, tmp_path):
    monkeypatch.delenv("LAKEHOUSE_EVENTS_INBOX", raising=False)
    place, events = {**BASE, "cloudFiles.schemaLocation": "s3a://lake/s/"}, {name: "True"}
    with pytest.warns(UserWarning, match="File events are not used: neither cloudFiles.eventsInbox nor LAKEHOUSE_EV"):
        stream = CloudFiles({**place, **events}).streamReader(GIVEN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stream._options == CloudFiles(place).streamReader(GIVEN)._options
        inbox = str(tmp_path / "inbox.sqlite")
        assert CloudFiles({**place, **events, "cloudFiles.eventsInbox": inbox}).streamReader(GIVEN)._options.by_events
        monkeypatch.setenv("LAKEHOUSE_EVENTS_INBOX", inbox)
        assert CloudFiles({**place, **events}).streamReader(GIVEN)._options.by_events


def started(*sources):
    """What a Connect client sends to start a stream of a union of sources."""
    plan = Relation()
    for format_, options in sources:
        above, source = Relation(), Relation()
        source.read.data_source.format = format_
        source.read.data_source.options.update(options)
        source.read.data_source.paths.append("s3a://landing/orders/")
        above.join.left.CopyFrom(plan)
        above.join.right.project.input.CopyFrom(source)
        plan = above
    request = ExecutePlanRequest()
    request.plan.command.write_stream_operation_start.input.CopyFrom(plan)
    return request


def test_a_client_of_spark_connect_is_told_of_them_too():
    odd = {"cloudFiles.format": "json", "zzz": "kept-to-itself"}
    plan = started(("cloudFiles", odd), ("CLOUDFILES", {**odd, "yyy": "1"}), ("json", {"xxx": "1"}))
    with pytest.warns(OptionWarning) as said:
        assert TellOfOptions().on_execute_plan(plan) is plan
    assert sorted(str(warning.message) for warning in said) == [
        "yyy is without effect: no option is called so.",
        "zzz is without effect: no option is called so.",
    ]


def test_a_client_is_told_nothing_where_all_has_effect_where_the_source_refuses_and_where_no_stream_starts():
    ok = {"cloudFiles.format": "csv", "header": "true"}
    other = ExecutePlanRequest()
    other.plan.root.read.data_source.format = "cloudFiles"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for plan in (started(("cloudFiles", ok)), started(("cloudFiles", {"zzz": "1"})), other):
            TellOfOptions().on_execute_plan(plan)


def schemas_of(*sources):
    """The schemas with which a client of Spark Connect starts a stream of sources: options, and schema as text."""
    request = started(*(("cloudFiles", options) for options, _ in sources))
    for source, (_, schema) in zip(given_sources(request), sources, strict=True):
        source.schema = schema
    CompleteSchemas().on_execute_plan(request)
    return [source.schema for source in given_sources(request)]


def given_sources(request):
    """The sources of a plan in the order in which they were given."""
    return list(sources(request.plan.command.write_stream_operation_start.input))


def test_a_client_of_spark_connect_adds_the_rescued_column_to_a_given_schema_that_lacks_it():
    named = {"cloudFiles.format": "json", "cloudFiles.rescuedDataColumn": "_r"}
    found = schemas_of(
        (named, "id BIGINT, tags ARRAY<STRING>"),
        (named, GIVEN.json()),
        (named, "id BIGINT, _r STRING"),
        ({"cloudFiles.format": "json"}, "id BIGINT"),
        ({**named, "cloudFiles.format": "text"}, "value STRING"),
    )
    assert [StructType.fromJson(json.loads(schema)).simpleString() for schema in found[:2]] == [
        "struct<id:bigint,tags:array<string>,_r:string>",
        "struct<id:string,_r:string>",
    ]
    assert found[2:] == ["id BIGINT, _r STRING", "id BIGINT", "value STRING"]


def selected(schema, *expressions):
    """What is sent for a stream that selects names of columns from one source: its schema, the names, and the plan."""
    request = started(("cloudFiles", {"cloudFiles.format": "json"}))
    plan = request.plan.command.write_stream_operation_start.input
    plan.CopyFrom(Relation.FromString(plan.join.right.SerializeToString()))
    plan.project.input.read.data_source.schema = schema
    for name in expressions:
        said = plan.project.expressions.add()
        if name == "*":
            said.unresolved_star.SetInParent()
        else:
            said.unresolved_attribute.unparsed_identifier = name
    CompleteSchemas().on_execute_plan(request)
    [source] = sources(plan)
    project = plan.drop.input.project if plan.HasField("drop") else plan.project
    names = [expression.unresolved_attribute.unparsed_identifier or "*" for expression in project.expressions]
    return source.schema, names, plan


def test_a_client_of_spark_connect_offers_metadata_beside_a_given_schema_and_the_target_does_not_get_it():
    schema, names, plan = selected("id BIGINT", "*", "_metadata.file_path")
    assert StructType.fromJson(json.loads(schema)).names == ["id", "_metadata"]
    assert names == ["*", "_metadata.file_path"]
    assert list(plan.drop.column_names) == ["_metadata"]


def test_the_target_gets_metadata_where_it_is_selected_and_it_is_named_once():
    schema, names, plan = selected("id BIGINT", "*", "_metadata")
    assert StructType.fromJson(json.loads(schema)).names == ["id", "_metadata"]
    assert (names, plan.HasField("drop")) == (["*"], False)
    assert selected("", "*", "_metadata")[:2] == ("", ["*"]), "an inferred schema has it"
    assert selected("id BIGINT", "id", "_metadata")[1] == ["id", "_metadata"]


@pytest.mark.parametrize(
    ("schema", "names"),
    [("id BIGINT", ["id", "my_metadata.file_path", "a._metadata"]), ("id BIGINT, _metadata STRUCT<e_tag: STRING>", [])],
)
def test_a_schema_stays_as_it_is_where_metadata_is_not_asked_for_or_is_there(schema, names):
    found, _, plan = selected(schema, *(names or ["_metadata.e_tag"]))
    assert (found, plan.HasField("drop")) == (schema, False)


@pytest.mark.parametrize(("format_", "columns"), [("text", ["value"]), ("binaryFile", ["path", "modificationTime"])])
def test_files_without_fields_need_no_place_for_their_schema(format_, columns):
    options = {"cloudFiles.format": format_, "path": "s3a://landing/notes/", "cloudFiles.partitionColumns": "day"}
    names = CloudFiles(options).schema().names
    assert names[: len(columns)] == columns
    assert names[-2:] == ["day", "_metadata"]


def test_files_with_fields_need_one():
    with pytest.raises(ConfigurationError, match="no schema, and no place to keep an inferred one"):
        CloudFiles(BASE).schema()

"""``input_file_name()`` in the plans that a client sends."""

import pytest
from pyspark.sql.connect.proto import ExecutePlanRequest, Expression, Relation

from lakehouse.autoloader.file_names import refuse_file_names
from lakehouse.errors import ConfigurationError

CALL = Expression(unresolved_function=Expression.UnresolvedFunction(function_name="input_file_name"))
OTHER = Expression(unresolved_function=Expression.UnresolvedFunction(function_name="upper"))
TEXT = Expression(expression_string=Expression.ExpressionString(expression="upper( INPUT_FILE_NAME ( ) ) AS f"))
NAMED = Expression(
    alias=Expression.Alias(
        name=["input_file_name"],
        expr=Expression(unresolved_attribute=Expression.UnresolvedAttribute(unparsed_identifier="_metadata.file_path")),
    )
)
HIDDEN = Expression(unresolved_function=Expression.UnresolvedFunction(function_name="upper", arguments=[CALL]))


def read(format_):
    relation = Relation()
    relation.read.is_streaming = True
    relation.read.data_source.format = format_
    relation.read.data_source.options["path"] = "s3a://b/input_file_name()/"
    return relation


def select(below, *columns):
    relation = Relation()
    relation.project.input.CopyFrom(below)
    relation.project.expressions.extend(columns)
    return relation


def where(below, condition):
    relation = Relation()
    relation.filter.input.CopyFrom(below)
    relation.filter.condition.CopyFrom(condition)
    return relation


def join(left, right):
    relation = Relation()
    relation.join.left.CopyFrom(left)
    relation.join.right.CopyFrom(right)
    return relation


def sql(query, view):
    relation = Relation()
    relation.with_relations.root.sql.query = query
    relation.with_relations.references.append(view)
    return relation


def start(plan):
    request = ExecutePlanRequest()
    request.plan.command.write_stream_operation_start.input.CopyFrom(plan)
    return request


@pytest.mark.parametrize(
    "plan",
    [
        select(read("cloudFiles"), CALL),
        select(read("CLOUDFILES"), HIDDEN),
        select(read("cloudFiles"), TEXT),
        select(where(select(read("cloudFiles"), OTHER), HIDDEN), OTHER),
        join(select(read("cloudFiles"), CALL), read("delta")),
        sql("SELECT input_file_name() FROM t", read("cloudFiles")),
    ],
    ids=["select", "nested", "text", "filter", "below a join", "sql"],
)
def test_a_cloud_files_stream_that_asks_for_its_file_is_refused(plan):
    with pytest.raises(ConfigurationError, match="input_file_name") as caught:
        refuse_file_names(start(plan))
    assert "_metadata.file_path" in caught.value.next_command


@pytest.mark.parametrize(
    "plan",
    [
        select(read("cloudFiles"), OTHER),
        select(read("cloudFiles"), NAMED),
        select(read("json"), CALL),
        join(read("cloudFiles"), select(read("json"), CALL)),
        sql("SELECT 'input_file_name' FROM t", read("cloudFiles")),
        join(sql("SELECT * FROM t", select(read("json"), CALL)), read("cloudFiles")),
    ],
    ids=[
        "other functions",
        "a column of that name",
        "another source",
        "another source's",
        "a text",
        "another's in SQL",
    ],
)
def test_all_else_goes_through(plan):
    refuse_file_names(start(plan))


def test_what_starts_no_stream_goes_through():
    request = ExecutePlanRequest()
    request.plan.root.CopyFrom(select(read("cloudFiles"), CALL))
    refuse_file_names(request)
    refuse_file_names(ExecutePlanRequest())

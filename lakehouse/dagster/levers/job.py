"""One job of one step for each lever: its form, its result as metadata, and its refusals in plain words."""

from enum import Enum
from typing import Any

import dagster as dg
from pydantic import ValidationError

from lakehouse.dagster.levers.lever import Lever, LeverConfig, Pull, Pulled
from lakehouse.dagster.names import LEVER_TAG
from lakehouse.dagster.records import markdown
from lakehouse.dagster.resources import LakeResource, SparkResource
from lakehouse.errors import LakehouseError

POOL = "levers"
"""One lever at a time. A table that is written now has its lease held, and the lever is refused with that word."""


def lever_job(lever: Lever) -> dg.JobDefinition:
    """The job of a lever; what its launchpad shows first changes nothing."""

    @dg.op(
        name=lever.step,
        description=lever.does,
        config_schema=lever.config.to_fields_dict(),
        out=dg.Out(dg.Nothing),
        pool=POOL,
        tags={LEVER_TAG: lever.step},
    )
    def pull(context: dg.OpExecutionContext, lake: LakeResource, spark: SparkResource) -> None:
        config = _form(lever, context.op_config)
        try:
            done = lever.pull(Pull(lake.open(), config, lambda: spark.spark_session))
        except LakehouseError as error:
            raise dg.Failure(str(error), metadata=_plain(error), allow_retries=False) from None
        _tell(context, lever, done)

    form = {"ops": {lever.step: {"config": whole(lever.config(apply=False))}}}
    described = f"{lever.does} Nothing is changed until apply is true. Needs {lever.needs}; in a shell: "
    described += f"lakehouse {lever.command}"

    @dg.job(
        name=lever.job,
        description=described,
        executor_def=dg.in_process_executor,
        config=form,
        tags={LEVER_TAG: lever.step},
    )
    def job() -> None:
        pull()

    return job


def whole(config: LeverConfig) -> dict[str, Any]:
    """A form as the launchpad has it: whole, so that nobody has to know the names of its fields."""
    return {name: _name(value) for name, value in dict(config).items()}


def _name(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_name(item) for item in value]
    return value.name if isinstance(value, Enum) else value


def _form(lever: Lever, given: dict[str, Any]) -> LeverConfig:
    try:
        return lever.config(**given)
    except ValidationError as error:
        wrong = {".".join(map(str, problem["loc"])): problem for problem in error.errors(include_url=False)}
        problems = [f"{place}: {problem['msg'].removeprefix('Value error, ')}" for place, problem in wrong.items()]
        what = f"the form of {lever.job} cannot be used: " + "; ".join(problems)
        metadata = {"where": ", ".join(f"ops.{lever.step}.config.{place}" for place in wrong)}
        raise dg.Failure(what, metadata={**metadata, "state": "nothing was changed"}, allow_retries=False) from None


def _plain(error: LakehouseError) -> dict[str, str]:
    return {name: text for name, text in error.as_dict().items() if text}


def _tell(context: dg.OpExecutionContext, lever: Lever, done: Pulled) -> None:
    for line in done.lines:
        context.log.info(line)
    command = lever.command_line(done.arguments)
    shown: dict[str, Any] = {"what": "; ".join(done.lines), "applied": done.done, "command": command}
    result = {"result": dg.MetadataValue.md(markdown(done.rows))} if done.rows else {}
    if done.done:
        for key, numbers in done.numbers.items():
            context.log_event(dg.AssetObservation(key, metadata={"lever": lever.step, **shown, **numbers, **result}))
    metadata = {**shown, **done.totals(), **result}  # a run's page shows the first few
    if done.error is not None:
        raise dg.Failure(str(done.error), metadata={**_plain(done.error), **metadata}, allow_retries=False)
    context.add_output_metadata(metadata)

"""A local lake with its definitions and a Dagster instance: what people do from its pages, without a session."""

import shlex
from functools import cache

import dagster as dg
import typer
from store.local_world import TABLE, LocalWorld, no_session

from lakehouse.cli.main import app
from lakehouse.dagster import LakeResource, SparkResource, definitions
from lakehouse.dagster.levers import Pull, levers_of
from lakehouse.dagster.names import key_of
from lakehouse.dagster.records import markdown
from lakehouse.declaration import read_catalogue


def command_exists(line):
    found, words = typer.main.get_command(app), shlex.split(line)[1:]
    while hasattr(found, "commands"):
        found, words = found.commands[words[0]], words[1:]
    found.make_context(found.name, words)  # refuses what it does not know


class NoSession(SparkResource):
    @property
    def spark_session(self):
        raise AssertionError("a session was asked for")


class Room:
    """A local lake, its definitions, and a Dagster instance."""

    def __init__(self, lake, folder, instance):
        self.world, self.instance = LocalWorld(lake, folder), instance
        self._loaded = cache(self._load)

    @property
    def made(self):
        """The definitions, loaded anew when the declaration has changed, as a code location is."""
        return self._loaded(self.world.lake.settings.declaration.read_text())

    def _load(self, _):
        settings = self.world.lake.settings
        names = ("home", "declaration", "user", "bucket", "landing_prefix")
        resource = LakeResource(**{name: str(getattr(settings, name)) for name in names})
        made = definitions(read_catalogue(settings), lake=resource)
        ours = {"lake": resource, "spark": NoSession(lake=resource)}
        return dg.Definitions(
            assets=made.assets, asset_checks=made.asset_checks, jobs=made.jobs, sensors=made.sensors, resources=ours
        )

    def pull(self, lever, **form):
        """What a lever tells, without Dagster around it."""
        [found] = [
            candidate for candidate in levers_of(read_catalogue(self.world.lake.settings)) if candidate.step == lever
        ]
        done = found.pull(Pull(self.world.lake, found.config(**form), no_session))
        assert done.done == form.get("apply", False) and done.numbers.keys() == {key_of(TABLE)}
        command_exists(found.command_line(done.arguments))
        return {**done.totals(), "result": markdown(done.rows), "said": "; ".join(done.lines)}

    def launch(self, lever, *, fails=False, **form):
        """Metadata of the lever's step, launched as its job."""
        config = {"ops": {lever: {"config": form}}}
        job = self.made.resolve_job_def(f"lever_{lever}")
        done = job.execute_in_process(instance=self.instance, run_config=config, raise_on_error=False)
        assert done.success != fails
        if fails:
            [event] = [dagster_event for dagster_event in done.all_events if dagster_event.is_step_failure]
            return event.step_failure_data.user_failure_data
        [output] = [
            dagster_event.step_output_data for dagster_event in done.all_events if dagster_event.is_successful_output
        ]
        told = {name: value.value for name, value in output.metadata.items()}
        observed = [
            dagster_event.asset_observation_data.asset_observation
            for dagster_event in done.all_events
            if dagster_event.is_asset_observation
        ]
        assert bool(observed) == told["applied"], "what was only asked changes no page of a table"
        assert {observation.asset_key for observation in observed} <= {
            key_of(name) for name in read_catalogue(self.world.lake.settings).names
        }
        command_exists(told["command"])
        return told

    def materialize(self, *tables):
        """What a run of the tables says of them; default the one that is declared."""
        keys = {key_of(name) for name in tables or (TABLE,)}
        job = self.made.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
        done = job.execute_in_process(instance=self.instance)
        return [event.step_materialization_data.materialization for event in done.get_asset_materialization_events()]

"""The lake and Spark as resources: thin covers of the library."""

from typing import Any

import dagster as dg
from dagster_pyspark import LazyPySparkResource

from lakehouse.dagster.dead_runs import note_process
from lakehouse.lake import Lake
from lakehouse.settings import Settings

_FIELDS = ("declaration", "home", "user", "bucket", "landing_bucket", "landing_prefix")


class LakeResource(dg.ConfigurableResource):
    """Opens the lake that the ``LAKEHOUSE_*`` variables name; a field that is set wins over its variable.

    Keys of the object store are not among the fields: they come from the environment or from the generated file,
    and are never shown by Dagster.
    """

    declaration: str | None = None
    home: str | None = None
    user: str | None = None
    bucket: str | None = None
    landing_bucket: str | None = None
    landing_prefix: str | None = None

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Notes in which process a run is: the sensors end a run whose process is gone."""
        if context.run is not None and context.instance is not None:
            note_process(context.instance, context.run.run_id)

    def settings(self) -> Settings:
        """The environment's settings with the fields that are set.

        Raises:
            ConfigurationError: a variable or a field is wrong.
        """
        return Settings.load(**{name: value for name in _FIELDS if (value := getattr(self, name)) is not None})

    def open(self) -> Lake:
        """The lake, with its store running; see ``Lake.open`` for the errors."""
        return Lake.open(self.settings())


class SparkResource(LazyPySparkResource):
    """A session on first use, so that neither a sensor nor a run that waits for its turn starts Spark.

    The engine outlives the run: nothing is stopped at the end, the next run finds it warm. All ``spark.*`` keys are in
    ``lakehouse.engine.conf``; ``spark_config`` holds only what one deployment adds at run time.
    """

    lake: dg.ResourceDependency[LakeResource]
    spark_config: dict[str, Any] = {}

    def _init_session(self) -> None:
        from lakehouse.engine import connect

        if self._spark_session is None:
            session = connect(self.lake.open())
            for name, value in self.spark_config.items():
                session.conf.set(name, value)
            self._spark_session = session

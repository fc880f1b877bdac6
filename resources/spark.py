"""Spark as a resource: dagster-pyspark's lazy resource, on the warm engine."""

from typing import Any

import dagster as dg
from dagster_pyspark import LazyPySparkResource

from lakehouse.engine import connect
from resources.lake import LakeResource


class SparkResource(LazyPySparkResource):
    """A session on first use, so that neither a sensor nor a run that waits for its turn starts Spark.

    The engine outlives the run: nothing is stopped at the end, the next run finds it warm. All ``spark.*`` keys are in
    ``lakehouse.engine.conf``; ``spark_config`` holds only what one deployment adds at run time.
    """

    lake: dg.ResourceDependency[LakeResource]
    spark_config: dict[str, Any] = {}

    def _init_session(self) -> None:
        if self._spark_session is None:
            session = connect(self.lake.open())
            for name, value in self.spark_config.items():
                session.conf.set(name, value)
            self._spark_session = session

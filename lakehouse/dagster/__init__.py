"""Dagster over declared tables: assets, checks, jobs, sensors and schedules made from a ``Catalogue``.

The only part of ``lakehouse`` that imports Dagster; it needs the extra ``[dagster]``. In a ``defs.yaml``::

    type: lakehouse.dagster.LakehouseComponent
    attributes:
      declaration: lakehouse.yaml

or in Python: ``defs = definitions()``. Loading them opens no store and starts no Spark.
"""

from lakehouse.extras import needing

with needing("dagster", "lakehouse.dagster"):
    from lakehouse.dagster.build import definitions
    from lakehouse.dagster.component import LakehouseComponent
    from lakehouse.dagster.landing import LandingNames
    from lakehouse.dagster.resources import LakeResource, SparkResource

__all__ = ["LakeResource", "LakehouseComponent", "LandingNames", "SparkResource", "definitions"]

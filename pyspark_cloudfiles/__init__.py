"""Makes ``format("cloudFiles")`` known to every PySpark in whose environment this package is installed.

At the first use of a Python data source Spark imports each top-level module that is called ``pyspark_*``, and takes its
``DefaultSource``: so nobody has to register it. A source of that name which a session registers takes its place there.
"""

from __future__ import annotations

from lakehouse.autoloader.source import CloudFiles


class DefaultSource(CloudFiles):
    """The source, with its journals where the options or the environment of Spark's driver say."""

"""Makes ``format("cloudFiles")`` known to every PySpark in whose environment this package is installed.

At the first use of a Python data source Spark imports each top-level module that is called ``pyspark_*``, and takes its
``DefaultSource``: so nobody has to register it. Such a source cannot be replaced by one that a session registers. Where
this library starts the engine, which registers a source of its own for each lake, there is none here.
"""

from __future__ import annotations

import os

from lakehouse.autoloader.options.locations import OWN_REGISTRATION
from lakehouse.autoloader.source import CloudFiles

if not os.environ.get(OWN_REGISTRATION):

    class DefaultSource(CloudFiles):
        """The source, with its journals where the options or the environment of Spark's driver say."""

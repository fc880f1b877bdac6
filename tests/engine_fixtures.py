"""Fixtures that start Spark: for the folders whose tests need it."""

import pytest

from lakehouse.engine import connect
from lakehouse.orders.samples import generate_orders


@pytest.fixture
def spark(lake):
    """A session on the suite's warm engine."""
    return connect(lake)


@pytest.fixture
def land(lake):
    """Writes sample files into the test's landing folder: ``land(files=3, first_file=0, ...)``."""

    def write(**options):
        bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix
        return generate_orders(lambda name, data: lake.store.write(bucket, prefix + name, data), **options)

    return write

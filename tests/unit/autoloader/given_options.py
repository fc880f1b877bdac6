"""Options as the tests of them write them."""

import pytest

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.errors import ConfigurationError

BASE = {"cloudFiles.format": "json", "path": "s3a://landing/orders/"}
DAY = 86_400


def parse(**changes):
    """Options with underscores for dots: ``cloudFiles_format``."""
    return CloudFilesOptions.parse({**BASE, **{name.replace("_", "."): value for name, value in changes.items()}})


def problems(options):
    with pytest.raises(ConfigurationError) as caught:
        CloudFilesOptions.parse(options)
    error = caught.value
    assert error.where == "cloudFiles options"
    assert error.state == "nothing was read or written"
    assert error.next_command
    return error.what.splitlines()


def problem(**changes):
    found = problems({**BASE, **{name.replace("_", "."): value for name, value in changes.items()}})
    assert len(found) == 1, found
    return found[0]

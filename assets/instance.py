"""The Dagster instance of a lake: one folder that the demo writes and the pages read."""

import os
import shutil
from pathlib import Path

from lakehouse.processes import private_folder
from lakehouse.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent


def use_instance(settings: Settings) -> Path:
    """Sets ``DAGSTER_HOME`` to the lake's own folder, with ``dagster.yaml``; a value that is set stays."""
    if not os.environ.get("DAGSTER_HOME"):
        home = private_folder(settings.home / "dagster")
        shutil.copyfile(PROJECT / "dagster.yaml", home / "dagster.yaml")
        os.environ["DAGSTER_HOME"] = str(home)
    return Path(os.environ["DAGSTER_HOME"])

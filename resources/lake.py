"""This project's lake: the tables of its own ``lakehouse.yaml``, whatever folder Dagster is started in."""

import os
from pathlib import Path

from lakehouse.dagster import LakeResource

_DECLARATION = Path(__file__).resolve().parent.parent / "lakehouse.yaml"


def own_lake() -> LakeResource:
    """The lake that the ``LAKEHOUSE_*`` variables name; without ``LAKEHOUSE_DECLARATION`` the project's declaration."""
    return LakeResource(declaration=os.environ.get("LAKEHOUSE_DECLARATION") or str(_DECLARATION))

"""Levers: what ``lakehouse`` does on request, as jobs of Dagster. Each calls the function that its command calls."""

from lakehouse.dagster.levers.every import levers_of
from lakehouse.dagster.levers.job import lever_job
from lakehouse.dagster.levers.lever import SPARK, STORE, Lever, LeverConfig, Pull, Pulled

__all__ = ["SPARK", "STORE", "Lever", "LeverConfig", "Pull", "Pulled", "lever_job", "levers_of"]

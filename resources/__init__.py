"""Dagster resources of this project: its lake, as a resource of ``lakehouse.dagster``."""

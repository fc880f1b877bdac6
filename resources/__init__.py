"""Dagster resources of this project: its lake, through the covers of ``lakehouse.dagster``."""

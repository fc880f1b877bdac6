"""Dagster resources: thin covers of the library."""

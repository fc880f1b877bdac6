"""Dagster definitions: what runs when, and what of it is shown. The work itself is in ``lakehouse``."""

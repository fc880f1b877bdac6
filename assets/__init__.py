"""This project's own code location: the tables of ``lakehouse.yaml`` in Dagster, a demo, and Dagster's pages."""

"""Streams on Spark: how they are run, what commits their batches, and what their failures mean."""

"""Spark's checkpoint folder, and whether it agrees with its table."""

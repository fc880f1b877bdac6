"""Rows of a table counted without Spark, file by file: what was counted once is kept, since data files never change."""

SAMPLE_ROWS = 20
"""How many rows, or keys, a check shows at most."""

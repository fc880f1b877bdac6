"""``python -m pyspark_cloudfiles`` prints a folder for ``PYTHONPATH``: there ``import dlt`` is Spark's pipelines."""

from pathlib import Path

print(Path(__file__).with_name("alias"))

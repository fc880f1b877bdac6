"""Spans of OpenTelemetry: what asked for a run, the run of each table, its batches, their phases and commits.

Off unless ``LAKEHOUSE_TRACES`` says who takes them. What cannot be sent makes no run fail.
"""

from lakehouse.tracing.runs import traced
from lakehouse.tracing.spans import asked_for, span

__all__ = ["asked_for", "span", "traced"]

"""``windows``: rows of a table counted and added up in windows of event time, under a watermark."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from lakehouse.flows.judged import EventTime, Judged
from lakehouse.table import At, Duration, Names

if TYPE_CHECKING:
    from lakehouse.progress import StreamReport
    from lakehouse.streams.run import Run


class Windows(Judged):
    """Aggregates by window and ``keys``: tumbling, sliding or session windows.

    Attributes:
        source: ``table``: the stream reads the table ``of``; ``files``: it reads the files of that table itself.
        watermark: How long a window waits for late rows, in event time.
        window: Length of a window; None for sessions.
        slide: From the start of a window to the start of the next; None for windows that do not overlap.
        session_gap: Pause that ends a session; excludes ``window`` and ``slide``.
        keys: Columns beside the window.
        aggregates: Name to SQL aggregate. One has to be ``count(*)``; where none is, ``row_count`` is added.
        output_mode: ``append``: a window once, when it is closed; ``update``: after each batch that changed it;
            ``complete``: all windows after each batch.
        duplicates: What a row does whose ``row_key`` came before, within the watermark: ``block`` counts it and leaves
            the complaint to a check, ``drop`` leaves it out.
        row_key: What a row is known by, for ``duplicates``.
        max_files_per_trigger: Data files of the table in a batch.
    """

    kind: ClassVar[str] = "windows"

    event_time: EventTime  # of any time series: without it there is no window
    source: Literal["table", "files"] = "table"
    watermark: Duration = timedelta(minutes=10)
    window: Duration | None = None
    slide: Duration | None = None
    session_gap: Duration | None = None
    keys: Names = ()
    aggregates: dict[str, str] = Field(default_factory=lambda: {"row_count": "count(*)"})
    output_mode: Literal["append", "update", "complete"] = "append"
    duplicates: Literal["block", "drop"] = "block"
    row_key: Names = ()
    max_files_per_trigger: int = Field(1000, ge=1)

    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Adds up what is new."""
        raise NotImplementedError

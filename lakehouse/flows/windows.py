"""``windows``: rows of a table counted and added up in windows of event time, under a watermark."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from lakehouse.flows.judged import EventTime, Judged
from lakehouse.table import At, Duration, Names

if TYPE_CHECKING:
    from lakehouse.progress import StreamReport
    from lakehouse.streams.run import Run

_MOST_OPEN_WINDOWS = 100_000
_OLD_WORDS = {"bronze": "table", "cloudFiles": "files"}


def _in_new_words(given: Any) -> Any:
    return _OLD_WORDS.get(given, given) if isinstance(given, str) else given


class Windows(Judged):
    """Aggregates by window and ``keys``: tumbling, sliding or session windows.

    Attributes:
        source: ``table``: the stream reads the table ``of``; ``files``: it reads the files of that table itself.
        watermark: How long a window waits for late rows, in event time.
        window: Length of a window; None for sessions.
        slide: From the start of a window to the start of the next; None for windows that do not overlap.
        session_gap: Pause that ends a session; with it ``window`` counts for nothing. Excludes ``slide``.
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
    source: Annotated[Literal["table", "files"], BeforeValidator(_in_new_words)] = "table"
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

    @model_validator(mode="after")
    def _make_sense(self) -> Windows:
        window, slide, gap = self.window, self.slide, self.session_gap
        length = window if gap is None else gap
        if length is None:
            raise ValueError("a window or a session_gap is missing: give the length of a window, such as 5 minutes")
        if any(one is not None and one < timedelta(seconds=1) for one in (window, slide, gap)):
            raise ValueError("window, slide and session_gap must be one second or longer")
        if gap is not None and slide is not None:
            raise ValueError("session_gap and slide exclude each other")
        if slide is not None and slide > length:
            raise ValueError("slide is longer than window: rows between two windows would be in none")
        if gap is not None and self.output_mode == "update":
            raise ValueError("output_mode is update: Spark has no session windows in that mode; use append")
        opened = (self.watermark + length) / (slide or length)
        if gap is None and opened > _MOST_OPEN_WINDOWS:
            raise ValueError(
                f"watermark keeps {opened:,.0f} windows open at a time for each value of keys, over "
                f"{_MOST_OPEN_WINDOWS:,}: take longer windows or a shorter watermark"
            )
        return self

    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Adds up what is new."""
        raise NotImplementedError

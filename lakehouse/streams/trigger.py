"""When a stream makes its micro-batches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from lakehouse.durations import parse_duration, spark_interval
from lakehouse.errors import ConfigurationError

_WITH_INTERVAL = {"processingTime": "processing-time", "continuous": "continuous"}
_NAMES = {"availableNow": "availableNow", "once": "once", **_WITH_INTERVAL, "default": "default"}
_FORMS = "availableNow, once, processing-time=10s, continuous=1s, default"

_ADVICE = {
    "once": "once is Spark's older form: one batch of everything that is there, whatever the limits, and no batch "
    "that closes windows; use availableNow",
    "continuous": "continuous is experimental, and at least once: after a failure rows may be written twice",
}


@dataclass(frozen=True)
class Trigger:
    """A trigger of Structured Streaming.

    Attributes:
        name: ``availableNow``, ``once``, ``processingTime``, ``continuous`` or ``default``.
        interval: Between two batches of ``processingTime``, between two checkpoints of ``continuous``; the others
            have none.

    Raises:
        ConfigurationError: there is no such trigger, or it lacks its interval.
    """

    name: str
    interval: timedelta | None = None

    def __post_init__(self) -> None:
        if self.name not in _NAMES:
            near = get_close_matches(_bare(self.name), [_bare(name) for name in _NAMES.values()], n=1)
            meant = next((form for form in _NAMES.values() if near and _bare(form) == near[0]), None)
            raise _wrong(self.name, "there is no such trigger", f"did you mean {meant}?" if meant else "")
        if self.name not in _WITH_INTERVAL:
            if self.interval is not None:
                raise _wrong(str(self), f"{self.name} takes no interval", f"did you mean {self.name}?")
        elif self.interval is None:
            raise _wrong(self.name, "the interval is missing", f"did you mean {_NAMES[self.name]}=10s?")
        elif self.interval <= timedelta(0):
            raise _wrong(str(self), "an interval is longer than nothing", "did you mean default (no pause)?")

    @classmethod
    def parse(cls, text: str) -> Trigger:
        """The trigger that ``text`` names, in our spelling or in Spark's: ``processingTime=10 seconds``.

        Raises:
            ConfigurationError: it names none; the message says what was meant.
        """
        given, has_interval, length = (part.strip() for part in text.partition("="))
        name = next((name for name in _NAMES if _bare(name) == _bare(given)), given)
        try:
            return cls(name, parse_duration(length) if has_interval else None)
        except ValueError as error:
            raise _wrong(text, str(error), "") from None
        except ConfigurationError:
            if not has_interval and _is_length(given):
                raise _wrong(text, "a length of time alone", f"did you mean processing-time={given}?") from None
            raise

    @property
    def ends(self) -> bool:
        """Whether a run ends by itself, when it has read what was there."""
        return self.name in ("availableNow", "once")

    @property
    def advice(self) -> str:
        """What to know before choosing it; empty for the usual triggers."""
        return _ADVICE.get(self.name, "")

    def require_batches(self, table: str) -> None:
        """Makes sure that this trigger makes micro-batches: all that the streams of the lake can do.

        Raises:
            ConfigurationError: it is ``continuous``.
        """
        if self.name == "continuous":
            raise ConfigurationError(
                f"{table} cannot run with {self}: Spark has that trigger for rows of Kafka or its rate source, one by "
                "one, on their way to Kafka, the console or memory; files, Delta tables and windows need micro-batches",
                where=table,
                state="nothing was read or written",
                next_command="--trigger processing-time=1s: exactly once; continuous would be at least once: after a "
                "failure rows may be written twice",
            )

    def arguments(self) -> dict[str, Any]:
        """For ``DataStreamWriter.trigger``."""
        if self.name == "default":
            return {"processingTime": "0 seconds"}  # the same for Spark, which wants an argument
        return {self.name: spark_interval(self.interval) if self.interval else True}

    def __str__(self) -> str:
        if self.interval is None:
            return _NAMES.get(self.name, self.name)
        count, unit = spark_interval(self.interval).split()
        return f"{_NAMES.get(self.name, self.name)}={count}{'ms' if unit == 'milliseconds' else unit[0]}"


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def _is_length(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True


def _wrong(text: str, what: str, meant: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what}: {text}" + (f"; {meant}" if meant else ""),
        where="trigger",
        state="nothing was started",
        next_command=f"name one of: {_FORMS}",
    )


AVAILABLE_NOW = Trigger("availableNow")
"""All that is there when the run starts, in as many batches as the source's limits ask for; then it ends."""
ONCE = Trigger("once")
"""The same in one batch: Spark's older form."""

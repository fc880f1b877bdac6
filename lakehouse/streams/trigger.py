"""When a stream makes its micro-batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Trigger:
    """A trigger of Structured Streaming."""

    name: str

    def arguments(self) -> dict[str, Any]:
        """For ``DataStreamWriter.trigger``."""
        return {self.name: True}


AVAILABLE_NOW = Trigger("availableNow")
"""All that is there when the run starts, in as many batches as the source's limits ask for; then it ends."""

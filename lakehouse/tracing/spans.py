"""A span around what this process does, and one of what asks another process for a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lakehouse.settings import Settings
from lakehouse.tracing.sender import sender_to

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_NANOSECONDS = 1_000_000_000


@contextmanager
def span(
    settings: Settings,
    name: str,
    attributes: Mapping[str, str | int | float] | None = None,
    *,
    parent: str | None = None,
) -> Iterator[Span | None]:
    """A span around the body, within that of the caller; None where traces are off.

    Args:
        settings: Say who takes spans.
        name: What is done.
        attributes: Of what.
        parent: Of another process, as ``asked_for`` gave it.

    Raises:
        ConfigurationError: the extra ``[otel]`` is not installed, or the file cannot be written.
    """
    if settings.traces is None:
        yield None
        return
    sender = sender_to(settings.traces)
    try:
        with sender.tracer.start_as_current_span(name, _context_of(parent), attributes=attributes) as made:
            yield made
    finally:
        sender.flush()


def asked_for(settings: Settings, name: str, began_seconds: float, attributes: Mapping[str, str | int]) -> str | None:
    """Notes what asks for a run that another process makes, and has done so now.

    Args:
        settings: Say who takes spans.
        name: What it is.
        began_seconds: When it began, in seconds since 1970.
        attributes: Of what.

    Returns:
        W3C's ``traceparent``, for ``span``; None where traces are off.
    """
    if settings.traces is None:
        return None
    sender = sender_to(settings.traces)
    made = sender.tracer.start_span(name, start_time=int(began_seconds * _NANOSECONDS), attributes=attributes)
    made.end()
    sender.flush()
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(made))
    return carrier.get("traceparent")


def _context_of(parent: str | None) -> Any:
    if not parent:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent})

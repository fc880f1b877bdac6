"""Who takes the spans of this process: a receiver of OTLP, or a file."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass, field
from functools import cache, partial
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lakehouse.errors import ConfigurationError
from lakehouse.extras import needing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.trace import Tracer

VARIABLE = "LAKEHOUSE_TRACES"
_SEND_SECONDS, _FLUSH_SECONDS = 3.0, 2.0


@dataclass(frozen=True)
class Sender:
    """Makes spans, and sends them.

    Attributes:
        provider: Of OpenTelemetry; this process may have another one, which is left alone.
        tracer: Makes spans.
        failures: What was said of spans that could not be sent.
        flushing: The thread that sends what is left, while the receiver is slow.
    """

    provider: TracerProvider
    tracer: Tracer
    failures: list[str]
    flushing: list[threading.Thread] = field(default_factory=list)

    def flush(self) -> None:
        """Sends what has ended. A receiver that is slow is waited for for a moment, and one that failed before not."""
        if any(thread.is_alive() for thread in self.flushing):
            return
        thread = threading.Thread(target=self.provider.force_flush, name="traces", daemon=True)
        self.flushing[:] = [thread]
        thread.start()
        thread.join(0 if self.failures else _FLUSH_SECONDS)


@cache
def sender_to(address: str) -> Sender:
    """The sender of this process to an address of ``LAKEHOUSE_TRACES``.

    Raises:
        ConfigurationError: the extra ``[otel]`` is not installed, or the file cannot be written.
    """
    with needing("otel", VARIABLE):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

    parts, failures = urlsplit(address), list[str]()
    processor: SpanProcessor
    if parts.scheme == "file":
        processor = SimpleSpanProcessor(ConsoleSpanExporter(out=_appending(unquote(parts.path)), formatter=_line))
    else:
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(partial(_is_first, failures))
        whole = address if parts.path.strip("/") else f"{address.rstrip('/')}/v1/traces"
        processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=whole, timeout=_SEND_SECONDS))
    name = os.environ.get("OTEL_SERVICE_NAME", "lakehouse")
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(processor)
    return Sender(provider, provider.get_tracer("lakehouse"), failures)


def _appending(path: str) -> IO[str]:
    """A file of the user alone, at whose end each span becomes a line."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"no span can be written to {path}: {error.strerror}",
            where=VARIABLE,
            state="nothing was read or written",
            next_command=f"make its folder, or unset {VARIABLE}",
        ) from None


def _is_first(failures: list[str], record: logging.LogRecord) -> bool:
    """Lets the first failure to send be told, and no other: each run would have some."""
    record.msg, record.args = f"{VARIABLE}: spans were not sent: {record.getMessage()}", ()
    failures.append(record.msg)
    return len(failures) == 1


def _line(made: ReadableSpan) -> str:
    return made.to_json(indent=None) + "\n"

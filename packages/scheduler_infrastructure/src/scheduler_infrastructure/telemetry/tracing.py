"""Spans, sent over OTLP/HTTP when an endpoint is configured; otherwise only contexts are handed on.

No global tracer provider is set: what a library would trace by itself stays off.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from scheduler_infrastructure.telemetry.trace_context import TraceContext, parse_traceparent

EXPORT_SECONDS = 2.0
"""One export's deadline, and that of closing: a collector that is down must not hold a process that wants to end."""

QUEUE_SPANS = 16_384
"""Spans that wait for the exporter; a burst of 5,000 overflowed the library's default of 2,048."""

BATCH_SPANS = 512
FLUSH_EVERY_MS = 1_000

Attributes = Mapping[str, str | int | float | bool]


class OtlpTracer:
    """`scheduler_application.ports.observing.Tracer` over OTLP/HTTP.

    ``endpoint`` is the collector's base URL (``http://collector:4318``) or the full URL of its traces. Headers that it
    wants, such as a token, come from the standard variable ``OTEL_EXPORTER_OTLP_HEADERS``.
    """

    def __init__(self, endpoint: str, service: str, *, version: str = "", instance: str = "") -> None:
        self._exporter = OTLPSpanExporter(endpoint=_traces_url(endpoint), timeout=EXPORT_SECONDS)
        self._provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON),
            resource=Resource({SERVICE_NAME: service, SERVICE_VERSION: version, SERVICE_INSTANCE_ID: instance}),
            # Our own `close` does it, with a deadline.
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=QUEUE_SPANS,
                schedule_delay_millis=FLUSH_EVERY_MS,
                max_export_batch_size=BATCH_SPANS,
                export_timeout_millis=EXPORT_SECONDS * 1000,
            )
        )
        self._tracer = self._provider.get_tracer("orrery", version)

    def start_trace(self, name: str, incoming: str | None = None) -> str:
        """Records a span without length, so that the trace has the root that its other spans name as their parent."""
        span = self._tracer.start_span(name, context=_otel_context(incoming))
        span.end()
        return _text(span.get_span_context())

    @contextmanager
    def span(self, name: str, parent: str | None, attributes: Attributes | None = None) -> Iterator[str | None]:
        with self._tracer.start_as_current_span(
            name,
            context=_otel_context(parent),
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield _text(span.get_span_context())
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    async def close(self) -> None:
        """Sends what waits, for at most `EXPORT_SECONDS`; what could not be sent by then is lost."""
        # A daemon thread: one of the loop's executor would be joined when the process ends, whatever deadline we set.
        closing = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, EXPORT_SECONDS)
        if closing.is_alive():
            self._exporter.shutdown()  # type: ignore[no-untyped-call] # its pauses between tries end at once


def _traces_url(endpoint: str) -> str:
    base = endpoint.rstrip("/")
    return base if base.endswith("/v1/traces") else f"{base}/v1/traces"


def _otel_context(traceparent: str | None) -> Context:
    """Only what ``traceparent`` says: a span that happens to be current (a request, a loop) is not the parent."""
    parsed = parse_traceparent(traceparent)
    if parsed is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parsed.sampled else TraceFlags.DEFAULT)
    remote = SpanContext(int(parsed.trace_id, 16), int(parsed.span_id, 16), is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(remote), Context())


def _text(context: SpanContext) -> str:
    return TraceContext(
        trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id), context.trace_flags.sampled
    ).text

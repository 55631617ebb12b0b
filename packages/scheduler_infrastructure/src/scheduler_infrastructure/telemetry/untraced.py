"""Tracing while nobody collects. It stands apart from `tracing` so that a process without an exporter loads none."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from scheduler_infrastructure.telemetry.trace_context import new_trace, parse_traceparent

Attributes = Mapping[str, str | int | float | bool]


class Untraced:
    """`scheduler_application.ports.observing.Tracer` while nobody collects: contexts pass through, nothing is kept."""

    def start_trace(self, name: str, incoming: str | None = None) -> str:
        return (parse_traceparent(incoming) or new_trace()).text

    def span(
        self,
        name: str,
        parent: str | None,
        attributes: Attributes | None = None,
    ) -> AbstractContextManager[str | None]:
        return nullcontext(parent)

    async def close(self) -> None:
        """Nothing is open."""

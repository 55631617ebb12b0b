"""The trace that a request belongs to: it travels with the run to the task's process."""

import re

from opentelemetry import trace
from starlette.requests import Request

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_of(request: Request) -> str | None:
    """W3C ``traceparent``: the request's own span where spans are recorded, else the caller's where it is valid."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    given: str = request.headers.get("traceparent", "")
    return given if _TRACEPARENT.fullmatch(given) else None

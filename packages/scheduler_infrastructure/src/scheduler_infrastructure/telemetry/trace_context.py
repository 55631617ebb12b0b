"""The W3C ``traceparent`` header: ``00-<trace id>-<span id>-<flags>``, https://www.w3.org/TR/trace-context/."""

import re
import secrets
from dataclasses import dataclass

_FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)
_MAX_LENGTH = 256
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class TraceContext:
    """``trace_id`` has 32 lower-case hexadecimal digits, ``span_id`` 16, neither all zeros."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def text(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{_SAMPLED if self.sampled else 0:02x}"


def new_trace() -> TraceContext:
    """A new root. It is marked as sampled even where we collect nothing: a task's own tracing decides for itself, and
    all attempts of a run still meet in one trace."""
    chance = secrets.token_hex(24)
    return TraceContext(chance[:32], chance[32:], sampled=True)


def parse_traceparent(text: str | None) -> TraceContext | None:
    """The context in ``text``, or ``None`` where it is absent or malformed, which the standard treats alike.

    Later versions may append fields, which are ignored; version ``ff`` is forbidden and version ``00`` has no more.
    """
    if text is None or len(text) > _MAX_LENGTH:
        return None
    match = _FORM.fullmatch(text.strip())
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["rest"]):
        return None
    if not int(match["trace"], 16) or not int(match["span"], 16):
        return None
    return TraceContext(match["trace"], match["span"], bool(int(match["flags"], 16) & _SAMPLED))

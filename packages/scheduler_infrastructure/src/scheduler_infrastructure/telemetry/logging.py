"""Structured logs: one JSON object a line for machines, columns for people, for our own loggers and everybody else's.

Whoever works on a run binds its ids once, and every line logged below has them, also those of libraries::

    with structlog.contextvars.bound_contextvars(run_id=run_id, task_run_id=task_run_id):
        ...
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from opentelemetry import trace

from scheduler_application.masking import Masking

MAX_TEXT = 16_384
"""Characters of one value; the rest is cut and marked, so that one request cannot fill a disk with one line."""

MAX_DEPTH = 6

_PLAIN = frozenset({type(None), bool, int, float})

# Left as they are they would forge lines or drive the terminal of whoever reads the log; JSON escapes them, but only
# until somebody prints the decoded text. Line feeds and tabs of a traceback stay, for JSON escapes those.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

_LOUD = {"aiormq": logging.CRITICAL, "aio_pika": logging.CRITICAL}
"""Libraries that log each reconnect several times as an error; the adapter over them says it once."""


def configure_logging(
    level: str = "info",
    form: Literal["json", "console"] = "json",
    *,
    masking: Masking | None = None,
    stream: TextIO | None = None,
) -> None:
    """Sends structlog's and the standard library's records through one pipeline. Calling it again replaces the first.

    ``form`` is JSON for machines or columns for people. ``masking`` hides secrets in every value. ``stream`` is
    standard error where it is not given.
    """
    out = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _add_trace,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _Cleaner(masking or Masking([])),
                structlog.processors.JSONRenderer() if form == "json" else _console(out),
            ],
        )
    )
    _take_over(handler, level.upper())


def _console(out: TextIO) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=out.isatty(), timestamp_key="at")


def _take_over(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name, threshold in _LOUD.items():
        logging.getLogger(name).setLevel(threshold)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def _add_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The ids of the span that the line was logged in, so that a trace leads to its lines and back."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


class _Cleaner:
    """Masks, escapes and cuts every text of a line, keys included, before it becomes JSON."""

    def __init__(self, masking: Masking) -> None:
        self._masking = masking

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {self._text(str(key)): self._clean(value, 1) for key, value in event.items()}

    def _clean(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind in _PLAIN:
            return value
        if depth < MAX_DEPTH and isinstance(value, Mapping):
            return {self._text(str(key)): self._clean(item, depth + 1) for key, item in value.items()}
        if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
            return [self._clean(item, depth + 1) for item in value]
        return self._text(value if isinstance(value, str) else repr(value))

    def _text(self, text: str) -> str:
        # Masked before it is cut: the half of a secret at the cut would no longer be recognised.
        masked = self._masking.text(text)
        if len(masked) <= MAX_TEXT and masked.isprintable():
            return masked
        if len(masked) > MAX_TEXT:
            masked = f"{masked[:MAX_TEXT]}… [truncated, {len(masked)} characters]"
        return _CONTROL.sub(_escape, masked)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()

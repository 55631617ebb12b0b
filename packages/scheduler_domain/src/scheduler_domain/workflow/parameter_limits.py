"""What any JSON value of an input must keep to, whatever its type."""

from collections.abc import Mapping
from typing import Any

from scheduler_domain.errors import Problem
from scheduler_domain.workflow.expression_values import MAX_INTEGER

MAX_DEPTH = 16
MAX_STRING = 64 * 1024
MAX_BYTES = 64 * 1024
"""Of the inputs of one run, as compact JSON."""

Loc = tuple[str | int, ...]


def check_limits(value: Any, loc: Loc, problems: list[Problem]) -> int:
    """About the bytes of ``value`` as compact JSON; adds at most one problem, and then the number means nothing.

    Walks without recursion, so that no nesting can end the process.
    """
    size, pending = 0, [(value, 0)]
    while pending:
        current, depth = pending.pop()
        if isinstance(current, Mapping):
            pending.extend((part, depth + 1) for pair in current.items() for part in pair)
        elif isinstance(current, list):
            pending.extend((item, depth + 1) for item in current)
        broken = _broken_limit(current, depth)
        size += _own_bytes(current) if broken is None else 0
        if size > MAX_BYTES:
            broken = ("too_large", f"is larger than {MAX_BYTES} bytes as JSON")
        if broken is not None:
            problems.append(Problem(loc, *broken))
            return 0
    return size


def _broken_limit(value: Any, depth: int) -> tuple[str, str] | None:
    if depth > MAX_DEPTH:
        return "nesting_too_deep", f"is nested deeper than {MAX_DEPTH} levels"
    if isinstance(value, str):
        return _broken_text(value)
    if isinstance(value, float) and not abs(value) < float("inf"):
        return "number_out_of_range", "holds a number that is not finite"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "number_out_of_range", "holds an integer out of range (accepted: -2^53 to 2^53)"
    return None


def _broken_text(text: str) -> tuple[str, str] | None:
    if len(text) > MAX_STRING:
        return "too_large", f"holds a string longer than {MAX_STRING} characters"
    if "\x00" in text:
        return "nul_character", "holds a NUL character"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "invalid_unicode", "holds a lone surrogate"
    return None


def _own_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode()) + 3
    if isinstance(value, int | float):
        return len(repr(value))
    return 4

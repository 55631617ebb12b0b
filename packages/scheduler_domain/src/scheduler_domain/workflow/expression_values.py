"""JSON values as the expression language sees them: their type names, equality and size."""

from collections.abc import Mapping
from typing import Any

MAX_TEXT = 64 * 1024
"""Bytes of the longest string, and of the largest value, that one expression may make."""
MAX_ITEMS = 10_000
MAX_INTEGER = 2**53
MAX_BITS = 64
"""Of an integer that only passes through, out of a task's output, say."""
MAX_DEPTH = 64


class Fault(Exception):
    """An operator or function cannot take the values it was given; becomes an `ExpressionError` with the offset."""


def type_name(value: Any) -> str:
    """The JSON type of ``value`` with its article, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list | tuple) else "an object"


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def equal(left: Any, right: Any) -> bool:
    """JSON equality: values of different types are never equal, ``1`` and ``1.0`` are, ``true`` and ``1`` are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    return bool(left == right)


def checked_number(value: int | float) -> int | float:
    """``value`` within what JSON carries exactly: integers up to 2^53, finite floats."""
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise Fault("the number is out of range (integers are between -2^53 and 2^53)")
    elif not abs(value) < float("inf"):
        raise Fault("the result is not a finite number")
    return value


def text_bytes(text: str) -> int:
    """The length of ``text`` in UTF-8; refuses what no JSON store takes: NUL and lone surrogates."""
    if "\x00" in text:
        raise Fault("the text holds a NUL character")
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Fault("the text holds a lone surrogate") from None


def checked_text(text: str) -> str:
    if len(text) > MAX_TEXT or text_bytes(text) > MAX_TEXT:
        raise Fault(f"the text is longer than {MAX_TEXT} bytes")
    return text


def value_bytes(value: Any) -> int:
    """About the length of ``value`` as compact JSON; raises `Fault` beyond `MAX_TEXT`, `MAX_DEPTH` or bad text."""
    if not isinstance(value, list | tuple | Mapping):
        return _own_bytes(value)
    size, pending = 0, [(value, 0)]
    while pending:
        current, depth = pending.pop()
        size += _own_bytes(current)
        if isinstance(current, Mapping):
            size += sum(text_bytes(key) + 4 for key in current)
            pending.extend((item, depth + 1) for item in current.values())
        elif isinstance(current, list | tuple):
            pending.extend((item, depth + 1) for item in current)
        if size > MAX_TEXT:
            raise Fault(f"the value is larger than {MAX_TEXT} bytes")
        if depth > MAX_DEPTH:
            raise Fault(f"the value is nested deeper than {MAX_DEPTH}")
    return size


def _own_bytes(value: Any) -> int:
    """Without what a container holds."""
    if isinstance(value, str):
        return text_bytes(checked_text(value)) + 3
    if isinstance(value, bool) or value is None:
        return 5
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise Fault("the number is out of range")
    return len(repr(value)) + 1 if isinstance(value, int | float) else 2

"""Outputs of tasks: JSON that the store can keep and the next task can read, within bounds."""

import math
from typing import Any

import msgspec

MAX_OUTPUT_BYTES = 64 * 1024
MAX_DEPTH = 32
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1


class InvalidOutput(Exception):
    """The output cannot be kept; the message says why in one plain sentence."""


def decode_output(text: bytes) -> Any:
    """The JSON value in ``text``; raises `InvalidOutput`. Empty text is ``None``: the file was made and nothing
    written."""
    if len(text) > MAX_OUTPUT_BYTES:
        raise InvalidOutput(f"the output has {len(text)} bytes; at most {MAX_OUTPUT_BYTES} are kept")
    if not text.strip():
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidOutput(f"the output is not JSON: {error}") from None
    except RecursionError:
        raise InvalidOutput(f"the output is nested deeper than {MAX_DEPTH} levels") from None
    check_output(value)
    return value


def check_output(value: Any) -> None:
    """Raises `InvalidOutput` for what the store cannot keep: NUL characters, lone surrogates, numbers beyond 64
    bits, NaN, deep nesting."""
    if isinstance(value, (dict, list)):
        _check_levels(value)
    else:
        _check_scalar(value)


def _check_levels(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.keys())
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            else:
                _check_scalar(item)
        if not below:
            return
        level = below
    for item in level:
        if isinstance(item, (dict, list)):
            raise InvalidOutput(f"the output is nested deeper than {MAX_DEPTH} levels")
        _check_scalar(item)


def _check_scalar(value: Any) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise InvalidOutput("the output contains a NUL character")
        if any("\ud800" <= character <= "\udfff" for character in value) if not value.isascii() else False:
            raise InvalidOutput("the output contains half of a surrogate pair, which is not text")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidOutput("the output contains a number that is not finite")
    elif isinstance(value, int) and not _MIN_INTEGER <= value <= _MAX_INTEGER:
        raise InvalidOutput("the output contains an integer beyond 64 bits; send it as text")

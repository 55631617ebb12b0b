"""Values of databases as JSON, and rows within the bound of outputs."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from scheduler_infrastructure.execution.output import MAX_OUTPUT_BYTES

MAX_ROWS = 10_000
_ROOM_FOR_THE_REST = 100
_MAX_EXACT_INTEGER = 2**53


def to_json(value: Any) -> Any:
    """Numbers stay numbers where a JSON number holds them exactly, else they are text; instants are ISO 8601,
    intervals ISO 8601 durations (a month counted as 30 days), bytes base64, everything else its text."""
    for types, convert in _CONVERSIONS:
        if isinstance(value, types):
            return convert(value)
    return str(value)


def _number(value: Decimal) -> int | float | str:
    if not value.is_finite():
        return str(value)
    if abs(value) < _MAX_EXACT_INTEGER and value == value.to_integral_value():
        return int(value)
    approximate = float(value)
    return approximate if math.isfinite(approximate) and Decimal(repr(approximate)) == value else str(value)


def _same(value: Any) -> Any:
    return value


_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((type(None), bool), _same),
    (int, lambda value: value if -(2**63) <= value < 2**63 else str(value)),
    (str, lambda value: value.replace("\x00", "\ufffd")),
    (float, lambda value: value if math.isfinite(value) else str(Decimal(value))),
    (Decimal, _number),
    ((bytes, bytearray, memoryview), lambda value: base64.b64encode(value).decode()),
    ((datetime, date, time), lambda value: value.isoformat()),
    (timedelta, msgspec.to_builtins),
    (Mapping, lambda value: {str(key): to_json(item) for key, item in value.items()}),
    ((list, tuple, set, frozenset), lambda value: [to_json(item) for item in value]),
)


class Rows:
    """Collects rows until a bound is met: `MAX_ROWS`, or the size of an output."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._room = MAX_OUTPUT_BYTES - _ROOM_FOR_THE_REST
        self._rows: list[dict[str, Any]] = []
        self.truncated = False

    def add(self, values: Sequence[Any]) -> bool:
        """False when the row does not fit any more; it is left out, and the result is marked."""
        row = {column: to_json(value) for column, value in zip(self._columns, values, strict=True)}
        self._room -= len(msgspec.json.encode(row)) + 1
        if self._room < 0 or len(self._rows) >= MAX_ROWS:
            self.truncated = True
            return False
        self._rows.append(row)
        return True

    def output(self) -> dict[str, Any]:
        return {"rows": self._rows, "row_count": len(self._rows), "truncated": self.truncated}


def changed(row_count: int) -> dict[str, Any]:
    """The output of a statement that gives no rows back."""
    return {"rows": [], "row_count": row_count, "truncated": False}


def repeated(columns: Sequence[str]) -> str | None:
    """The first name that two columns share, which an object cannot hold."""
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            return column
        seen.add(column)
    return None

"""Time, identity and chance for real. Nothing else in the system asks the machine for them."""

import os
import random
import time
from datetime import UTC, datetime

from scheduler_application.ports.time import Clock

_COUNTER_BITS = 12
_RANDOM_BITS = 62
_PAGE_BYTES = 4_096
_VERSION = 0x7 << 76
_VARIANT = 0x2 << 62


class MachineClock:
    """The machine's clock: what SQLite goes by."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class StoreClock:
    """The database's clock as an offset from the monotonic one: a step of this machine's clock moves nothing."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.monotonic() + self._offset, UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def set_offset(self, seconds: float) -> None:
        """``seconds`` is the database's time minus the monotonic clock."""
        self._offset = seconds


class SortedIds:
    """Version 7 UUIDs (RFC 9562): milliseconds, then a counter that keeps one process's ids in order, then chance.

    The time is the store's, so that the ids of all processes sort alike, whatever their machines' clocks say.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._chance = _Chance()
        self._last = 0

    def new(self) -> str:
        stamp = max(int(self._clock.now().timestamp() * 1_000) << _COUNTER_BITS, self._last + 1)
        self._last = stamp
        milliseconds, counter = divmod(stamp, 1 << _COUNTER_BITS)
        chance = int.from_bytes(self._chance.take(8)) >> (64 - _RANDOM_BITS)
        digits = f"{milliseconds << 80 | _VERSION | counter << 64 | _VARIANT | chance:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class _Chance:
    """The machine's chance, asked for in pages: each question is a call of the system, which costs as much as the rest
    of an id. A process that is forked off asks for itself."""

    def __init__(self) -> None:
        self._page = b""
        self._next = 0
        os.register_at_fork(after_in_child=self._forget)

    def take(self, count: int) -> bytes:
        """``count`` bytes that nobody had before."""
        start, end = self._next, self._next + count
        if end > len(self._page):
            self._page = os.urandom(_PAGE_BYTES)
            start, end = 0, count
        self._next = end
        return self._page[start:end]

    def _forget(self) -> None:
        self._page = b""


class SystemRandomness:
    """For pauses and jitter, never for secrets."""

    def uniform(self, low: float, high: float) -> float:
        return random.uniform(low, high)

"""The units of a day (hours, minutes, seconds) that a recurrence rule names and its interval reaches.

Units are bit masks, bit i for the unit i units after midnight. A rule of a day or rarer has one unit, the day.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import gcd

_SPARSE = 100
"""From this interval on most days may have none of the units, which `DayUnits.residues` tells without a mask."""


@dataclass(frozen=True, slots=True)
class DayUnits:
    """``named`` of ``of_day`` units count, each ``interval`` of them from ``phase``, a number of units since day 0.

    ``residues`` has bit r of the units that are r modulo the interval; empty where the interval is not sparse.
    """

    of_day: int
    named: int
    interval: int
    phase: int
    residues: bytes

    def on(self, day: int) -> int:
        """The units that count on a day, given by its ordinal."""
        if self.interval == 1:
            return self.named
        first = self._first(day)
        if self.residues and (first >> 3 >= len(self.residues) or not self.residues[first >> 3] >> (first & 7) & 1):
            return 0
        return self.named & multiples(self.interval, self.of_day // self.interval + 1) << first

    def days_to_next(self, day: int) -> int:
        """From a day to the one that holds the next unit in phase; 0 when it is the same."""
        return self._first(day) // self.of_day

    def _first(self, day: int) -> int:
        """From the beginning of a day to the next unit in phase."""
        return (self.phase - day * self.of_day) % self.interval


def day_units(of_day: int, named: int, interval: int, phase: int) -> DayUnits:
    """The units, without those of ``named`` that the interval can never reach.

    A day has ``of_day`` units: whatever divides them and the interval leaves the same remainder on every day.
    """
    step = gcd(interval, of_day)
    named &= multiples(step, of_day // step) << phase % step
    residues = b""
    if interval >= _SPARSE:
        length = min(interval, of_day)
        folded = 0
        for begin in range(0, of_day, interval):
            folded |= named >> begin & (1 << length) - 1
        residues = folded.to_bytes(length // 8 + 1, "little")
    return DayUnits(of_day, named, interval, phase, residues)


@lru_cache(maxsize=256)
def multiples(period: int, count: int) -> int:
    """A mask whose bits are the multiples of ``period`` from 0 on, at least ``count`` of them."""
    mask, found = 1, 1
    while found < count:
        mask |= mask << period * found
        found *= 2
    return mask

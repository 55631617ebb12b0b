"""Calendars: days that a trigger leaves out, or the only ones that it keeps."""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Protocol

FARTHEST_SHIFT = 31
"""How many days away from its own a due time may be moved."""


class Calendar(Protocol):
    """A set of local dates, such as public holidays."""

    def contains(self, day: date) -> bool: ...


class CalendarMode(StrEnum):
    SKIP = "skip"
    ONLY = "only"


class Shift(StrEnum):
    NEXT = "next"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class CalendarRule:
    """What a trigger makes of a calendar: leave its days out (``skip``) or run on them alone (``only``).

    A due time belongs to its local date in the schedule's zone. Without a shift a due time on an excluded day stays one
    and is recorded as skipped with `ledger_rule`; with one, `shifted_timetable` moves it.
    """

    name: str
    calendar: Calendar
    mode: CalendarMode = CalendarMode.SKIP
    shift: Shift | None = None

    @property
    def ledger_rule(self) -> str:
        return f"calendar:{self.name}"

    def excludes(self, day: date) -> bool:
        return self.calendar.contains(day) == (self.mode is CalendarMode.SKIP)

    def moved(self, day: date) -> date | None:
        """Where the shift moves the times of an excluded day; ``None`` when no day near enough is left."""
        step = -1 if self.shift is Shift.PREVIOUS else 1
        for distance in range(step, step * (FARTHEST_SHIFT + 1), step):
            try:
                target = day + timedelta(days=distance)
            except OverflowError:
                return None
            if not self.excludes(target):
                return target
        return None

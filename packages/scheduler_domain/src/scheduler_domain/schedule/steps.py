"""A timetable is a pure, strictly increasing sequence of instants (UTC), walked step by step."""

from datetime import datetime
from typing import NamedTuple, Protocol

from scheduler_domain.schedule.clock_changes import ClockChange


class Lost(NamedTuple):
    """Times that never come, as one row of the ledger: ``at`` (UTC) is never a due time itself."""

    at: datetime
    rule: str


class Step(NamedTuple):
    """One step along a timetable: the next due time (UTC), or ``None`` after the last.

    ``gaps`` are the clock changes on the way in which local times that the timetable names do not exist. ``lost`` is in
    order of time, before the due time: one entry for each gap after which nothing was caught up (a microsecond before
    the change), and one for each day whose times a calendar's shift could not move.
    """

    at: datetime | None
    gaps: tuple[ClockChange, ...] = ()
    lost: tuple[Lost, ...] = ()


class Timetable(Protocol):
    """Moments that are passed in are aware; due times are UTC and strictly later than the moment."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first due time strictly after ``moment`` (aware), as UTC; ``None`` when there is none any more."""
        ...

    def step_after(self, moment: datetime) -> Step:
        """`next_after`, with what was lost on the way to it."""
        ...

"""Deadlines by which something must have happened, and the span of time that each of them judges."""

from datetime import datetime, timedelta
from enum import StrEnum

from scheduler_domain.schedule.steps import Timetable
from scheduler_domain.schedule.timetable import parse_timetable

LONGEST_DEFAULT = timedelta(hours=24)
"""How far back a deadline looks at most where nobody says how far."""

_SECOND = timedelta(seconds=1)


class Verdict(StrEnum):
    """What a deadline came to."""

    MET = "met"
    MISSED = "missed"


class HeartbeatState(StrEnum):
    """What is known of a job that lives elsewhere.

    ``new``: nothing was heard since it was made or resumed, and nothing is overdue. ``late``: due, and within its
    grace; it is told by the clock and never stored. ``down``: it missed a deadline or said that it failed, and has not
    been heard since.
    """

    NEW = "new"
    UP = "up"
    LATE = "late"
    DOWN = "down"
    PAUSED = "paused"


STORED_STATES = frozenset(HeartbeatState) - {HeartbeatState.LATE}


def next_ping_due(kind: str, expression: str, timezone: str, heard_at: datetime, seed: str) -> datetime | None:
    """When a job that was heard at ``heard_at`` is to be heard next: one interval later, or at the next cron time."""
    return parse_timetable(kind, expression, timezone, anchor=heard_at, seed=seed).next_after(heard_at)


def window_start(timetable: Timetable, due_at: datetime, within: timedelta | None) -> datetime:
    """The span that the deadline ``due_at`` judges begins after this instant and ends with the deadline.

    ``within`` is its length; ``None`` means since the deadline before, at most `LONGEST_DEFAULT`.
    """
    if within is not None:
        return due_at - within
    earliest = due_at - LONGEST_DEFAULT
    return previous_due(timetable, due_at, earliest) or earliest


def previous_due(timetable: Timetable, due_at: datetime, earliest: datetime) -> datetime | None:
    """The last due time before ``due_at`` and after ``earliest``; ``None`` where there is none.

    Due times are whole seconds. A timetable only looks ahead, so the place where looking ahead first meets ``due_at``
    is searched by halves: 17 looks for a day, however many due times it has.
    """
    low, high = 0, int((due_at - earliest) / _SECOND)
    if not _comes_before(timetable, earliest, due_at):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _comes_before(timetable, earliest + middle * _SECOND, due_at):
            low = middle
        else:
            high = middle
    return earliest + high * _SECOND


def _comes_before(timetable: Timetable, moment: datetime, due_at: datetime) -> bool:
    """Whether a due time lies after ``moment`` and before ``due_at``."""
    found = timetable.next_after(moment)
    return found is not None and found < due_at

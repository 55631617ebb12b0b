"""A recurrence rule in a time zone, across clock changes.

A rule of a day or rarer is a fixed time, an hourly, minutely or secondly one a wildcard: see `cron_timetable`.
"""

from scheduler_domain.schedule.local_timetable import LocalTimetable


class RruleTimetable(LocalTimetable):
    """The times of an `Rrule` in a zone."""

    __slots__ = ()

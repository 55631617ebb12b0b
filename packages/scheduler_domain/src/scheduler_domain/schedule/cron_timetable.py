"""A cron expression in a time zone, across clock changes (the rules of Debian's daemon, cron 3.0pl1).

- A wildcard expression follows real time: it fires in both passes of a repeated hour, and has no fires for times that
  do not exist.
- A fixed-time expression fires once, in the first pass, for a time that comes twice; for times that do not exist it
  fires once at the first instant after the gap.
- A change of more than three hours is a correction: what lay in the gap is lost, and a repeated stretch counts anew.

A trigger's `DstPolicy` may say otherwise.
"""

from scheduler_domain.schedule.local_timetable import LocalTimetable


class CronTimetable(LocalTimetable):
    """The times of a `CronExpression` in a zone."""

    __slots__ = ()

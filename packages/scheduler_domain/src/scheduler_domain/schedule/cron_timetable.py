"""A cron expression in a time zone, across clock changes (the rules of Debian's daemon, cron 3.0pl1).

- A wildcard expression follows real time: it fires in both passes of a repeated hour, and has no fires for times that
  do not exist.
- A fixed-time expression fires once, in the first pass, for a time that comes twice; for times that do not exist it
  fires once at the first instant after the gap.
- A change of more than three hours is a correction: what lay in the gap is lost, and a repeated stretch counts anew.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from scheduler_domain.schedule.clock_changes import ClockChange, change_around, offset_of, to_instant
from scheduler_domain.schedule.cron import CronExpression

LONGEST_CAUGHT_UP = timedelta(hours=3)
"""A larger clock change counts as a correction of the clock (cron(8), daylight saving time and other time changes)."""
_JUST_BEFORE = timedelta(microseconds=1)


class Step(NamedTuple):
    """One step along a timetable: the next due time (UTC), or ``None`` after the last.

    ``gaps`` are the clock changes on the way in which local times that the expression names do not exist. ``lost`` has
    one instant (UTC) for each gap after which nothing was caught up: a microsecond before the change, so that it is
    never itself a due time.
    """

    at: datetime | None
    gaps: tuple[ClockChange, ...] = ()
    lost: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class CronTimetable:
    expression: CronExpression
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime | None:
        return self.step_after(moment).at

    def step_after(self, moment: datetime) -> Step:
        if moment.tzinfo is None:
            raise ValueError("a moment without a zone is no instant")
        try:
            return self._step_from(moment.astimezone(self.zone).replace(tzinfo=None))
        except OverflowError:  # the calendar ends here, in UTC or in the zone
            return Step(None)

    def fires_in_both_passes(self, overlap: ClockChange) -> bool:
        return self.expression.wildcard or overlap.length > LONGEST_CAUGHT_UP

    def _step_from(self, local: datetime) -> Step:
        if offset_of(self.zone, local) != offset_of(self.zone, local.replace(fold=1 - local.fold)):
            overlap = change_around(self.zone, local)
            assert overlap is not None  # the offsets differ, and an instant has no local time in a gap
            return self._step_inside(overlap, local)
        return self._settle(self.expression.after(local))

    def _step_inside(self, overlap: ClockChange, local: datetime) -> Step:
        """From a moment in the first (fold 0) or second pass of a repeated stretch."""
        found = self.expression.after(local)
        if not self.fires_in_both_passes(overlap):
            return self._settle(found if local.fold == 0 else self.expression.at_or_after(overlap.end))
        if found is not None and found < overlap.end:
            return Step(to_instant(self.zone, found.replace(fold=local.fold)))
        if local.fold == 0:
            found = self.expression.at_or_after(overlap.start)
            if found is not None and found < overlap.end:
                return Step(to_instant(self.zone, found.replace(fold=1)))
        return self._settle(self.expression.at_or_after(overlap.end))

    def _settle(self, found: datetime | None) -> Step:
        """The first instant of a local time, or what takes its place when it lies in a gap."""
        gaps: tuple[ClockChange, ...] = ()
        while found is not None:
            offset = offset_of(self.zone, found)
            if offset >= offset_of(self.zone, found.replace(fold=1)):
                return Step((found - offset).replace(tzinfo=UTC), gaps, self._lost(gaps))
            gap = change_around(self.zone, found)
            assert gap is not None  # the offsets differ
            gaps += (gap,)
            if not self.expression.wildcard and gap.length <= LONGEST_CAUGHT_UP:
                return Step(gap.instant, gaps, self._lost(gaps[:-1]))
            found = self.expression.at_or_after(gap.end)
        return Step(None, gaps, self._lost(gaps))

    def _lost(self, gaps: tuple[ClockChange, ...]) -> tuple[datetime, ...]:
        if not gaps or self.expression.wildcard:
            return ()
        return tuple(gap.instant - _JUST_BEFORE for gap in gaps)

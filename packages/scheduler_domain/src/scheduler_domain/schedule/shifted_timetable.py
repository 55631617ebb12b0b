"""Due times of any timetable, moved off the days that a calendar excludes.

The result is the union of two sequences: what the base has on the days that stay, kept to the instant, and the local
times of excluded days at the same time of day on the day that `CalendarRule.moved` names. The second kind is settled as
fixed times are. What falls together fires once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from scheduler_domain.schedule.calendar import FARTHEST_SHIFT, CalendarRule, Shift
from scheduler_domain.schedule.clock_changes import change_around, start_of_day, stretches_of
from scheduler_domain.schedule.dst import DEBIAN, DstPolicy
from scheduler_domain.schedule.local_timetable import LocalTimetable
from scheduler_domain.schedule.steps import Lost, Step, Timetable

SEARCHED = timedelta(days=3653)
"""How far beyond the base's next due time a day that stays is looked for: ten years."""
MOST_LOST = 366
"""How many lost days one step reports, the earliest ones."""
_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)
_MIDNIGHT = timedelta()
_END_OF_CALENDAR = datetime(9999, 12, 29, tzinfo=UTC)
"""Every zone can still tell its local time and the day after it."""


def first_kept(base: Timetable, zone: ZoneInfo, rule: CalendarRule, moment: datetime) -> Step:
    """The base's first step after ``moment`` to a day that the rule does not exclude; ``None`` in it after `SEARCHED`.

    What the base loses on excluded days is left out of ``lost``: those days do not count.
    """
    lost: list[Lost] = []
    limit: datetime | None = None
    while True:
        step = base.step_after(moment)
        lost += (each for each in step.lost if not rule.excludes((each.at + _INSTANT).astimezone(zone).date()))
        if step.at is None or (limit is not None and step.at > limit):
            return Step(None, (), tuple(lost))
        limit = limit or _ten_years_after(step.at)
        local = step.at.astimezone(zone)
        if not rule.excludes(local.date()):
            return Step(step.at, step.gaps, tuple(lost))
        moment = _last_before_a_kept_day(zone, rule, local.replace(tzinfo=None), limit) or step.at


def _last_before_a_kept_day(zone: ZoneInfo, rule: CalendarRule, local: datetime, limit: datetime) -> datetime | None:
    """From a time on an excluded day: the last instant before the next day that stays.

    ``None`` where midnight comes twice around it, and a kept day may go on after this time.
    """
    change = change_around(zone, local)
    if change is not None and change.start.date() != change.end.date():
        return None
    last = limit.astimezone(zone).date()
    day = local.date() + _DAY
    while day <= last and rule.excludes(day):
        day += _DAY
    return start_of_day(zone, day) - _INSTANT


def _day_of_next(base: Timetable, zone: ZoneInfo, day: date) -> date | None:
    """The first local date from ``day`` on that has times of the base."""
    due = base.next_after(start_of_day(zone, day) - _INSTANT)
    # Where midnight comes twice, the first time of a day may lie in the second pass of the day before.
    return None if due is None else max(day, due.astimezone(zone).date())


def _ten_years_after(moment: datetime) -> datetime:
    return moment + min(SEARCHED, _END_OF_CALENDAR - moment)


@dataclass(frozen=True, slots=True)
class ShiftedTimetable:
    """``base`` with the times of excluded days moved; ``rule`` has a shift."""

    base: Timetable
    zone: ZoneInfo
    rule: CalendarRule
    dst: DstPolicy = DEBIAN

    def next_after(self, moment: datetime) -> datetime | None:
        return self.step_after(moment).at

    def step_after(self, moment: datetime) -> Step:
        if moment.tzinfo is None:
            raise ValueError("a moment without a zone is no instant")
        try:
            return self._step_after(moment)
        except OverflowError:  # the calendar ends here
            return Step(None)

    def moved_from(self, due: datetime) -> date | None:
        """The day from which a due time was moved; ``None`` for one that is the base's own."""
        due = due.astimezone(UTC)  # subtracting in a zone would count on its clock
        if self.base.next_after(due - _INSTANT) == due:
            return None
        local = due.astimezone(self.zone).replace(tzinfo=None, fold=0)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        # At the end of a gap this is its beginning: any time that lies in it has become this due time.
        earliest = (due - _INSTANT).astimezone(self.zone).replace(tzinfo=None) + _INSTANT
        since = max(_MIDNIGHT, min(earliest, local) - midnight)
        times = _MovedTimes(self.base, self.zone, self.rule, local.date())
        for target, source in times.moves(local.date()):
            time = times.first_time(source, since)
            if target == local.date() and time is not None and midnight + time <= local:
                return source
        return None

    def _step_after(self, moment: datetime) -> Step:
        kept = first_kept(self.base, self.zone, self.rule, moment)
        # A day more: where midnight comes twice, the day after begins before the last times of this one.
        last = (kept.at or self._end_of_search(moment)).astimezone(self.zone).date() + _DAY
        times = _MovedTimes(self.base, self.zone, self.rule, last)
        moved = LocalTimetable(times, self.zone, self.dst).step_after(moment)
        earliest = kept if moved.at is None or (kept.at is not None and kept.at <= moved.at) else moved
        end = earliest.at or self._end_of_search(moment)
        lost = {each.at: each for each in (*self._without_a_day(moment, end), *moved.lost, *kept.lost)}
        found = (lost[at] for at in sorted(lost) if moment < at < end)
        return Step(earliest.at, earliest.gaps, tuple(found))

    def _end_of_search(self, moment: datetime) -> datetime:
        following = self.base.next_after(moment)
        # After the base's last time, only what was due by now can still be moved.
        return moment + _DAY * (FARTHEST_SHIFT + 1) if following is None else _ten_years_after(following)

    def _without_a_day(self, moment: datetime, end: datetime) -> Iterator[Lost]:
        """One entry for each day with times of the base from which no day is near enough, at its first time."""
        last = end.astimezone(self.zone).date()
        day = _day_of_next(self.base, self.zone, moment.astimezone(self.zone).date())
        found = 0
        while day is not None and day <= last and found < MOST_LOST:
            if self.rule.excludes(day) and self.rule.moved(day) is None:
                due = self.base.next_after(start_of_day(self.zone, day) - _INSTANT)
                if due is not None and due.astimezone(self.zone).date() == day:
                    found += 1
                    yield Lost(due, self.rule.ledger_rule)
                day = _day_of_next(self.base, self.zone, day + _DAY)
            else:
                day += _DAY


@dataclass(frozen=True, slots=True)
class _MovedTimes:
    """The local times that moved, a `LocalSequence`, on days up to ``last``."""

    base: Timetable
    zone: ZoneInfo
    rule: CalendarRule
    last: date
    wildcard: bool = False

    def after(self, moment: datetime) -> datetime | None:
        return self.at_or_after(moment.replace(fold=0) + _INSTANT)

    def at_or_after(self, moment: datetime) -> datetime | None:
        found: datetime | None = None
        for target, source in self.moves(moment.date()):
            if found is not None and target > found.date():
                break
            midnight = datetime(target.year, target.month, target.day)
            time = self.first_time(source, max(_MIDNIGHT, moment - midnight))
            if time is not None and (found is None or midnight + time < found):
                found = midnight + time
        return found

    def moves(self, first: date) -> Iterator[tuple[date, date]]:
        """(target, source) for each excluded day whose times move to a day from ``first`` to ``last``, in order."""
        source = _day_of_next(self.base, self.zone, self._earliest_source(first))
        while source is not None:
            target: date | None = source
            if self.rule.excludes(source):
                target = self.rule.moved(source)
                if target is not None and first <= target <= self.last:
                    yield target, source
            if (target or source) > self.last:
                return
            source += _DAY
            if target != source:
                source = _day_of_next(self.base, self.zone, source)

    def first_time(self, day: date, since: timedelta) -> timedelta | None:
        """The base's first time of day on a local date that is at least ``since``, both as time since midnight."""
        midnight = datetime(day.year, day.month, day.day)
        found: timedelta | None = None
        for stretch in stretches_of(self.zone, day):
            begin = midnight + since - stretch.offset
            due = self.base.next_after(max(stretch.begin, begin.replace(tzinfo=UTC)) - _INSTANT)
            if due is None or due >= stretch.end:
                continue
            time = due.replace(tzinfo=None) + stretch.offset - midnight
            if time < _DAY and (found is None or time < found):
                found = time
        return found

    def _earliest_source(self, first: date) -> date:
        """No day before it moves to ``first`` or later."""
        if self.rule.shift is Shift.PREVIOUS:
            return first
        for _ in range(FARTHEST_SHIFT):
            if not self.rule.excludes(first - _DAY):
                break
            first -= _DAY
        return first

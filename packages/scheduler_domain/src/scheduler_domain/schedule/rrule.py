"""A recurrence rule (RFC 5545) as a value, and its evaluation on a calendar without a zone.

Everything here is naive local time, in whole seconds. A rule is worked out by arithmetic on its phase and on bit masks
of days and of units of a day, never by stepping through its past, so that a step costs the same however old the start
is; and a search ends after `SEARCHED_YEARS` or `SEARCHED_DAYS`, whatever the rule says.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime, timedelta
from enum import IntEnum

from scheduler_domain.schedule.rrule_days import YearDays, length_of, month_mask
from scheduler_domain.schedule.rrule_units import DayUnits, multiples

SEARCHED_YEARS = 40
"""A rule without a date for so long counts as ended: 29 February on a given weekday comes after 40 years at most."""
SEARCHED_DAYS = 4_000
"""On so many days of its own in a row a rule may have no time, by its interval, before it counts as ended."""
DAY_SECONDS = 86_400
_SECOND = timedelta(seconds=1)


class Frequency(IntEnum):
    SECONDLY = 1
    MINUTELY = 2
    HOURLY = 3
    DAILY = 4
    WEEKLY = 5
    MONTHLY = 6
    YEARLY = 7

    @property
    def units_of_day(self) -> int:
        """How many periods a day has: 1 for the daily and rarer ones."""
        return {Frequency.SECONDLY: DAY_SECONDS, Frequency.MINUTELY: 1440, Frequency.HOURLY: 24}.get(self, 1)


@dataclass(frozen=True, slots=True)
class Rrule:
    """A parsed rule; `rrule_parsing.parse_rrule` makes it.

    The phase of ``interval`` counts from ``start``, before which nothing is due; ``last`` is the latest time that may
    be. ``units`` are hours, minutes, seconds or, for a day and rarer, the day; ``offsets`` are seconds after the
    beginning of a unit, in order. ``positions`` choose among the times of a week, month or year. ``excluded`` and
    ``extra`` are single times, in order.
    """

    text: str
    frequency: Frequency
    interval: int
    start: datetime
    days: YearDays
    units: DayUnits
    offsets: tuple[int, ...]
    positions: tuple[int, ...] = ()
    last: datetime | None = None
    excluded: tuple[datetime, ...] = ()
    extra: tuple[datetime, ...] = ()

    @property
    def wildcard(self) -> bool:
        """Hourly and more often: such a rule follows real time when the clock changes."""
        return self.frequency < Frequency.DAILY

    def after(self, moment: datetime) -> datetime | None:
        """The first time later than ``moment``; ``None`` when there is none any more."""
        try:
            return self.at_or_after(moment.replace(microsecond=0, fold=0) + _SECOND)
        except OverflowError:
            return None

    def at_or_after(self, moment: datetime) -> datetime | None:
        """The first time that is not before ``moment`` (a whole second)."""
        extra = next((time for time in self.extra if time >= moment and time not in self.excluded), None)
        for found in self.recurrences(moment):
            if found not in self.excluded:
                return found if extra is None else min(found, extra)
        return extra

    def recurrences(self, moment: datetime) -> Iterator[datetime]:
        """The times of the rule itself from ``moment`` on, excluded ones among them."""
        if not (self.units.named and self.offsets):
            return
        moment = max(moment, self.start)
        for found in self._by_position(moment) if self.positions else self._by_day(moment):
            if self.last is not None and found > self.last:
                return
            yield found

    def _by_day(self, moment: datetime) -> Iterator[datetime]:
        while (found := self._next_by_day(moment)) is not None:
            yield found
            if found >= _END:
                return
            moment = found + _SECOND

    def _next_by_day(self, moment: datetime) -> datetime | None:
        today, since = moment.toordinal(), _second_of_day(moment)
        without = 0
        for year in range(moment.year, min(moment.year + SEARCHED_YEARS, MAXYEAR) + 1):
            first = date(year, 1, 1).toordinal()
            days = self.days.of(year) & self._days_in_phase(year, first)
            days = _from_bit(days, today - first)
            while days:
                day = first + _lowest_bit(days)
                second = self._second_on(day, since if day == today else 0)
                if second is not None:
                    return datetime.fromordinal(day) + timedelta(seconds=second)
                without += 1
                if without > SEARCHED_DAYS:
                    return None
                days = _from_bit(days, day - first + max(1, self.units.days_to_next(day)))
        return None

    def _days_in_phase(self, year: int, first: int) -> int:
        """The days of a year whose day, week, month or year the interval reaches; ``first`` is 1 January's ordinal."""
        every = (1 << 366) - 1
        if self.interval == 1 or self.frequency < Frequency.DAILY:
            return every
        if self.frequency is Frequency.YEARLY:
            return every if (year - self.start.year) % self.interval == 0 else 0
        if self.frequency is Frequency.MONTHLY:
            begins = [date(year, month, 1).toordinal() - first for month in range(1, 13)] + [366]
            months = (n for n in range(12) if (12 * year + n - _month_index(self.start)) % self.interval == 0)
            return sum((1 << begins[n + 1]) - (1 << begins[n]) for n in months)
        if self.frequency is Frequency.WEEKLY:
            period, run, origin = 7 * self.interval, 127, self._week_start(self.start.toordinal())
        else:
            period, run, origin = self.interval, 1, self.start.toordinal()
        # One period early, for a week that has begun in the year before.
        begin = (origin - first) % period
        return run * multiples(period, 366 // period + 2) << begin >> period

    def _second_on(self, day: int, since: int) -> int | None:
        """The first second of a day (by its ordinal) that the rule names, at or after ``since``."""
        units = self.units.on(day)
        length = DAY_SECONDS // self.units.of_day
        unit, rest = divmod(since, length)
        if rest and units >> unit & 1:
            index = bisect_left(self.offsets, rest)
            if index < len(self.offsets):
                return unit * length + self.offsets[index]
        units = _from_bit(units, unit + 1 if rest else unit)
        return _lowest_bit(units) * length + self.offsets[0] if units else None

    def _by_position(self, moment: datetime) -> Iterator[datetime]:
        start, period = self._period_of(self.start), self._period_of(moment)
        searched = SEARCHED_YEARS * _PERIODS_OF_YEAR[self.frequency]
        end = period + searched
        for index in range(period + (start - period) % self.interval, self._period_of(_END) + 1, self.interval):
            if index > end:
                return
            for found in self._chosen_in(list(self._days_of_period(index))):
                if found >= moment:
                    yield found
                    end = index + searched

    def _period_of(self, moment: datetime) -> int:
        if self.frequency is Frequency.YEARLY:
            return moment.year
        if self.frequency is Frequency.MONTHLY:
            return _month_index(moment)
        return self._week_start(moment.toordinal()) // 7

    def _days_of_period(self, index: int) -> Iterator[int]:
        """The ordinals of the rule's days in a year, month or week."""
        if self.frequency is Frequency.YEARLY:
            first, days = date(index, 1, 1).toordinal(), self.days.of(index)
        elif self.frequency is Frequency.MONTHLY:
            year, month = divmod(index, 12)
            first, days = date(year, 1, 1).toordinal(), self.days.of(year) & month_mask(year, month + 1)
        else:
            first = 7 * index + self._week_phase
            days = self._days_of_week(first)
        while days:
            day = first + _lowest_bit(days)
            if day <= _LAST_DAY:
                yield day
            days &= days - 1

    def _days_of_week(self, first: int) -> int:
        """The rule's days among the seven from an ordinal on, which may lie in two years."""
        year = date.fromordinal(first).year
        index = first - date(year, 1, 1).toordinal()
        days = self.days.of(year)
        if index + 7 > length_of(year):
            days |= self.days.of(year + 1) << length_of(year)
        return days >> index & 127

    def _chosen_in(self, days: list[int]) -> list[datetime]:
        """The times of a period that the positions choose, in order."""
        total = len(days) * len(self.offsets)
        indexes = {position - 1 if position > 0 else total + position for position in self.positions}
        chosen = (divmod(index, len(self.offsets)) for index in sorted(indexes) if 0 <= index < total)
        return [datetime.fromordinal(days[day]) + timedelta(seconds=self.offsets[n]) for day, n in chosen]

    @property
    def _week_phase(self) -> int:
        """The remainder by 7 of the ordinals on which weeks begin."""
        return (self.days.week_start + 1) % 7

    def _week_start(self, day: int) -> int:
        return day - (day - self._week_phase) % 7


_PERIODS_OF_YEAR = {Frequency.YEARLY: 1, Frequency.MONTHLY: 12, Frequency.WEEKLY: 53}
_END = datetime(MAXYEAR, 12, 31, 23, 59, 59)
_LAST_DAY = _END.toordinal()


def _from_bit(mask: int, bit: int) -> int:
    return mask >> bit << bit if bit > 0 else mask


def _lowest_bit(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _second_of_day(moment: datetime) -> int:
    return 3600 * moment.hour + 60 * moment.minute + moment.second


def _month_index(moment: datetime) -> int:
    return 12 * moment.year + moment.month - 1

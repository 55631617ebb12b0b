"""Which days of a year the day parts of a recurrence rule name (RFC 5545, 3.3.10).

A year is a bit mask, bit i for the day i days after 1 January. Weekdays count from Monday, 0. A part that is empty
names every day; a day counts when every part names it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

_CYCLE = 400
"""The calendar repeats after so many years, with its weekdays."""


@dataclass(frozen=True, slots=True)
class YearDays:
    """The parts: ``month_days``, ``year_days`` and ``weeks`` count from the end where they are negative.

    ``nth_weekdays`` are pairs (n, weekday), counted in each month where ``in_months``, otherwise in the year.
    """

    months: frozenset[int] = frozenset()
    month_days: tuple[int, ...] = ()
    year_days: tuple[int, ...] = ()
    weeks: tuple[int, ...] = ()
    weekdays: frozenset[int] = frozenset()
    nth_weekdays: tuple[tuple[int, int], ...] = ()
    in_months: bool = False
    week_start: int = 0
    _masks: dict[int, int] = field(default_factory=dict, compare=False, repr=False)

    def of(self, year: int) -> int:
        """The mask of a year."""
        key = year % _CYCLE
        mask = self._masks.get(key)
        if mask is None:
            mask = self._masks[key] = self._of(_Year(year))
        return mask

    def _of(self, year: "_Year") -> int:
        mask = (1 << year.length) - 1
        if self.months:
            mask &= sum(year.month(month) for month in self.months)
        if self.month_days:
            mask &= _any(year.nth_day(first, length, n) for first, length in year.months for n in self.month_days)
        if self.year_days:
            mask &= _any(year.nth_day(0, year.length, n) for n in self.year_days)
        if self.weeks:
            mask &= self._weeks(year)
        if self.weekdays or self.nth_weekdays:
            mask &= self._weekdays(year)
        return mask

    def _weekdays(self, year: "_Year") -> int:
        spans = year.months if self.in_months else ((0, year.length),)
        plain = _any(year.weekday(weekday) for weekday in self.weekdays)
        return plain | _any(year.nth_weekday(*span, *nth) for span in spans for nth in self.nth_weekdays)

    def _weeks(self, year: "_Year") -> int:
        """Weeks begin on ``week_start``; the first has at least four days in its year."""
        first, end = year.first_week(self.week_start), year.length + _Year(year.number + 1).first_week(self.week_start)
        weeks = (end - first) // 7
        mask = 0
        for n in self.weeks:
            index = n - 1 if n > 0 else weeks + n
            if 0 <= index < weeks:
                mask |= 127 << first + 7 * index + 7
        # The mask begins seven days early: the year may begin inside a week of the year before, and end inside one of
        # the year after.
        if first > 0 and {_Year(year.number - 1).weeks(self.week_start), -1} & set(self.weeks):
            mask |= 127 << first
        if {1, -_Year(year.number + 1).weeks(self.week_start)} & set(self.weeks):
            mask |= 127 << end + 7
        return mask >> 7 & (1 << year.length) - 1


def month_mask(year: int, month: int) -> int:
    """The days of one month."""
    return _Year(year).month(month)


def length_of(year: int) -> int:
    return 366 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 365


class _Year:
    """A year's shape: its length, its months as (index of the first day, length), its first weekday."""

    __slots__ = ("first_weekday", "length", "months", "number")

    def __init__(self, number: int) -> None:
        # Years outside the calendar are asked for at its ends; the cycle has their like.
        self.number = number % _CYCLE or _CYCLE
        self.first_weekday = date(self.number, 1, 1).weekday()
        self.length = length_of(self.number)
        lengths = (31, self.length - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
        self.months = tuple((sum(lengths[:n]), length) for n, length in enumerate(lengths))

    def month(self, month: int) -> int:
        first, length = self.months[month - 1]
        return (1 << length) - 1 << first

    def nth_day(self, first: int, length: int, n: int) -> int:
        """The nth day of a span, from its end where n is negative; nothing where it has fewer."""
        index = n - 1 if n > 0 else length + n
        return 1 << first + index if 0 <= index < length else 0

    def weekday(self, weekday: int) -> int:
        return _any(1 << day for day in range((weekday - self.first_weekday) % 7, self.length, 7))

    def nth_weekday(self, first: int, length: int, n: int, weekday: int) -> int:
        """The nth such weekday of a span, from its end where n is negative."""
        begin = (weekday - self.first_weekday - first) % 7
        of_kind = (length - begin + 6) // 7
        index = n - 1 if n > 0 else of_kind + n
        return 1 << first + begin + 7 * index if 0 <= index < of_kind else 0

    def first_week(self, week_start: int) -> int:
        """The index of the first week's first day: -3 to 3."""
        into_week = (self.first_weekday - week_start) % 7
        return -into_week if into_week <= 3 else 7 - into_week

    def weeks(self, week_start: int) -> int:
        return (self.length + _Year(self.number + 1).first_week(week_start) - self.first_week(week_start)) // 7


def _any(masks: Iterable[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found

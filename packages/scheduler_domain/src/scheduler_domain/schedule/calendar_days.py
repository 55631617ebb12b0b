"""Calendars as sets of days. They are asked once for every due time, so a year's days are worked out once, when the
year is first asked for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta


class DayCalendar(ABC):
    """A set of days; some know what a day is called."""

    @abstractmethod
    def contains(self, day: date) -> bool: ...

    def label(self, day: date) -> str:
        """What ``day`` is called; empty where there is no word for it."""
        del day
        return ""

    def days(self, first: date, last: date) -> Iterator[date]:
        """The days of the calendar from ``first`` to ``last``, both included."""
        for ordinal in range(first.toordinal(), last.toordinal() + 1):
            day = date.fromordinal(ordinal)
            if self.contains(day):
                yield day


class YearlyDays(DayCalendar):
    """``of_year`` gives a year's days with their labels; it is pure, and called once a year."""

    def __init__(self, of_year: Callable[[int], Mapping[date, str]]) -> None:
        self._of_year = of_year
        self._years: dict[int, Mapping[date, str]] = {}

    def contains(self, day: date) -> bool:
        return day in self._in(day.year)

    def label(self, day: date) -> str:
        return self._in(day.year).get(day, "")

    def _in(self, year: int) -> Mapping[date, str]:
        known = self._years.get(year)
        if known is None:
            known = self._years[year] = self._of_year(year)
        return known


class ListedDays(DayCalendar):
    """Days that somebody listed, with their labels."""

    def __init__(self, listed: Mapping[date, str]) -> None:
        self._listed = listed

    def contains(self, day: date) -> bool:
        return day in self._listed

    def label(self, day: date) -> str:
        return self._listed.get(day, "")


class BusinessDays(DayCalendar):
    """The days of the week in ``weekdays`` (Monday is 0) that none of ``closed`` contains."""

    def __init__(self, weekdays: frozenset[int], closed: Sequence[DayCalendar] = ()) -> None:
        self._weekdays = weekdays
        self._closed = tuple(closed)

    def contains(self, day: date) -> bool:
        return day.weekday() in self._weekdays and not any(calendar.contains(day) for calendar in self._closed)


def each_day(first: date, last: date) -> Iterator[date]:
    """From ``first`` to ``last``, both included."""
    for count in range((last - first).days + 1):
        yield first + timedelta(days=count)

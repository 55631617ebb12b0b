"""Days as people write them into a calendar.

``2026-12-24`` one day, ``2026-12-24/2027-01-01`` a range (both ends included), ``12-24`` a day of every year,
``12-24/01-02`` a range of every year; weekdays as ``MON-FRI`` or ``SUN,TUE-THU``.
"""

import re
from calendar import isleap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.naming import shown
from scheduler_domain.schedule.calendar_days import each_day

YEARS = range(1970, 2200)
DATE_FORMS = "2026-12-24, 12-24 (every year), 2026-12-24/2027-01-01 or 12-24/01-02 (from/to)"
WEEKDAY_FORMS = "MON to SUN, with ranges and commas, such as MON-FRI or SUN,TUE-THU"

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_YEARLY = re.compile(r"([0-9]{2})-([0-9]{2})")
_LEAP_YEAR = 2000


@dataclass(frozen=True, slots=True)
class DateSpan:
    """From ``first`` to ``last``, both included."""

    first: date
    last: date

    @property
    def size(self) -> int:
        """In days."""
        return (self.last - self.first).days + 1

    def in_year(self, year: int) -> Iterator[date]:
        return each_day(max(self.first, date(year, 1, 1)), min(self.last, date(year, 12, 31)))


@dataclass(frozen=True, slots=True)
class YearlySpan:
    """From ``first`` to ``last`` (month, day) of every year, both included; over the turn of the year where ``last``
    comes before ``first``. The 29th of February is in leap years only."""

    first: tuple[int, int]
    last: tuple[int, int]

    @property
    def size(self) -> int:
        """In days of one year, at most."""
        begins, ends = date(_LEAP_YEAR, *self.first), date(_LEAP_YEAR, *self.last)
        return (ends - begins).days + (1 if self.first <= self.last else 367)

    def in_year(self, year: int) -> Iterator[date]:
        if self.first <= self.last:
            yield from each_day(_begin(year, self.first), _end(year, self.last))
        else:
            yield from each_day(date(year, 1, 1), _end(year, self.last))
            yield from each_day(_begin(year, self.first), date(year, 12, 31))


Span = DateSpan | YearlySpan


def _begin(year: int, day: tuple[int, int]) -> date:
    return date(year, 3, 1) if day == (2, 29) and not isleap(year) else date(year, *day)


def _end(year: int, day: tuple[int, int]) -> date:
    return date(year, 2, 28) if day == (2, 29) and not isleap(year) else date(year, *day)


def parse_span(text: str) -> Span:
    """Raises `InvalidDefinition` (``invalid_date``, ``invalid_window``)."""
    first, slash, last = text.strip().partition("/")
    begins, ends = _moment(first, text), _moment(last if slash else first, text)
    if isinstance(begins, date) and isinstance(ends, date):
        if ends < begins:
            raise _refusal("invalid_window", f"'{shown(text)}' ends before it begins")
        return DateSpan(begins, ends)
    if isinstance(begins, tuple) and isinstance(ends, tuple):
        return YearlySpan(begins, ends)
    raise _refusal("invalid_date", f"'{shown(text)}' has a year at one end only; accepted: {DATE_FORMS}")


def _moment(text: str, whole: str) -> date | tuple[int, int]:
    full, yearly = _DATE.fullmatch(text), _YEARLY.fullmatch(text)
    if full is None and yearly is None:
        raise _refusal("invalid_date", f"'{shown(whole)}' is not a date; accepted: {DATE_FORMS}")
    try:
        if full is None and yearly is not None:
            known = date(_LEAP_YEAR, int(yearly[1]), int(yearly[2]))
            return known.month, known.day
        day = date.fromisoformat(text)
    except ValueError:
        raise _refusal("invalid_date", f"'{shown(text)}' is not a day of the calendar") from None
    if day.year not in YEARS:
        raise _refusal("invalid_date", f"'{shown(text)}' is out of range; years from {YEARS[0]} to {YEARS[-1]}")
    return day


def parse_weekdays(text: str) -> frozenset[int]:
    """Numbers of weekdays, Monday is 0. Raises `InvalidDefinition` (``invalid_weekdays``)."""
    found: set[int] = set()
    for part in text.upper().split(","):
        first, dash, last = part.strip().partition("-")
        if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
            raise _refusal("invalid_weekdays", f"'{shown(part)}' is not a weekday; accepted: {WEEKDAY_FORMS}")
        begins = WEEKDAYS.index(first)
        length = (WEEKDAYS.index(last) - begins) % 7 if dash else 0
        found |= {(begins + count) % 7 for count in range(length + 1)}
    return frozenset(found)


def _refusal(code: str, message: str) -> InvalidDefinition:
    return InvalidDefinition([Problem((), code, message)])

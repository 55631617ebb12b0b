"""Days as people write them, and sets of them, against Python's own calendar."""

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.schedule.calendar_dates import parse_span, parse_weekdays
from scheduler_domain.schedule.calendar_days import BusinessDays, ListedDays, YearlyDays, each_day

DAYS = st.dates(date(1970, 1, 1), date(2199, 12, 31))
LEAP_DAYS = st.dates(date(2000, 1, 1), date(2000, 12, 31))


@given(DAYS, st.integers(0, 800))
def test_a_range_of_dates_is_every_day_from_its_first_to_its_last(first: date, length: int) -> None:
    last = min(first + timedelta(days=length), date(2199, 12, 31))
    span = parse_span(f"{first}/{last}")
    found = [day for year in range(first.year, last.year + 1) for day in span.in_year(year)]
    assert found == list(each_day(first, last))
    assert span.size == len(found)
    assert list(span.in_year(first.year - 1)) == list(span.in_year(last.year + 1)) == []


@given(LEAP_DAYS, LEAP_DAYS, st.integers(1970, 2199))
def test_a_yearly_range_is_the_same_days_each_year_also_over_the_turn_of_the_year(a: date, b: date, year: int) -> None:
    first, last = (a.month, a.day), (b.month, b.day)
    span = parse_span(f"{a:%m-%d}/{b:%m-%d}")

    def inside(day: date) -> bool:
        place = (day.month, day.day)
        return first <= place <= last if first <= last else place >= first or place <= last

    expected = [day for day in each_day(date(year, 1, 1), date(year, 12, 31)) if inside(day)]
    assert list(span.in_year(year)) == expected
    assert span.size >= len(expected)


def test_the_29th_of_february_is_in_leap_years_only() -> None:
    span = parse_span("02-29")
    assert [list(span.in_year(year)) for year in (2027, 2028, 2100)] == [[], [date(2028, 2, 29)], []]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2026-02-29", "invalid_date"),
        ("02-30", "invalid_date"),
        ("13-01", "invalid_date"),
        ("24.12.2026", "invalid_date"),
        ("2026-12-24/01-02", "invalid_date"),
        ("", "invalid_date"),
        ("/", "invalid_date"),
        ("2026-12-24/", "invalid_date"),
        ("2200-01-01", "invalid_date"),
        ("1969-12-31", "invalid_date"),
        ("2026-12-24T00:00:00Z", "invalid_date"),
        ("٢٠٢٦-12-24", "invalid_date"),
        ("2026-12-24/2026-12-23", "invalid_window"),
    ],
)
def test_what_is_no_day_is_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        parse_span(text)
    assert refused.value.problems[0].code == code


def test_weekdays_are_names_ranges_and_lists_and_may_go_over_the_end_of_the_week() -> None:
    assert parse_weekdays("MON-FRI") == frozenset(range(5))
    assert parse_weekdays("sun-thu") == frozenset({6, 0, 1, 2, 3})
    assert parse_weekdays("FRI, SUN-MON") == frozenset({4, 6, 0})
    for wrong in ("", "MON-", "-FRI", "MONDAY", "1-5", "MON--FRI", "MON-FRI-SUN", "MON;TUE"):
        with pytest.raises(InvalidDefinition):
            parse_weekdays(wrong)


def test_business_days_are_weekdays_that_no_other_calendar_closes() -> None:
    christmas = ListedDays({date(2026, 12, 25): "Christmas"})
    open_days = BusinessDays(parse_weekdays("MON-FRI"), [christmas])
    assert list(open_days.days(date(2026, 12, 23), date(2026, 12, 29))) == [
        date(2026, 12, 23),
        date(2026, 12, 24),
        date(2026, 12, 28),
        date(2026, 12, 29),
    ]


def test_a_year_is_worked_out_once_and_only_when_it_is_asked_for() -> None:
    asked: Counter[int] = Counter()

    def of_year(year: int) -> Mapping[date, str]:
        asked[year] += 1
        return {date(year, 1, 1): "New Year"}

    calendar = YearlyDays(of_year)
    assert [calendar.contains(day) for day in each_day(date(2026, 1, 1), date(2026, 12, 31))].count(True) == 1
    assert calendar.label(date(2027, 1, 1)) == "New Year"
    assert asked == {2026: 1, 2027: 1}

"""Recurrence rules against python-dateutil, and what they cost."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo

from dateutil import rrule as oracle
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.schedule.rrule import Rrule
from scheduler_domain.schedule.rrule_days import YearDays
from scheduler_domain.schedule.rrule_parsing import parse_rrule
from scheduler_domain.schedule.timetable import parse_timetable
from tests.properties.clock_changes import ODD

SECOND = timedelta(seconds=1)
BERLIN = ZoneInfo("Europe/Berlin")
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
RARE = ["YEARLY", "MONTHLY", "WEEKLY", "DAILY"]
OFTEN = ["HOURLY", "MINUTELY", "SECONDLY"]
PARTS = [f"FREQ={each}" for each in [*RARE, *OFTEN]] + [
    *("INTERVAL=86399", "COUNT=9", "UNTIL=20261231", "WKST=SU", "BYDAY=5FR", "BYDAY=MO", "BYHOUR=24", "BYHOUR=1"),
    *("BYMONTHDAY=-31", "BYWEEKNO=53", "BYSETPOS=-1", "BYYEARDAY=366", "BYMONTH", "X=1", ""),
]
STARTS = st.datetimes(datetime(1999, 1, 1), datetime(2030, 1, 1)).map(lambda at: at.replace(microsecond=0))


def lists(low: int, high: int, *, most: int = 3) -> st.SearchStrategy[list[int]]:
    """Numbers from ``low`` to ``high``, and from the end where ``low`` is 1 and the name takes them."""
    return st.lists(st.integers(low, high), min_size=1, max_size=most, unique=True)


def signed(high: int, *, most: int = 3) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(-high, high).filter(bool), min_size=1, max_size=most, unique=True)


@dataclass(frozen=True)
class Rule:
    frequency: str
    interval: int
    start: datetime
    numbers: tuple[tuple[str, tuple[int, ...]], ...]
    weekdays: tuple[tuple[int, int], ...]
    week_start: int

    @property
    def text(self) -> str:
        parts = [f"FREQ={self.frequency}", f"INTERVAL={self.interval}", f"WKST={WEEKDAYS[self.week_start]}"]
        parts += [f"{name}={','.join(map(str, values))}" for name, values in self.numbers]
        if self.weekdays:
            parts.append("BYDAY=" + ",".join(f"{nth or ''}{WEEKDAYS[day]}" for nth, day in self.weekdays))
        return f"DTSTART:{self.start:%Y%m%dT%H%M%S} RRULE:{';'.join(parts)}"

    def as_dateutil(self, **bounds: Any) -> oracle.rrule:
        numbers: dict[str, Any] = {name.lower(): values for name, values in self.numbers}
        if self.weekdays:
            numbers["byweekday"] = [oracle.weekday(day, nth or None) for nth, day in self.weekdays]
        frequency = getattr(oracle, self.frequency)
        return oracle.rrule(
            frequency, dtstart=self.start, interval=self.interval, wkst=self.week_start, **numbers, **bounds
        )


@st.composite
def rules(draw: st.DrawFn, frequencies: list[str]) -> Rule:
    """What RFC 5545 allows and dateutil reads in the same way."""
    frequency = draw(st.sampled_from(frequencies))
    numbers: dict[str, list[int]] = {}
    weekdays: list[tuple[int, int]] = []

    def maybe(name: str, values: st.SearchStrategy[list[int]]) -> None:
        if draw(st.integers(0, 2)) == 0:
            numbers[name] = draw(values)

    maybe("BYMONTH", lists(1, 12))
    if frequency != "WEEKLY":
        maybe("BYMONTHDAY", signed(31, most=6))
    if frequency in {"YEARLY", *OFTEN}:
        maybe("BYYEARDAY", signed(366, most=30))
    by_week = frequency == "YEARLY" and draw(st.integers(0, 3)) == 0
    if by_week:
        # On days that belong to a week of another year dateutil is wrong: they have a test of their own.
        numbers["BYWEEKNO"] = draw(st.lists(st.integers(-50, 51).filter(bool), min_size=1, max_size=8, unique=True))
    if by_week or draw(st.booleans()):
        nths = st.just(0)
        if frequency in {"YEARLY", "MONTHLY"} and not by_week and draw(st.booleans()):
            most = 5 if frequency == "MONTHLY" or "BYMONTH" in numbers else 53
            nths = st.integers(-most, most).filter(bool)
        # dateutil joins BYDAY=MO,1TU with AND, where the standard lists days: one kind at a time.
        weekdays = draw(st.lists(st.tuples(nths, st.integers(0, 6)), min_size=1, max_size=3, unique=True))
    maybe("BYHOUR", lists(0, 23))
    maybe("BYMINUTE", lists(0, 59))
    maybe("BYSECOND", lists(0, 59))
    start = draw(STARTS)
    week_start = draw(st.integers(0, 6))
    if (numbers or weekdays) and frequency not in OFTEN and draw(st.integers(0, 3)) == 0:
        numbers["BYSETPOS"] = draw(signed(6))
        if frequency == "WEEKLY":
            # dateutil chooses from what the start leaves of its week: begin with a whole one.
            start = datetime.combine(start.date(), start.time()) - timedelta(days=(start.weekday() - week_start) % 7)
    interval = draw(st.sampled_from([1, 1, 1, 2, 3, 5, 7, 10]) if frequency in RARE else st.integers(1, 5000))
    frozen = tuple((name, tuple(values)) for name, values in numbers.items())
    return Rule(frequency, interval, start, frozen, tuple(weekdays), week_start)


def parsed(rule: Rule) -> Rrule | None:
    try:
        return parse_rrule(rule.text, BERLIN)
    except InvalidDefinition as invalid:
        assert [problem.code for problem in invalid.problems] == ["never_fires"], rule.text
        return None


def first(times: Iterable[datetime], count: int, end: datetime) -> list[datetime]:
    return list(islice(takewhile(lambda at: at < end, times), count))


@settings(max_examples=500, deadline=None)
@given(rules(RARE))
def test_a_rule_of_a_day_or_rarer_has_the_times_that_dateutil_has(rule: Rule) -> None:
    ours = parsed(rule)
    # dateutil would look to the end of the calendar: what is refused is tested by hand.
    assume(ours is not None)
    assert ours is not None
    end = rule.start + timedelta(days=366 * 12)
    expected = first(rule.as_dateutil(), 12, end)
    assert first(ours.recurrences(rule.start), 12, end) == expected
    for at in expected:
        assert ours.at_or_after(at) == at
        assert ours.after(at - SECOND) == at


@settings(max_examples=150, deadline=None)
@given(rules(OFTEN))
def test_a_rule_within_the_day_has_the_times_that_dateutil_has(rule: Rule) -> None:
    ours = parsed(rule)
    end = rule.start + timedelta(days=400)
    # dateutil goes through every minute of the days between.
    assume(ours is not None and (found := ours.after(rule.start)) is not None and found < end)
    assert ours is not None
    assert first(ours.recurrences(rule.start), 30, end) == first(rule.as_dateutil(), 30, end)


def week_of(day: date, week_start: int) -> tuple[int, int]:
    """The year and the number of a day's week, by the day of it that decides: the fourth."""
    fourth = day - timedelta(days=(day.weekday() - week_start) % 7) + timedelta(days=3)
    return fourth.year, (fourth - date(fourth.year, 1, 1)).days // 7 + 1


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1900, 2400),
    st.lists(st.integers(-53, 53).filter(bool), min_size=1, max_size=4),
    st.integers(0, 6),
)
def test_weeks_are_those_of_a_scan_of_every_day(year: int, weeks: list[int], week_start: int) -> None:
    days = [date(year, 1, 1) + timedelta(days=n) for n in range(366)]
    expected = 0
    for index, day in enumerate(day for day in days if day.year == year):
        of_year, number = week_of(day, week_start)
        last = max(
            n for y, n in (week_of(date(of_year, 12, each), week_start) for each in range(22, 32)) if y == of_year
        )
        if number in weeks or number - last - 1 in weeks:
            expected |= 1 << index
    assert YearDays(weeks=tuple(weeks), week_start=week_start).of(year) == expected


@settings(max_examples=100, deadline=None)
@given(rules(RARE), st.integers(1, 30), st.booleans())
def test_count_and_until_end_a_rule_where_dateutil_ends_it(rule: Rule, count: int, counted: bool) -> None:
    unbounded = parsed(rule)
    assume(unbounded is not None)
    assert unbounded is not None
    times = first(unbounded.recurrences(rule.start), count + 1, datetime(9999, 1, 1))
    assume(len(times) == count + 1 and times[-1] - rule.start < timedelta(days=14_000))
    bound = f"COUNT={count}" if counted else f"UNTIL={times[count - 1]:%Y%m%dT%H%M%S}"
    ours = parse_rrule(f"{rule.text};{bound}", BERLIN)
    theirs = rule.as_dateutil(**({"count": count} if counted else {"until": times[count - 1]}))
    assert list(ours.recurrences(rule.start)) == list(theirs) == times[:count]


@settings(max_examples=200, deadline=None)
@given(rules([*RARE, *OFTEN]), st.integers(0, 400 * 86_400), st.integers(0, 86_400))
def test_a_step_does_not_depend_on_where_it_begins(rule: Rule, later: int, between: int) -> None:
    ours = parsed(rule)
    assume(ours is not None)
    assert ours is not None
    moment = rule.start + SECOND * later
    found = ours.after(moment)
    if found is None:
        return
    assert found > moment
    assert ours.after(min(moment + SECOND * between, found - SECOND)) == found
    assert ours.at_or_after(found) == found


@settings(max_examples=150, deadline=None)
@given(rules([*RARE, *OFTEN]), st.sampled_from(ODD), st.integers(1, 1000))
def test_no_rule_costs_more_than_milliseconds(rule: Rule, zone: str, count: int) -> None:
    """In time of this process; the best of three, since a collection of garbage may fall into one."""
    text = rule.text if len(rule.text) > 240 else f"{rule.text};COUNT={count}"

    def cost() -> float:
        began = time.process_time()
        try:
            timetable = parse_timetable("schedule", text, zone)
        except InvalidDefinition:
            return time.process_time() - began
        timetable.next_after(datetime(2031, 1, 1, tzinfo=UTC))
        return time.process_time() - began

    assert min(cost() for _ in range(3)) < 0.05, text


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.builds("{}{}".format, st.sampled_from(["RRULE:", "FREQ=", "DTSTART:", ""]), st.text(max_size=300)),
        st.lists(
            st.sampled_from(PARTS),
            max_size=7,
        ).map(lambda parts: "DTSTART:20260101T000000 RRULE:" + ";".join(parts)),
    )
)
def test_any_text_is_either_a_rule_or_refused_in_clear_words(text: str) -> None:
    try:
        rule = parse_rrule(text, BERLIN)
    except InvalidDefinition as invalid:
        assert all(problem.code in {"invalid_rrule", "never_fires"} for problem in invalid.problems)
        assert all(problem.message.isprintable() for problem in invalid.problems)
    else:
        assert rule.after(datetime(1960, 1, 1)) is not None

"""Calendars: which days they leave out, and where a shift moves what was due on them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest

from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.schedule.calendar import CalendarMode, CalendarRule, Shift
from scheduler_domain.schedule.fire_policy import MisfirePolicy
from scheduler_domain.schedule.policies import DueOutcome, decide_due
from scheduler_domain.schedule.timetable import check_calendar, parse_timetable, preview

NOON = datetime(2026, 12, 20, 12, tzinfo=UTC)
ADVENT = (date(2026, 12, 24), date(2026, 12, 25), date(2026, 12, 26))


@dataclass(frozen=True)
class Where:
    """The days for which a condition holds."""

    holds: Callable[[date], bool]

    def contains(self, day: date) -> bool:
        return self.holds(day)


def skip(*days: date, shift: Shift | None = None) -> CalendarRule:
    return CalendarRule("holidays", Where(lambda day: day in days), CalendarMode.SKIP, shift)


def workdays(shift: Shift) -> CalendarRule:
    return CalendarRule("workdays", Where(lambda day: day.weekday() < 5), CalendarMode.ONLY, shift)


def between(first: date, last: date, shift: Shift) -> CalendarRule:
    return CalendarRule("shutdown", Where(lambda day: first <= day <= last), CalendarMode.SKIP, shift)


def always(shift: Shift | None) -> CalendarRule:
    return CalendarRule("everything", Where(lambda day: True), CalendarMode.SKIP, shift)


def due(kind: str, expression: str, zone: str, rule: CalendarRule, after: datetime, count: int) -> list[str]:
    timetable = parse_timetable(kind, expression, zone, anchor=after, calendar=rule)
    found: list[str] = []
    moment: datetime | None = after
    while len(found) < count and moment is not None and (moment := timetable.next_after(moment)) is not None:
        found.append(f"{moment:%m-%dT%H:%M}")
    return found


def test_a_rule_excludes_the_days_of_its_calendar_or_all_others() -> None:
    rule = skip(ADVENT[0])
    only = CalendarRule("c", rule.calendar, CalendarMode.ONLY)
    assert [rule.excludes(day) for day in ADVENT] == [True, False, False]
    assert [only.excludes(day) for day in ADVENT] == [False, True, True]


def test_without_a_shift_the_due_times_stay_to_be_decided() -> None:
    assert due("schedule", "0 9 * * *", "UTC", skip(*ADVENT), datetime(2026, 12, 23, 12, tzinfo=UTC), 2) == [
        "12-24T09:00",
        "12-25T09:00",
    ]


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (Shift.NEXT, ["12-23T09:00", "12-27T09:00", "12-28T09:00"]),
        (Shift.PREVIOUS, ["12-23T09:00", "12-27T09:00", "12-28T09:00"]),
    ],
)
def test_a_moved_time_that_meets_another_fires_once(shift: Shift, expected: list[str]) -> None:
    after = datetime(2026, 12, 22, 12, tzinfo=UTC)
    assert due("schedule", "0 9 * * *", "UTC", skip(*ADVENT, shift=shift), after, 3) == expected


@pytest.mark.parametrize(("shift", "expected"), [(Shift.NEXT, "11-02T09:00"), (Shift.PREVIOUS, "10-30T09:00")])
def test_the_first_of_the_month_on_a_sunday_moves_to_a_working_day(shift: Shift, expected: str) -> None:
    after = datetime(2026, 10, 15, tzinfo=UTC)
    assert due("schedule", "0 9 1 * *", "UTC", workdays(shift), after, 1) == [expected]


def test_an_instant_and_an_interval_move_too() -> None:
    rule = skip(*ADVENT, shift=Shift.NEXT)
    assert due("at", "2026-12-25T08:30:00Z", "UTC", rule, NOON, 2) == ["12-27T08:30"]
    # Every 30 hours from the 20th, 12:00: 21 18:00, 23 00:00, [24 06:00], [25 12:00], [26 18:00], 28 00:00.
    found = due("every", "108000", "UTC", rule, NOON, 6)
    assert found == ["12-21T18:00", "12-23T00:00", "12-27T06:00", "12-27T12:00", "12-27T18:00", "12-28T00:00"]


def test_the_day_is_that_of_the_schedules_zone() -> None:
    # 23:30 UTC is the next day in Berlin, and the same day in New York.
    rule = skip(date(2026, 12, 25), shift=Shift.NEXT)
    after = datetime(2026, 12, 24, 20, tzinfo=UTC)
    assert due("at", "2026-12-24T23:30:00Z", "Europe/Berlin", rule, after, 1) == ["12-25T23:30"]
    assert due("at", "2026-12-24T23:30:00Z", "America/New_York", rule, after, 1) == ["12-24T23:30"]


def test_a_time_that_moves_into_a_gap_fires_at_its_end_and_keeps_its_local_time_over_a_change() -> None:
    rule = skip(date(2026, 3, 28), shift=Shift.NEXT)
    after = datetime(2026, 3, 27, 12, tzinfo=UTC)
    assert due("schedule", "30 2 28 3 *", "Europe/Berlin", rule, after, 1) == ["03-29T01:00"]
    assert due("schedule", "0 9 28 3 *", "Europe/Berlin", rule, after, 1) == ["03-29T07:00"]


def test_a_time_that_moves_into_a_repeated_hour_fires_once() -> None:
    rule = skip(date(2026, 10, 24), shift=Shift.NEXT)
    after = datetime(2026, 10, 23, 12, tzinfo=UTC)
    assert due("schedule", "30 2 24 10 *", "Europe/Berlin", rule, after, 1) == ["10-25T00:30"]


def test_days_that_stay_keep_both_passes_of_a_repeated_hour() -> None:
    rule = skip(date(2026, 10, 24), shift=Shift.NEXT)
    found = due("schedule", "*/30 2 * * *", "Europe/Berlin", rule, datetime(2026, 10, 24, 12, tzinfo=UTC), 4)
    assert found == ["10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30"]


def test_the_last_hour_of_a_day_that_comes_again_after_midnight_stays() -> None:
    """On 7 November 2010 the clocks of St. John's went back from 00:01 to 23:01 of the day before."""
    rule = skip(date(2010, 11, 7), shift=Shift.NEXT)
    after = datetime(2010, 11, 7, 1, 45, tzinfo=UTC)
    # 23:30, (00:00 of the 7th,) 23:30 again, (the 7th,) 00:00 of the 8th.
    assert due("schedule", "*/30 * * * *", "America/St_Johns", rule, after, 3) == [
        "11-07T02:00",
        "11-07T03:00",
        "11-08T03:30",
    ]


@pytest.mark.parametrize(("days", "moves"), [(31, True), (32, False)])
def test_a_time_moves_31_days_at_most(days: int, moves: bool) -> None:
    first = date(2026, 7, 1)
    rule = between(first, first + timedelta(days=days - 1), Shift.NEXT)
    timetable = parse_timetable("schedule", "0 9 1 * *", "UTC", calendar=rule)
    step = timetable.step_after(datetime(2026, 6, 15, tzinfo=UTC))
    if moves:
        assert (step.at, step.lost) == (datetime(2026, 8, 1, 9, tzinfo=UTC), ())
        return
    # The 1st of August is excluded as well, and moves by a day.
    assert step.at == datetime(2026, 8, 2, 9, tzinfo=UTC)
    assert step.lost == ((datetime(2026, 7, 1, 9, tzinfo=UTC), "calendar:shutdown"),)


def test_what_is_lost_has_one_row_for_each_day_and_each_once() -> None:
    rule = between(date(2026, 7, 1), date(2026, 8, 10), Shift.NEXT)
    timetable = parse_timetable("schedule", "0 */6 * * *", "UTC", calendar=rule)
    start = datetime(2026, 6, 29, tzinfo=UTC)
    decisions = decide_due(timetable, start, datetime(2026, 8, 20, tzinfo=UTC), MisfirePolicy.FIRE_ALL)
    skipped = [row for row in decisions.rows if row.outcome is DueOutcome.SKIPPED]
    assert [row.due_at for row in skipped] == [datetime(2026, 7, day, tzinfo=UTC) for day in range(1, 11)]
    assert {row.rule for row in skipped} == {"calendar:shutdown"}
    due_at = [row.due_at for row in decisions.rows]
    assert due_at == sorted(set(due_at))
    fired = [row.due_at for row in decisions.rows if row.outcome is DueOutcome.FIRED]
    hours = timedelta(hours=6)
    assert fired == [start + hours * n for n in range(8)] + [
        datetime(2026, 8, 11, tzinfo=UTC) + hours * n for n in range(37)
    ]


@pytest.mark.parametrize("shift", [None, *Shift])
@pytest.mark.parametrize(
    ("kind", "expression"),
    [("schedule", "* * * * * *"), ("schedule", "0 9 29 2 *"), ("every", "1"), ("at", "2030-01-01T00:00:00Z")],
)
def test_a_calendar_that_leaves_nothing_is_refused_in_bounded_time(
    kind: str, expression: str, shift: Shift | None
) -> None:
    timetable = parse_timetable(kind, expression, "Europe/Berlin", anchor=NOON, calendar=always(shift))
    began = time.process_time()
    with pytest.raises(InvalidDefinition) as caught:
        check_calendar(timetable, "Europe/Berlin", always(shift), NOON)
    assert time.process_time() - began < 2
    (problem,) = caught.value.problems
    assert (problem.loc, problem.code) == (("calendar",), "never_fires")
    assert "'everything'" in problem.message


def test_a_calendar_is_not_to_blame_for_a_timetable_that_has_ended() -> None:
    timetable = parse_timetable("at", "2020-01-01T00:00:00Z", "UTC", calendar=always(Shift.NEXT))
    check_calendar(timetable, "UTC", always(Shift.NEXT), NOON)
    assert timetable.next_after(NOON) is None


@pytest.mark.parametrize("shift", [None, *Shift])
def test_a_far_instant_is_found(shift: Shift | None) -> None:
    rule = skip(*ADVENT, shift=shift)
    for text in ("2069-01-01T00:00:00Z", "9999-12-30T00:00:00Z"):
        timetable = parse_timetable("at", text, "UTC", calendar=rule)
        check_calendar(timetable, "UTC", rule, NOON)
        assert timetable.next_after(NOON) == datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("rule", "notes"),
    [
        (skip(ADVENT[0]), [None, "2026-12-24 is left out by calendar 'holidays'; skipped", None]),
        (skip(*ADVENT), [None, *(f"2026-12-{n} is left out by calendar 'holidays'; skipped" for n in (24, 25))]),
        (skip(ADVENT[0], shift=Shift.NEXT), [None, None, None]),
    ],
)
def test_a_preview_says_what_the_calendar_does(rule: CalendarRule, notes: list[str | None]) -> None:
    fires = preview("schedule", "0 9 * * *", "UTC", datetime(2026, 12, 22, 12, tzinfo=UTC), 3, calendar=rule)
    assert [fire.note for fire in fires] == notes


def test_a_preview_says_from_where_a_time_was_moved() -> None:
    after = datetime(2026, 3, 27, tzinfo=UTC)
    rule = skip(date(2026, 3, 28), shift=Shift.NEXT)
    (gap,) = preview("schedule", "30 2 28 3 *", "Europe/Berlin", after, 1, calendar=rule)
    assert gap.note == "moved from 2026-03-28 by calendar 'holidays'"
    (plain,) = preview("at", "2026-12-25T08:00:00Z", "UTC", NOON, 1, calendar=skip(*ADVENT, shift=Shift.PREVIOUS))
    assert plain.note == "moved from 2026-12-25 by calendar 'holidays'"
    assert plain.at == datetime(2026, 12, 23, 8, tzinfo=UTC)
    (own,) = preview("schedule", "30 2 29 3 *", "Europe/Berlin", after, 1, calendar=rule)
    assert own.note == "02:30 does not exist on 2026-03-29; fires at 03:00"


def test_a_preview_refuses_a_calendar_that_leaves_nothing() -> None:
    with pytest.raises(InvalidDefinition, match="leaves none"):
        preview("schedule", "0 9 * * *", "UTC", NOON, 3, calendar=always(None))

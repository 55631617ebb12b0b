"""2026 in every time zone: a clock that is turned irregularly, and one row in the ledger for every due time.

What is expected is worked out from a zone's stretches of one offset, found by bisection, with arithmetic alone.
"""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import pytest

from scheduler_domain.schedule.dst import DEBIAN, DstPolicy, GapRule, RepeatRule
from scheduler_domain.schedule.fire_policy import MisfirePolicy
from scheduler_domain.schedule.policies import DueDecision, DueOutcome, decide_due
from scheduler_domain.schedule.timetable import parse_timetable

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ZONES = sorted(available_timezones() - {"Factory", "localtime", "posixrules"})


class Stretch(NamedTuple):
    begin: datetime
    end: datetime
    offset: timedelta


@cache
def stretches(zone: str) -> tuple[Stretch, ...]:
    """The year, and two days around it, in pieces of one offset."""
    key = ZoneInfo(zone)

    def offset(at: datetime) -> timedelta:
        found = at.astimezone(key).utcoffset()
        assert found is not None
        return found

    pieces: list[Stretch] = []
    begin = mark = BEGIN - 2 * DAY
    while mark < END + 2 * DAY:
        following = mark + 6 * HOUR
        if offset(following) != offset(begin):
            low, high = mark, following
            while high - low > SECOND:
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                low, high = (middle, high) if offset(middle) == offset(begin) else (low, middle)
            pieces.append(Stretch(begin, high, offset(begin)))
            begin = high
        mark = following
    return (*pieces, Stretch(begin, mark, offset(begin)))


def passes_of(local: datetime, zone: str) -> list[datetime]:
    """Every instant at which the clock shows a local time, in order."""
    found = []
    for piece in stretches(zone):
        at = local.replace(tzinfo=UTC) - piece.offset
        if piece.begin <= at < piece.end:
            found.append(at)
    return found


def end_of_gap(local: datetime, zone: str) -> datetime:
    pieces = stretches(zone)
    for before, after in pairwise(pieces):
        left_out = (before.end + before.offset).replace(tzinfo=None), (after.begin + after.offset).replace(tzinfo=None)
        if left_out[0] <= local < left_out[1]:
            return after.begin
    raise AssertionError(f"{local} is in no gap of {zone}")


def every_day(clock: timedelta) -> Iterator[datetime]:
    for n in range(-1, 366):
        yield datetime(2026, 1, 1) + DAY * n + clock


def time_in_its_gap(zone: str) -> timedelta:
    """A time of day in the middle of the zone's gap; half past two where it has none."""
    pieces = stretches(zone)
    for before, after in pairwise(pieces):
        if after.offset > before.offset:
            start = (before.end + before.offset).replace(tzinfo=None)
            middle = start + (after.offset - before.offset) / 2
            return timedelta(hours=middle.hour, minutes=middle.minute)
    return timedelta(hours=2, minutes=30)


class Expected(NamedTuple):
    due: list[datetime]
    lost: list[datetime]

    def within_the_year(self) -> "Expected":
        due, lost = (sorted({at for at in times if BEGIN <= at < END}) for times in self)
        return Expected(due, lost)


def fixed(zone: str, clock: timedelta, *, skip: bool, twice: bool) -> Expected:
    due: list[datetime] = []
    lost: list[datetime] = []
    for local in every_day(clock):
        found = passes_of(local, zone)
        if found:
            due += found if twice else found[:1]
        elif skip:
            lost.append(end_of_gap(local, zone) - timedelta.resolution)
        else:
            due.append(end_of_gap(local, zone))
    return Expected(due, lost)


def real_time(zone: str, step: timedelta, hours: range) -> Expected:
    """Whole multiples of ``step`` on the clock, in each pass, within some hours."""
    due: list[datetime] = []
    for piece in stretches(zone):
        into = (piece.begin + piece.offset - BEGIN) % step
        at = piece.begin + (step - into) % step
        while at < piece.end:
            if (at + piece.offset).hour in hours:
                due.append(at)
            at += step
    return Expected(due, [])


def turned_through(expression: str, zone: str, dst: DstPolicy = DEBIAN) -> list[DueDecision]:
    """The rows of the year, decided in passes at irregular times of a clock that goes back now and then."""
    chance = random.Random(f"{zone} {expression}")
    timetable = parse_timetable("schedule", expression, zone, dst=dst)
    policy = chance.choice(list(MisfirePolicy))
    now = BEGIN
    next_at = timetable.next_after(BEGIN - timedelta.resolution)
    rows: list[DueDecision] = []
    while next_at is not None and next_at < END:
        now += chance.choice([-2 * HOUR, 47 * MINUTE, 7 * HOUR, 3 * DAY, 20 * DAY]) * chance.random()
        decisions = decide_due(timetable, next_at, now, policy, limit=chance.choice([10, 200, 1000]))
        assert all(row.due_at <= now for row in decisions.rows if row.outcome is not DueOutcome.SKIPPED)
        rows += decisions.rows
        next_at = decisions.next_at
    return [row for row in rows if row.due_at < END]


def check(rows: list[DueDecision], expected: Expected, what: str) -> None:
    wanted = expected.within_the_year()
    assert max(Counter(row.due_at for row in rows).values()) == 1, what
    assert [row.due_at for row in rows if row.outcome is not DueOutcome.SKIPPED] == wanted.due, what
    assert [row.due_at for row in rows if row.outcome is DueOutcome.SKIPPED] == wanted.lost, what


def test_the_year_has_zones_of_every_kind() -> None:
    """Otherwise the tests below would prove little: gaps and repeats, of half an hour, one and two hours."""
    changes = {after.offset - before.offset for zone in ZONES for before, after in pairwise(stretches(zone))}
    assert {-2 * HOUR, -HOUR, -HOUR / 2, HOUR / 2, HOUR, 2 * HOUR} <= changes
    assert len(ZONES) > 400


@pytest.mark.parametrize("dst", [DEBIAN, DstPolicy(GapRule.SKIP, RepeatRule.TWICE)])
def test_a_time_in_the_gap_has_one_row_a_day(dst: DstPolicy) -> None:
    for zone in ZONES:
        clock = time_in_its_gap(zone)
        hour, minute = divmod(clock // MINUTE, 60)
        rows = turned_through(f"{minute} {hour} * * *", zone, dst)
        check(rows, fixed(zone, clock, skip=dst != DEBIAN, twice=dst != DEBIAN), zone)


def test_a_wildcard_in_the_hour_of_the_gap_follows_real_time() -> None:
    for zone in ZONES:
        hour = time_in_its_gap(zone) // HOUR
        rows = turned_through(f"*/30 {hour} * * *", zone)
        check(rows, real_time(zone, 30 * MINUTE, range(hour, hour + 1)), zone)


def test_every_hour_of_the_year_has_one_row() -> None:
    """Once for each course that clocks take through the year: zones of one course have the same instants."""
    for zone in {stretches(zone): zone for zone in ZONES}.values():
        check(turned_through("0 * * * *", zone), real_time(zone, HOUR, range(24)), zone)


def test_a_rule_for_two_weekdays_has_one_row_on_each() -> None:
    for zone in ZONES:
        clock = time_in_its_gap(zone)
        hour, minute = divmod(clock // MINUTE, 60)
        rows = turned_through(f"RRULE:FREQ=WEEKLY;BYDAY=SU,MO;BYHOUR={hour};BYMINUTE={minute}", zone)
        on_days = [local for local in every_day(clock) if local.weekday() in {6, 0}]
        due = [(passes_of(local, zone) or [end_of_gap(local, zone)])[0] for local in on_days]
        check(rows, Expected(due, []), zone)

"""What a pass decides about due times that are past: fired, missed, skipped, and where the next pass goes on."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from scheduler_domain.schedule.dst import CLOCK_CHANGE
from scheduler_domain.schedule.fire_policy import MisfirePolicy
from scheduler_domain.schedule.policies import (
    MAX_DECISIONS,
    ON_TIME,
    Decisions,
    DueDecision,
    DueOutcome,
    decide_due,
)
from scheduler_domain.schedule.steps import Timetable
from scheduler_domain.schedule.timetable import parse_timetable

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTELY = parse_timetable("schedule", "* * * * *", "UTC")


def counts(rows: tuple[DueDecision, ...]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        found[row.outcome, row.rule] = found.get((row.outcome, row.rule), 0) + 1
    return found


def in_passes(
    timetable: Timetable, start: datetime, now: datetime, policy: MisfirePolicy, *, each: timedelta = timedelta()
) -> tuple[tuple[DueDecision, ...], datetime | None, int]:
    """All passes until nothing is due; the clock moves on by ``each`` from pass to pass."""
    rows: list[DueDecision] = []
    next_at: datetime | None = start
    passes = 0
    while next_at is not None and next_at <= now:
        decisions = decide_due(timetable, next_at, now, policy)
        assert decisions.next_at is None or decisions.next_at > next_at
        rows += decisions.rows
        next_at = decisions.next_at
        now += each
        passes += 1
    return tuple(rows), next_at, passes


def test_nothing_is_decided_before_it_is_due() -> None:
    assert decide_due(MINUTELY, NOON, NOON - timedelta(seconds=1), MisfirePolicy.FIRE_ALL) == Decisions((), NOON)


@pytest.mark.parametrize("policy", MisfirePolicy)
@pytest.mark.parametrize("late", [0, 1, 59.999, 60])
def test_up_to_the_grace_a_due_time_is_on_time(policy: MisfirePolicy, late: float) -> None:
    hourly = parse_timetable("schedule", "0 * * * *", "UTC")
    decisions = decide_due(hourly, NOON, NOON + timedelta(seconds=late), policy)
    assert decisions.rows == (DueDecision(NOON, DueOutcome.FIRED, ON_TIME),)
    assert decisions.next_at == NOON + timedelta(hours=1)


def test_skip_records_every_missed_time_and_fires_what_is_on_time() -> None:
    decisions = decide_due(MINUTELY, NOON, NOON + timedelta(minutes=10), MisfirePolicy.SKIP)
    assert counts(decisions.rows) == {("missed", "misfire:skip"): 9, ("fired", ON_TIME): 2}
    assert decisions.next_at == NOON + timedelta(minutes=11)


def test_fire_once_fires_the_latest_missed_time() -> None:
    hourly = parse_timetable("schedule", "0 * * * *", "UTC")
    decisions = decide_due(hourly, NOON, NOON + timedelta(hours=5, minutes=30), MisfirePolicy.FIRE_ONCE)
    assert [row.outcome for row in decisions.rows] == ["missed"] * 5 + ["fired"]
    assert decisions.rows[-1] == DueDecision(NOON + timedelta(hours=5), DueOutcome.FIRED, "misfire:fire_once")
    assert {row.rule for row in decisions.rows} == {"misfire:fire_once"}


def test_fire_all_fires_every_missed_time_up_to_a_hundred() -> None:
    hourly = parse_timetable("schedule", "0 * * * *", "UTC")
    decisions = decide_due(hourly, NOON, NOON + timedelta(hours=99, minutes=30), MisfirePolicy.FIRE_ALL)
    assert counts(decisions.rows) == {("fired", "misfire:fire_all"): 100}


def test_fire_all_records_the_excess_and_fires_the_latest_hundred() -> None:
    hourly = parse_timetable("schedule", "0 * * * *", "UTC")
    decisions = decide_due(hourly, NOON, NOON + timedelta(hours=149, minutes=30), MisfirePolicy.FIRE_ALL)
    assert [row.outcome for row in decisions.rows] == ["missed"] * 50 + ["fired"] * 100


def test_an_instant_that_was_missed_ends_its_timetable() -> None:
    at = parse_timetable("at", NOON.isoformat(), "UTC")
    for policy, outcome in [(MisfirePolicy.SKIP, DueOutcome.MISSED), (MisfirePolicy.FIRE_ONCE, DueOutcome.FIRED)]:
        decisions = decide_due(at, NOON, NOON + timedelta(days=2), policy)
        assert decisions == Decisions((DueDecision(NOON, outcome, policy.rule),), None)


@pytest.mark.parametrize("policy", MisfirePolicy)
@pytest.mark.parametrize("each", [timedelta(), timedelta(seconds=45)])
@pytest.mark.parametrize("minutes", [998, 999, 1000, 1001, 1099, 1100, 1101, 2500])
def test_passes_decide_every_due_time_once_and_in_order(policy: MisfirePolicy, each: timedelta, minutes: int) -> None:
    rows, next_at, passes = in_passes(MINUTELY, NOON, NOON + timedelta(minutes=minutes, seconds=30), policy, each=each)
    assert next_at is not None
    expected = [NOON + timedelta(minutes=n) for n in range(int((next_at - NOON) / timedelta(minutes=1)))]
    assert [row.due_at for row in rows] == expected
    late = sum(1 for row in rows if row.outcome == "fired" and row.rule != ON_TIME)
    assert late == policy.fired_late
    assert passes <= 2 + minutes // 900


def test_a_million_missed_times_take_short_passes() -> None:
    secondly = parse_timetable("every", "1", "UTC", anchor=NOON)
    now = NOON + timedelta(seconds=1_000_000)
    began = time.process_time()
    decisions = decide_due(secondly, NOON + timedelta(seconds=1), now, MisfirePolicy.FIRE_ALL)
    assert time.process_time() - began < 1
    assert len(decisions.rows) == MAX_DECISIONS
    assert decisions.next_at == NOON + timedelta(seconds=1 + MAX_DECISIONS)


def test_a_day_lost_to_a_clock_correction_is_recorded_once_as_skipped() -> None:
    daily = parse_timetable("schedule", "0 12 * * *", "Pacific/Apia")
    start = datetime(2011, 12, 28, 22, tzinfo=UTC)
    lost = DueDecision(datetime(2011, 12, 30, 9, 59, 59, 999999, tzinfo=UTC), DueOutcome.SKIPPED, CLOCK_CHANGE)
    for policy in MisfirePolicy:
        rows, _, _ = in_passes(daily, start, datetime(2012, 1, 5, tzinfo=UTC), policy)
        assert rows.count(lost) == 1
        assert [row.due_at for row in rows] == sorted({row.due_at for row in rows})


def test_a_lost_day_is_recorded_with_the_due_time_before_it() -> None:
    daily = parse_timetable("schedule", "0 12 * * *", "Pacific/Apia")
    due = datetime(2011, 12, 29, 22, tzinfo=UTC)
    decisions = decide_due(daily, due, due, MisfirePolicy.FIRE_ONCE)
    assert [row.outcome for row in decisions.rows] == ["fired", "skipped"]
    assert decisions.next_at == datetime(2011, 12, 30, 22, tzinfo=UTC)

"""Cron and recurrence rules under every policy for clock changes, against a scan of every minute of a zone's clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.schedule.dst import CLOCK_CHANGE, DST_SKIP, DstPolicy, GapRule, RepeatRule
from scheduler_domain.schedule.steps import Timetable
from scheduler_domain.schedule.timetable import parse_timetable
from tests.properties.clock_changes import DAY, HOUR, MINUTE, places, shown
from tests.properties.cron_expressions import early_expressions

EPOCH = datetime(1970, 1, 1)
SPAN = 2 * DAY
GAPS, REPEATS = st.sampled_from([None, "run_after", "skip"]), st.sampled_from([None, "once", "twice"])


@dataclass(frozen=True)
class Schedule:
    """A text with its meaning: which minutes of a calendar without a zone it names."""

    text: str
    names: Callable[[datetime], bool]
    wildcard: bool


def crons() -> st.SearchStrategy[Schedule]:
    return early_expressions().map(lambda each: Schedule(str(each), each.matches, each.wildcard))


@st.composite
def rules(draw: st.DrawFn) -> Schedule:
    """Rules whose meaning is a line of arithmetic from 1 January 1970, a Thursday."""
    frequency, unit = draw(st.sampled_from([("DAILY", DAY), ("HOURLY", HOUR), ("MINUTELY", MINUTE)]))
    interval = draw(st.sampled_from([1, 1, 2, 3, 7, 45]) if unit < DAY else st.integers(1, 2))
    hours = draw(st.sets(st.integers(0, 4), min_size=1))
    minutes = draw(st.sets(st.integers(0, 59), min_size=1, max_size=4))
    weekdays = draw(st.sets(st.integers(0, 6), min_size=1))
    by_hour = frequency == "DAILY" or draw(st.booleans())
    by_minute = frequency != "MINUTELY" or draw(st.booleans())
    parts = [f"FREQ={frequency}", f"INTERVAL={interval}"]
    parts += ["BYHOUR=" + ",".join(map(str, hours))] if by_hour else []
    parts += ["BYMINUTE=" + ",".join(map(str, minutes))] if by_minute else []
    parts += ["BYDAY=" + ",".join(("MO", "TU", "WE", "TH", "FR", "SA", "SU")[day] for day in weekdays)]

    def names(local: datetime) -> bool:
        return (
            (local - EPOCH) // unit % interval == 0
            and (not by_hour or local.hour in hours)
            and (not by_minute or local.minute in minutes)
            and local.weekday() in weekdays
        )

    return Schedule("RRULE:" + ";".join(parts), names, wildcard=unit < DAY)


def scan(
    schedule: Schedule, zone: ZoneInfo, start: datetime, gap: str | None, repeat: str | None
) -> tuple[list[datetime], list[tuple[datetime, str]]]:
    """What is due after ``start`` within `SPAN`, and what is lost, by looking at the clock once a minute."""
    due: list[datetime] = []
    lost: list[tuple[datetime, str]] = []
    seen: set[datetime] = set()
    twice = schedule.wildcard if repeat is None else repeat == "twice"
    instant = start - 4 * HOUR
    previous = shown(instant, zone)
    while instant < start + SPAN:
        instant += MINUTE
        local = shown(instant, zone)
        missing = [previous + MINUTE * n for n in range(1, (local - previous) // MINUTE)]
        previous = local
        runs = schedule.names(local) and (twice or local not in seen)
        seen.add(local)
        if any(map(schedule.names, missing)):
            caught_up = not schedule.wildcard and len(missing) <= 180 if gap is None else gap == "run_after"
            runs = runs or caught_up
            if not caught_up and (gap == "skip" or not schedule.wildcard) and instant > start:
                lost.append((instant - timedelta.resolution, DST_SKIP if gap == "skip" else CLOCK_CHANGE))
        if runs and instant > start:
            due.append(instant)
    return due, lost


def walk(timetable: Timetable, start: datetime) -> tuple[list[datetime], list[tuple[datetime, str]]]:
    due: list[datetime] = []
    lost: list[tuple[datetime, str]] = []
    moment = start
    while True:
        step = timetable.step_after(moment)
        lost += ((each.at, each.rule) for each in step.lost if each.at <= start + SPAN)
        if step.at is None or step.at > start + SPAN:
            return due, lost
        assert step.at > moment
        assert step.at.tzinfo is UTC
        assert timetable.next_after(moment) == step.at
        due.append(step.at)
        moment = step.at


@settings(max_examples=350, deadline=None)
@given(st.one_of(crons(), rules()), places(before=30 * HOUR), GAPS, REPEATS)
def test_every_minute_of_the_clock_is_worked_on_as_the_policy_says(
    schedule: Schedule, place: tuple[ZoneInfo, datetime], gap: str | None, repeat: str | None
) -> None:
    zone, start = place
    dst = DstPolicy(None if gap is None else GapRule(gap), None if repeat is None else RepeatRule(repeat))
    try:
        timetable = parse_timetable("schedule", schedule.text, zone.key, dst=dst)
    except InvalidDefinition as invalid:
        assert [problem.code for problem in invalid.problems] == ["never_fires"]
        assume(False)
    assert walk(timetable, start) == scan(schedule, zone, start, gap, repeat)

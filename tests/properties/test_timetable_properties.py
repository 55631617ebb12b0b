"""Timetables against oracles that share no code with them: the main loop of Debian's daemon, and brute force."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.schedule.cron_parsing import parse_cron
from scheduler_domain.schedule.cron_timetable import CronTimetable
from scheduler_domain.schedule.fire_policy import MisfirePolicy
from scheduler_domain.schedule.policies import DueDecision, decide_due
from scheduler_domain.schedule.timetable import parse_timetable
from tests.properties.clock_changes import EARLIEST, MINUTE, places, shown, until
from tests.properties.cron_expressions import MINUTES, Expression, FieldText, early_expressions, expressions, fields

ZONES = sorted(available_timezones() - {"Factory", "localtime", "posixrules"})
STEADY = ["UTC", "Asia/Kathmandu", "Etc/GMT-14"]


def daemon(expression: Expression, zone: ZoneInfo, start: datetime, minutes: int) -> list[datetime]:
    """The starts after ``start`` that the main loop of cron 3.0pl1 makes, minute by minute, once per minute.

    It compares the minute that the clock shows with the one after the last that it worked on. One difference: a jump of
    exactly three hours, which the daemon's off-by-one takes for a correction, is caught up.
    """
    virtual = shown(start, zone)
    found = []
    for n in range(1, minutes + 1):
        instant = start + MINUTE * n
        local = shown(instant, zone)
        jump = (local - virtual) // MINUTE
        if jump == 1 or jump > 3 * 60 + 1 or jump <= -3 * 60:
            due = expression.matches(local)
            virtual = local
        elif jump > 0:
            caught_up = [virtual + MINUTE * k for k in range(1, jump + 1)]
            due = expression.matches(local) if expression.wildcard else any(map(expression.matches, caught_up))
            virtual = local
        else:
            due = expression.wildcard and expression.matches(local)
        if due:
            found.append(instant)
    return found


def cron(expression: Expression | str, zone: ZoneInfo) -> CronTimetable | None:
    try:
        return CronTimetable(parse_cron(str(expression)), zone)
    except InvalidDefinition as invalid:
        assert [problem.code for problem in invalid.problems] == ["never_fires"]
        return None


@settings(max_examples=250, deadline=None)
@given(early_expressions(), places(zones=ZONES))
def test_cron_starts_what_debians_daemon_starts_around_a_clock_change(
    expression: Expression, place: tuple[ZoneInfo, datetime]
) -> None:
    zone, start = place
    timetable = cron(expression, zone)
    expected = daemon(expression, zone, start, 2 * 1440)
    assert list(until(timetable, start, start + MINUTE * 2 * 1440) if timetable else ()) == expected


@settings(max_examples=60, deadline=None)
@given(expressions(), st.sampled_from(STEADY), st.datetimes(datetime(1996, 1, 1), datetime(2036, 1, 1)))
def test_cron_agrees_with_a_scan_of_every_minute(expression: Expression, zone: str, begin: datetime) -> None:
    start = begin.replace(second=0, microsecond=0, tzinfo=UTC)
    key = ZoneInfo(zone)
    timetable = cron(expression, key)
    minutes = (start + MINUTE * n for n in range(1, 10 * 1440 + 1))
    expected = [minute for minute in minutes if expression.matches(minute.astimezone(key))]
    assert list(until(timetable, start, start + MINUTE * 10 * 1440) if timetable else ()) == expected


@settings(max_examples=40, deadline=None)
@given(fields(MINUTES), fields(MINUTES), places(zones=ZONES))
def test_seconds_of_a_wildcard_agree_with_a_scan_of_every_second(
    second: FieldText, minute: FieldText, place: tuple[ZoneInfo, datetime]
) -> None:
    zone, start = place
    timetable = cron(f"{second.text} {minute.text} * * * *", zone)
    assert timetable is not None
    end = start + timedelta(hours=1)
    seconds = (start + timedelta(seconds=n) for n in range(1, 3601))
    local = ((instant, instant.astimezone(timetable.zone)) for instant in seconds)
    expected = [at for at, shown in local if shown.second in second.values and shown.minute in minute.values]
    assert list(until(timetable, start, end)) == expected


@settings(max_examples=300, deadline=None)
@given(expressions(), places(zones=ZONES), st.timedeltas(timedelta(), timedelta(days=1)), st.floats(0, 1))
def test_a_due_time_is_later_and_stays_the_next_until_it_comes(
    expression: Expression, place: tuple[ZoneInfo, datetime], more: timedelta, share: float
) -> None:
    zone, start = place
    timetable = cron(expression, zone)
    if timetable is None:
        return
    moment = start + more
    found = timetable.next_after(moment)
    assert found is not None
    assert found > moment
    assert found.tzinfo is UTC
    between = min(moment + (found - moment) * share, found - timedelta.resolution)
    assert timetable.next_after(between) == found
    following = timetable.next_after(found)
    assert following is not None
    assert following > found


@settings(max_examples=200, deadline=None)
@given(st.timedeltas(timedelta(seconds=1), timedelta(days=366)), st.timedeltas(timedelta(), timedelta(days=5000)))
def test_an_interval_is_due_at_whole_multiples_after_its_anchor(interval: timedelta, elapsed: timedelta) -> None:
    text = f"{interval // timedelta(seconds=1)}.{interval.microseconds:06}"
    found = parse_timetable("every", text, "UTC", anchor=EARLIEST).next_after(EARLIEST + elapsed)
    if interval > timedelta(days=366):
        return
    assert found is not None
    assert timedelta() < found - (EARLIEST + elapsed) <= interval
    assert (found - EARLIEST) % interval == timedelta()


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(
        st.text(max_size=300),
        st.text("0123456789*/,-LWH#?()@ \tjanmofris", max_size=60),
        st.lists(st.text("0123456789*/,-LWH#?()mon", max_size=8), min_size=5, max_size=6).map(" ".join),
    )
)
def test_any_text_is_either_a_schedule_or_refused_in_clear_words(text: str) -> None:
    try:
        expression = parse_cron(text)
    except InvalidDefinition as invalid:
        assert all(problem.message.isprintable() for problem in invalid.problems)
    else:
        assert expression.after(datetime(2026, 1, 1)) is not None


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(MisfirePolicy),
    st.integers(1, 300),
    st.timedeltas(timedelta(), timedelta(hours=12)),
    st.sampled_from(["* * * * *", "*/5 * * * *", "*/20 * * * * *", "0 * * * *"]),
)
def test_what_a_pass_decides_does_not_depend_on_its_size(
    policy: MisfirePolicy, limit: int, outage: timedelta, expression: str
) -> None:
    timetable = parse_timetable("schedule", expression, "UTC")
    now = EARLIEST + outage
    at_once = decide_due(timetable, EARLIEST, now, policy, limit=100_000)
    rows: tuple[DueDecision, ...] = ()
    next_at: datetime | None = EARLIEST
    while next_at is not None and next_at <= now:
        decisions = decide_due(timetable, next_at, now, policy, limit=limit)
        assert len(decisions.rows) <= max(limit, policy.fired_late)
        rows += decisions.rows
        next_at = decisions.next_at
    assert (rows, next_at) == (at_once.rows, at_once.next_at)

"""The span that a deadline judges."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_domain.schedule.deadlines import previous_due, window_start
from scheduler_domain.schedule.steps import Timetable
from scheduler_domain.schedule.timetable import parse_timetable

DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cron(expression: str, zone: str = "UTC") -> Timetable:
    return parse_timetable("schedule", expression, zone)


@pytest.mark.parametrize(
    ("expression", "due", "start"),
    [
        ("0 6 * * *", "2026-11-03T06:00", "2026-11-02T06:00"),
        ("0 6,18 * * *", "2026-11-03T06:00", "2026-11-02T18:00"),
        ("0 * * * *", "2026-11-03T06:00", "2026-11-03T05:00"),
        ("* * * * * *", "2026-11-03T06:00:01", "2026-11-03T06:00:00"),
        ("*/20 * 0-5 * * *", "2026-11-03T00:00", "2026-11-02T05:59:40"),
        # Monday's deadline looks a day back, not to Friday.
        ("0 6 * * MON-FRI", "2026-11-09T06:00", "2026-11-08T06:00"),
        ("0 0 1 1 *", "2027-01-01T00:00", "2026-12-31T00:00"),
    ],
)
def test_without_a_length_it_begins_with_the_deadline_before_and_at_most_a_day_earlier(
    expression: str, due: str, start: str
) -> None:
    assert window_start(cron(expression), at(due), None) == at(start)


def test_a_length_is_elapsed_time_whatever_the_deadlines() -> None:
    assert window_start(cron("0 * * * *"), at("2026-11-03T06:00"), 7 * DAY) == at("2026-10-27T06:00")


def test_a_day_with_a_clock_change_is_as_long_as_it_is() -> None:
    berlin = cron("0 6 * * *", "Europe/Berlin")
    assert window_start(berlin, at("2026-03-29T04:00"), None) == at("2026-03-28T05:00")  # 23 hours
    assert window_start(berlin, at("2026-10-25T05:00"), None) == at("2026-10-24T05:00")  # 25 hours, of which 24 count


@given(
    minute=st.sampled_from(["*", "*/7", "0", "13,14", "59"]),
    hour=st.sampled_from(["*", "3", "*/5", "22-23", "0"]),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)).map(lambda each: each.replace(tzinfo=UTC)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"]),
)
def test_the_deadline_before_is_the_one_from_which_the_next_is_this(
    minute: str, hour: str, start: datetime, zone: str
) -> None:
    timetable = cron(f"{minute} {hour} * * *", zone)
    first = timetable.next_after(start)
    assert first is not None
    due = timetable.next_after(first)
    assert due is not None
    assert previous_due(timetable, due, due - 2 * DAY) == first
    assert previous_due(timetable, due, first) is None

"""Cron timetables where clocks change. The expected instants were worked out by brute force over `zoneinfo`."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from scheduler_domain.schedule.dst import CLOCK_CHANGE
from scheduler_domain.schedule.steps import Lost
from scheduler_domain.schedule.timetable import parse_timetable, preview


def instants(expression: str, zone: str, after: str, until: str) -> list[str]:
    """Every due time after ``after`` and not after ``until`` (both UTC), as ``MM-DDTHH:MM``."""
    timetable = parse_timetable("schedule", expression, zone)
    moment = timetable.next_after(datetime.fromisoformat(f"{after}+00:00"))
    end = datetime.fromisoformat(f"{until}+00:00")
    found = []
    while moment is not None and moment <= end:
        found.append(f"{moment:%m-%dT%H:%M}")
        moment = timetable.next_after(moment)
    return found


@pytest.mark.parametrize(
    ("zone", "expression", "after", "until", "expected"),
    [
        pytest.param(
            "Europe/Berlin", "30 2 * * *", "2026-03-28T00:00", "2026-03-30T12:00",
            ["03-28T01:30", "03-29T01:00", "03-30T00:30"], id="a fixed time in a gap fires at its end",
        ),
        pytest.param(
            "Europe/Berlin", "*/30 * * * *", "2026-03-29T00:00", "2026-03-29T01:30",
            ["03-29T00:30", "03-29T01:00", "03-29T01:30"], id="a wildcard goes on over a gap",
        ),
        pytest.param(
            "Europe/Berlin", "*/30 2 * * *", "2026-03-28T12:00", "2026-03-30T00:00",
            ["03-30T00:00"], id="a wildcard inside a gap has no time that day",
        ),
        pytest.param(
            "Europe/Berlin", "0,30 2,3 * * *", "2026-03-28T12:00", "2026-03-29T03:00",
            ["03-29T01:00", "03-29T01:30"], id="several times in a gap fire once, together with the one at its end",
        ),
        pytest.param(
            "Europe/Berlin", "30 2 * * *", "2026-10-24T12:00", "2026-10-25T12:00",
            ["10-25T00:30"], id="a fixed time that comes twice fires the first time",
        ),
        pytest.param(
            "Europe/Berlin", "*/30 * * * *", "2026-10-24T23:59", "2026-10-25T02:00",
            ["10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"],
            id="a wildcard fires in both passes",
        ),
        pytest.param(
            "Europe/Berlin", "*/30 2 * * *", "2026-10-24T12:00", "2026-10-25T12:00",
            ["10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30"], id="a wildcard minute fires in both passes",
        ),
        pytest.param(
            "Europe/Berlin", "0 3 * * *", "2026-10-24T12:00", "2026-10-25T12:00",
            ["10-25T02:00"], id="the end of an overlap comes once",
        ),
        pytest.param(
            "America/New_York", "30 2 * * *", "2026-03-08T00:00", "2026-03-09T00:00",
            ["03-08T07:00"], id="New York, spring",
        ),
        pytest.param(
            "America/New_York", "30 1 * * *", "2026-11-01T00:00", "2026-11-02T00:00",
            ["11-01T05:30"], id="New York, autumn",
        ),
        pytest.param(
            "America/New_York", "0 0 * * *", "2026-03-07T12:00", "2026-03-10T12:00",
            ["03-08T05:00", "03-09T04:00", "03-10T04:00"], id="no day is lost after a gap",
        ),
        pytest.param(
            "Australia/Lord_Howe", "15 2 * * *", "2026-10-03T12:00", "2026-10-04T12:00",
            ["10-03T15:30"], id="a gap of half an hour",
        ),
        pytest.param(
            "Pacific/Apia", "0 12 * * *", "2011-12-29T00:00", "2011-12-31T00:00",
            ["12-29T22:00", "12-30T22:00"], id="a day that does not exist is skipped",
        ),
        pytest.param(
            "America/Santiago", "0 0 * * 0", "2025-09-07T00:00", "2025-09-08T00:00",
            ["09-07T04:00"], id="a gap at midnight keeps the weekday of the missing time",
        ),
        pytest.param(
            "Antarctica/Casey", "30 3 * * *", "2009-10-17T12:00", "2009-10-18T12:00",
            ["10-17T18:00"], id="a gap of three hours is still caught up",
        ),
        pytest.param(
            "America/New_York", "30 2,3 * * *", "2026-03-08T00:00", "2026-03-09T00:00",
            ["03-08T07:00", "03-08T07:30"], id="the time after the gap's end is its own",
        ),
        pytest.param(
            "America/New_York", "*/20 30 2 * * *", "2026-03-08T00:00", "2026-03-09T00:00",
            ["03-08T07:00"], id="starred seconds at a fixed time fire once at the end of a gap",
        ),
    ],
)  # fmt: skip
def test_clock_changes(zone: str, expression: str, after: str, until: str, expected: list[str]) -> None:
    assert instants(expression, zone, after, until) == expected


@pytest.mark.parametrize(
    ("zone", "year"),
    [
        ("Africa/Casablanca", 2026),
        ("Asia/Kathmandu", 2026),
        ("Antarctica/Troll", 2026),
        ("America/Sao_Paulo", 2018),
        ("America/Sao_Paulo", 2019),
        ("America/Havana", 2026),
        ("Europe/Dublin", 2026),
        ("Africa/Cairo", 2026),
    ],
)
def test_two_in_the_morning_comes_once_per_local_date(zone: str, year: int) -> None:
    timetable = parse_timetable("schedule", "0 2 * * *", zone)
    fires = preview("schedule", "0 2 * * *", zone, datetime(year, 1, 1, 12, tzinfo=UTC), 364)
    dates = [fire.local.date() for fire in fires]
    assert all(later - earlier == timedelta(days=1) for earlier, later in pairwise(dates))
    assert timetable.next_after(fires[0].at) == fires[1].at


def test_every_start_inside_an_overlap_finds_a_later_time() -> None:
    for expression in ("30 2 * * *", "*/30 * * * *", "0 0 * * *", "* 2 * * *", "59 2 * * *"):
        timetable = parse_timetable("schedule", expression, "Europe/Berlin")
        moment = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
        while moment < datetime(2026, 10, 25, 2, 30, tzinfo=UTC):
            found = timetable.next_after(moment)
            assert found is not None
            assert found > moment
            moment += timedelta(seconds=61, microseconds=1)


def test_the_argument_may_be_in_any_zone() -> None:
    timetable = parse_timetable("schedule", "30 2 * * *", "Europe/Berlin")
    utc = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert timetable.next_after(utc) == timetable.next_after(utc.astimezone(timezone(timedelta(hours=-7))))
    with pytest.raises(ValueError, match="zone"):
        timetable.next_after(datetime(2026, 10, 25))


def notes(expression: str, zone: str, after: str, count: int = 1) -> list[str | None]:
    fires = preview("schedule", expression, zone, datetime.fromisoformat(after), count)
    return [fire.note for fire in fires]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "note"),
    [
        (
            "30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00",
            "02:30 does not exist on 2026-03-29; fires at 03:00",
        ),
        (
            "0,30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00",
            "02:00 and 02:30 do not exist on 2026-03-29; fires once at 03:00",
        ),
        (
            "0-59 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00",
            "02:00, 02:01, 02:02 and more do not exist on 2026-03-29; fires once at 03:00",
        ),
        (
            "*/30 * * * *", "Europe/Berlin", "2026-03-29T01:30:00+01:00",
            "02:00 and 02:30 do not exist on 2026-03-29; left out",
        ),
        (
            "30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00+02:00",
            "02:30 happens twice on 2026-10-25; fires the first time only",
        ),
        (
            "30 * * * *", "Europe/Berlin", "2026-10-25T02:00:00+02:00",
            "02:30 happens twice on 2026-10-25; this is the first time",
        ),
        (
            "30 * * * *", "Europe/Berlin", "2026-10-25T02:30:00+02:00",
            "02:30 happens twice on 2026-10-25; this is the second time",
        ),
        (
            "0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00-10:00",
            "12:00 does not exist on 2011-12-30 (the clock jumps 24 h, more than 3 h); skipped",
        ),
        ("0 12 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00", None),
        (
            "15 30 2 * * *", "America/New_York", "2026-03-08T00:00:00-05:00",
            "02:30:15 does not exist on 2026-03-08; fires at 03:00",
        ),
    ],
)  # fmt: skip
def test_a_preview_says_what_the_clock_change_did(expression: str, zone: str, after: str, note: str | None) -> None:
    assert notes(expression, zone, after) == [note]


def test_a_preview_shows_the_instant_and_the_local_time() -> None:
    (fire,) = preview("schedule", "30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC), 1)
    assert fire.at.isoformat() == "2026-03-29T01:00:00+00:00"
    assert fire.local.isoformat() == "2026-03-29T03:00:00+02:00"


def test_a_day_lost_to_a_correction_is_reported_with_an_instant_that_is_never_due() -> None:
    timetable = parse_timetable("schedule", "0 0,12 * * *", "Pacific/Apia")
    step = timetable.step_after(datetime(2011, 12, 29, 22, 30, tzinfo=UTC))
    assert step.at == datetime(2011, 12, 30, 10, tzinfo=UTC)
    assert step.lost == (Lost(datetime(2011, 12, 30, 9, 59, 59, 999999, tzinfo=UTC), CLOCK_CHANGE),)
    assert timetable.next_after(step.lost[0].at) == step.at


def test_a_wildcard_loses_nothing_to_a_correction() -> None:
    timetable = parse_timetable("schedule", "0 * * * *", "Pacific/Apia")
    step = timetable.step_after(datetime(2011, 12, 30, 9, 30, tzinfo=UTC))
    assert step.at == datetime(2011, 12, 30, 10, tzinfo=UTC)
    assert step.lost == ()

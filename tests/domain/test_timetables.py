"""Intervals, instants, zones, and how `parse_timetable` refuses."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.schedule.timetable import EveryTimetable, parse_timetable, preview

ANCHOR = datetime(2026, 3, 1, 10, 0, 7, tzinfo=UTC)


def problems(kind: str, expression: str, timezone: str = "UTC") -> tuple[Problem, ...]:
    with pytest.raises(InvalidDefinition) as caught:
        parse_timetable(kind, expression, timezone)
    return caught.value.problems


def test_an_interval_keeps_the_phase_of_its_anchor() -> None:
    every = parse_timetable("every", "900", "UTC", anchor=ANCHOR)
    assert every.next_after(ANCHOR) == ANCHOR + timedelta(minutes=15)
    assert every.next_after(ANCHOR + timedelta(days=400, minutes=1)) == ANCHOR + timedelta(days=400, minutes=15)


def test_an_interval_has_no_due_time_before_its_first() -> None:
    every = parse_timetable("every", "900", "UTC", anchor=ANCHOR)
    assert every.next_after(ANCHOR - timedelta(days=3)) == ANCHOR + timedelta(minutes=15)


def test_an_interval_ignores_clock_changes() -> None:
    fires = preview("every", "3600", "Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC), 3)
    assert [fire.local.hour for fire in fires] == [3, 4, 5]
    assert [fire.at.hour for fire in fires] == [1, 2, 3]
    assert all(fire.note is None for fire in fires)


def test_an_interval_is_exact_after_a_million_steps() -> None:
    every = parse_timetable("every", "1.000001", "UTC", anchor=ANCHOR)
    target = ANCHOR + timedelta(seconds=1_000_000, microseconds=1_000_000)
    assert every.next_after(target - timedelta(microseconds=1)) == target


def test_an_interval_ends_with_the_calendar() -> None:
    assert EveryTimetable(timedelta(days=366), ANCHOR).next_after(datetime(9999, 12, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize("text", ["1", "1.5", "86400", "31622400", "900.0"])
def test_intervals_from_a_second_to_366_days_are_accepted(text: str) -> None:
    assert parse_timetable("every", text, "UTC").next_after(ANCHOR) is not None


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.5", "-1", "31622401", "1e3", "15m", "PT5S", "nan", "inf", "9" * 400, "1.0000001", " 5", "\u0665"],
)
def test_other_intervals_are_refused(text: str) -> None:
    (problem,) = problems("every", text)
    assert (problem.loc, problem.code) == (("every",), "invalid_interval")
    assert "1 second to 366 days" in problem.message


@pytest.mark.parametrize("text", ["2027-01-01T00:00:00+01:00", "2026-12-31T23:00:00Z", "2026-12-31 18:00-05:00"])
def test_an_instant_is_due_once(text: str) -> None:
    at = parse_timetable("at", text, "Europe/Berlin")
    due = datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert at.next_after(ANCHOR) == due
    assert at.next_after(due) is None
    assert [fire.local.isoformat() for fire in preview("at", text, "Europe/Berlin", ANCHOR, 5)] == [
        "2027-01-01T00:00:00+01:00"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2027-01-01",
        "2027-01-01T00:00:00",
        "2027-13-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "2" * 500,
    ],
)
def test_an_instant_needs_a_date_a_time_and_an_offset(text: str) -> None:
    (problem,) = problems("at", text)
    assert (problem.loc, problem.code) == (("at",), "invalid_instant")
    assert "2027-01-01T00:00:00+01:00" in problem.message
    assert len(problem.message) < 200


@pytest.mark.parametrize(
    "zone", ["UTC", "Etc/GMT-14", "Asia/Kathmandu", "Australia/Lord_Howe", "US/Eastern", "EST5EDT"]
)
def test_iana_names_are_zones(zone: str) -> None:
    assert parse_timetable("schedule", "0 0 * * *", zone).next_after(ANCHOR) is not None


@pytest.mark.parametrize(
    "zone",
    ["", " ", "/etc/localtime", "../UTC", "/usr/share/zoneinfo/UTC", "right/UTC", "posix/UTC", "localtime", "Factory",
     "posixrules", "zone.tab", "Europe", "Europe/", "UTC\0", "UTC ", "+02:00", "GMT+2", "x" * 5000, "europe/berlin"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("kind", "expression"), [("schedule", "@daily"), ("every", "60"), ("at", "2027-01-01T00:00:00Z")]
)
def test_other_zones_are_refused_for_every_kind(kind: str, expression: str, zone: str) -> None:
    (problem,) = problems(kind, expression, zone)
    assert (problem.loc, problem.code) == (("timezone",), "unknown_timezone")
    assert len(problem.message) < 200


@pytest.mark.parametrize(
    ("zone", "near"),
    [
        ("Europe/Berlni", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("America/NewYork", "America/New_York"),
    ],
)
def test_a_name_that_is_nearly_a_zone_gets_the_nearest(zone: str, near: str) -> None:
    assert f"did you mean {near}?" in problems("schedule", "@daily", zone)[0].message


@pytest.mark.parametrize("zone", ["GMT+2", "UTC+2", "Mars/Olympus"])
def test_an_offset_or_a_far_name_gets_no_suggestion(zone: str) -> None:
    assert "did you mean" not in problems("schedule", "@daily", zone)[0].message


def test_a_wrong_expression_and_a_wrong_zone_are_reported_together() -> None:
    found = problems("schedule", "61 25 * * *", "Nowhere")
    assert [problem.loc for problem in found] == [("schedule",), ("schedule",), ("timezone",)]


def test_a_hashed_schedule_follows_its_seed() -> None:
    one, other = (
        [parse_timetable("schedule", "H H * * *", "UTC", seed=seed).next_after(ANCHOR) for _ in range(2)]
        for seed in ("nightly/schedule-1", "nightly/schedule-2")
    )
    assert one[0] == one[1]
    assert one != other


def test_a_kind_without_times_has_no_timetable() -> None:
    with pytest.raises(ValueError, match="manual"):
        parse_timetable("manual", "", "UTC")

"""The fire oracle, against times that were worked out by hand for clock changes of all kinds."""

from datetime import UTC, datetime, timedelta

import pytest

from faults.oracle import cron_times, interval_times

T0 = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)

VECTORS = [
    ("Europe/Berlin", "30 2 * * *", "2026-03-28T00:00", "2026-03-30T12:00", "28T01:30 29T01:00 30T00:30"),
    ("Europe/Berlin", "*/30 * * * *", "2026-03-29T00:29", "2026-03-29T01:30", "29T00:30 29T01:00 29T01:30"),
    ("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00", "2026-10-25T12:00", "25T00:30"),
    (
        "Europe/Berlin",
        "*/30 * * * *",
        "2026-10-24T23:59",
        "2026-10-25T02:00",
        "25T00:00 25T00:30 25T01:00 25T01:30 25T02:00",
    ),
    ("Europe/Berlin", "0 3 * * *", "2026-10-25T00:00", "2026-10-25T12:00", "25T02:00"),
    ("America/New_York", "30 2 * * *", "2026-03-08T00:00", "2026-03-08T23:00", "08T07:00"),
    ("America/New_York", "30 1 * * *", "2026-11-01T00:00", "2026-11-01T23:00", "01T05:30"),
    ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T12:00", "2026-10-04T12:00", "03T15:30"),
    ("Pacific/Apia", "0 12 * * *", "2011-12-29T12:00", "2011-12-31T12:00", "29T22:00 30T22:00"),
    ("Asia/Kathmandu", "0 2 * * *", "2026-11-21T00:00", "2026-11-22T00:00", "21T20:15"),
    ("UTC", "59 23 31 12 *", "2026-12-31T00:00", "2027-01-01T00:00", "31T23:59"),
    ("UTC", "0 0 * * 7", "2026-11-21T12:00", "2026-11-28T12:00", "22T00:00"),
    ("UTC", "0 0 13 * 5", "2026-11-12T12:00", "2026-11-21T12:00", "13T00:00 20T00:00"),
    ("UTC", "0 0 */2 * 6", "2026-11-20T12:00", "2026-11-28T12:00", "21T00:00"),
    ("UTC", "*/20 * * * * *", "2026-11-21T08:00", "2026-11-21T08:01", "21T08:00:20 21T08:00:40 21T08:01"),
]


@pytest.mark.parametrize(("zone", "expression", "start", "end", "expected"), VECTORS)
def test_a_vector_comes_out(zone: str, expression: str, start: str, end: str, expected: str) -> None:
    first, last = (datetime.fromisoformat(f"{moment}+00:00") for moment in (start, end))
    month = first.strftime("%Y-%m-")
    times = [datetime.fromisoformat(f"{month}{moment}+00:00") for moment in expected.split()]
    assert cron_times(expression, zone, first, last) == times


def test_an_interval_keeps_its_phase() -> None:
    times = interval_times(T0, timedelta(seconds=7), T0 + timedelta(seconds=10), T0 + timedelta(seconds=28))
    assert [(at - T0).total_seconds() for at in times] == [14, 21, 28]


@pytest.mark.parametrize("expression", ["H * * * *", "0 9 LW * *", "* * * *", "61 * * * *", "0 0 * * MON"])
def test_what_the_oracle_does_not_know_it_refuses(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        cron_times(expression, "UTC", T0, T0 + timedelta(minutes=1))

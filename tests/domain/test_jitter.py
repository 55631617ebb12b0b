"""Jitter: the same for one trigger for ever, and spread evenly over many."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_domain.schedule.jitter import jitter_of

MINUTE = timedelta(minutes=1)


@given(st.text(), st.timedeltas(timedelta(), timedelta(days=366)))
def test_a_jitter_is_whole_milliseconds_inside_its_window(seed: str, window: timedelta) -> None:
    jitter = jitter_of(seed, window)
    assert timedelta() <= jitter
    assert jitter < window or window == jitter == timedelta()
    assert jitter % timedelta(milliseconds=1) == timedelta()


def test_a_jitter_never_changes() -> None:
    """Known values: another process, version or machine must come to the same."""
    assert jitter_of("nightly/schedule-1", timedelta(minutes=5)) == timedelta(milliseconds=269908)
    assert jitter_of("nightly/schedule-2", timedelta(minutes=5)) == timedelta(milliseconds=59133)


def test_a_thousand_triggers_share_a_minute_evenly() -> None:
    """Chi-square over 60 seconds with 6,000 triggers: 59 degrees of freedom, 98.3 is passed once in a thousand."""
    per_second = [0] * 60
    for n in range(6000):
        per_second[jitter_of(f"trigger-{n}", MINUTE) // timedelta(seconds=1)] += 1
    assert sum((found - 100) ** 2 / 100 for found in per_second) < 98.3


def test_every_millisecond_of_a_window_is_used() -> None:
    found = {jitter_of(f"trigger-{n}", timedelta(milliseconds=10)) for n in range(500)}
    assert found == {timedelta(milliseconds=n) for n in range(10)}


@pytest.mark.parametrize("window", [timedelta(), timedelta(microseconds=1), timedelta(milliseconds=1)])
def test_a_window_too_short_to_spread_over_gives_none(window: timedelta) -> None:
    assert jitter_of("trigger", window) == timedelta()


def test_a_negative_window_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        jitter_of("trigger", -MINUTE)

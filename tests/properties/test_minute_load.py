"""The load of minutes against a count that looks at every run in every minute."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_application.schedule.load import CROWD_SHARE, HERD, TOP_MINUTES, crowded_minutes, load_of

MINUTES = 90
SECONDS = MINUTES * 60
RUNS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, SECONDS - 1), st.integers(0, MINUTES - 1).map(lambda minute: minute * 60)),
        st.one_of(st.just(0), st.just(60), st.integers(0, 2 * SECONDS)),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(RUNS)
def test_starts_and_busy_slots_are_counted_minute_by_minute(runs: list[tuple[int, int]]) -> None:
    load = load_of(((float(start), float(duration)) for start, duration in runs), MINUTES)
    for minute in range(MINUTES):
        begin, end = minute * 60, (minute + 1) * 60
        assert load.starts[minute] == sum(begin <= start < end for start, _ in runs)
        busy = sum(max(0, min(start + duration, end) - max(start, begin)) for start, duration in runs)
        assert load.busy[minute] == pytest.approx(busy / 60, abs=0.001)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, MINUTES - 1), max_size=150), st.integers(0, 5), st.integers(0, 59))
def test_no_minute_over_the_slots_is_missed_and_none_is_crowded_without_reason(
    starts: list[int], slots: int, first: int
) -> None:
    load = load_of(((minute * 60.0, 30.0) for minute in starts), MINUTES)
    crowded = crowded_minutes(load, slots, first)
    assert len(crowded) == len(set(crowded))
    counts = [load.starts[minute] for minute in crowded]
    assert counts == sorted(counts, reverse=True)
    of_hour = Counter((minute + first) // 60 for minute in starts)
    for minute, count in enumerate(load.starts):
        over = slots > 0 and count > slots
        stands_out = count >= HERD and count >= CROWD_SHARE * of_hour[(minute + first) // 60]
        assert minute in crowded or not over
        assert minute not in crowded or over or stands_out
        assert minute in crowded or not stands_out or count < max(load.starts) or load.starts.count(count) > TOP_MINUTES

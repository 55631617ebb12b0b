"""How growth is told from samples."""

import pytest

from benchmarks.measures.memory import Sample, growths


def test_what_grows_while_it_warms_up_does_not_count() -> None:
    warming = [Sample(10_000, {"api": 50.0}), Sample(20_000, {"api": 90.0})]
    steady = [Sample(tasks, {"api": 100.0}) for tasks in (30_000, 50_000, 70_000, 100_000)]
    assert growths([*warming, *steady])["api"] == {
        "first_mb": 100.0,
        "last_mb": 100.0,
        "most_mb": 100.0,
        "slope_mb_per_10000": 0.0,
    }


def test_a_leak_is_megabytes_for_ten_thousand_tasks() -> None:
    leaking = [Sample(tasks, {"worker": 80 + tasks / 10_000 * 2.5}) for tasks in range(10_000, 110_000, 10_000)]
    assert growths(leaking)["worker"]["slope_mb_per_10000"] == pytest.approx(2.5)


def test_a_process_that_was_not_always_there_counts_where_it_was() -> None:
    found = growths([Sample(100, {"api": 1.0}), Sample(200, {"api": 1.0, "worker_2": 7.0})])
    assert found["worker_2"]["first_mb"] == 7.0

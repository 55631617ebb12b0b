"""What is made of samples."""

import pytest

from benchmarks.figures import percentiles, ratio, slope


def test_percentiles_lie_among_the_samples_and_do_not_depend_on_their_order() -> None:
    found = percentiles([float(number) for number in reversed(range(101))])
    assert found == {"p50": 50.0, "p99": 99.0, "max": 100.0}


def test_one_sample_is_every_percentile() -> None:
    assert percentiles([3.5]) == {"p50": 3.5, "p99": 3.5, "max": 3.5}


def test_a_slope_is_the_growth_for_each_unit_and_noise_around_it_cancels() -> None:
    assert slope([(0, 10.0), (1, 12.0), (2, 14.0)]) == pytest.approx(2.0)
    assert slope([(0, 10.0), (1, 11.0), (2, 9.0), (3, 10.0)]) == pytest.approx(-0.2)


def test_points_at_one_place_have_no_slope() -> None:
    assert slope([(1, 10.0), (1, 20.0)]) == 0.0
    assert slope([(1, 10.0)]) == 0.0


def test_a_ratio_to_nothing_is_no_number() -> None:
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, 0.0) is None

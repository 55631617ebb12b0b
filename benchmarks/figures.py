"""What is made of samples: percentiles, slopes, ratios."""

import statistics
from collections.abc import Sequence


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """``p50``, ``p99`` and ``max`` of at least one sample."""
    if len(samples) == 1:
        return {"p50": samples[0], "p99": samples[0], "max": samples[0]}
    cuts = statistics.quantiles(samples, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98], "max": max(samples)}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How much the second number grows for each one of the first, by least squares; 0 where the first never differs."""
    if len({first for first, _ in points}) < 2:
        return 0.0
    firsts, seconds = zip(*points, strict=True)
    return statistics.linear_regression(firsts, seconds).slope


def ratio(value: float, base: float) -> float | None:
    """``value`` as a multiple of ``base``; None where there is nothing to compare with."""
    return value / base if base else None

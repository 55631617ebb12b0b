"""The tasks of the benchmarks."""

import time


def nothing() -> None:
    """An empty function: what it costs is what the engine costs."""


def now() -> float:
    """Seconds since the epoch at which the function began."""
    return time.time()

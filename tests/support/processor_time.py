"""What work costs, where a test has to bound it."""

import time
from collections.abc import Callable

TRIES = 3


def quickest(work: Callable[[], object]) -> float:
    """Seconds of processor time, of `TRIES`: the garbage of all the tests before may be collected during one."""
    seconds = []
    for _ in range(TRIES):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)

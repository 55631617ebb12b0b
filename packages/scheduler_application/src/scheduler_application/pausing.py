"""Pauses that end early, and pauses that grow. Who waits passes in ``sleep``, so that a test can turn the time."""

import asyncio
from collections.abc import Awaitable, Callable

from scheduler_application.ports.time import Randomness

Sleep = Callable[[float], Awaitable[None]]
"""Returns after so many seconds: `asyncio.sleep`, or a test's own."""


async def set_within(event: asyncio.Event, seconds: float, sleep: Sleep) -> bool:
    """Whether ``event`` is set before ``seconds`` are over; returns at once when it is."""
    if not event.is_set() and seconds > 0:
        await first_of(event.wait(), sleep(seconds))
    return event.is_set()


async def first_of(*works: Awaitable[object]) -> None:
    """Returns when one of ``works`` is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class Backoff:
    """Pauses between tries: each up to twice as long as the one before, at most ``longest`` seconds, drawn by chance so
    that many who failed together do not come back together."""

    def __init__(self, randomness: Randomness, *, first: float = 0.1, longest: float = 5.0) -> None:
        self._randomness = randomness
        self._first = first
        self._longest = longest
        self._ceiling = first

    def next(self) -> float:
        """Seconds until the next try."""
        pause = self._randomness.uniform(self._ceiling / 2, self._ceiling)
        self._ceiling = min(self._ceiling * 2, self._longest)
        return pause

    def reset(self) -> None:
        """A try worked: the next failure begins with the first pause again."""
        self._ceiling = self._first

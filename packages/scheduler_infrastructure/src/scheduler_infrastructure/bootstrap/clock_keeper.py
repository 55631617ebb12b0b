"""Keeping a process's clock with the database's, and saying so when that one makes a step."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from scheduler_application.errors import ApplicationError
from scheduler_application.pausing import Sleep
from scheduler_application.ports.observing import Metrics
from scheduler_infrastructure.clock import StoreClock

EVERY_SECONDS = 2.0
STEP_SECONDS = 5.0
"""Two clocks that run do not part by so much between two looks; whoever set one of them must be told."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class ClockKeeper:
    """``ask`` answers the database's time minus the monotonic one, in seconds, or raises `ApplicationError`."""

    def __init__(
        self, ask: Callable[[], Awaitable[float]], clock: StoreClock, metrics: Metrics, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._metrics = metrics
        self._sleep = sleep
        self._known: float | None = None

    async def keep(self) -> None:
        """Looks again and again, until it is cancelled."""
        while True:
            await self._sleep(EVERY_SECONDS)
            await self.look()

    async def look(self) -> None:
        """While the store is away the last offset stands: two clocks do not part by much meanwhile."""
        try:
            offset = await self._ask()
        except ApplicationError:
            return
        step = 0.0 if self._known is None else offset - self._known
        self._known = offset
        self._clock.set_offset(offset)
        if abs(step) > STEP_SECONDS:
            self._metrics.clock_stepped()
            _log.error("the database's clock made a step", seconds=round(step, 3))

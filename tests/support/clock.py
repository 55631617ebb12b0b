"""A clock that the test turns."""

import asyncio
from datetime import UTC, datetime, timedelta


class ManualClock:
    """`Clock`: stands still until it is told to move. Monotonic seconds move with it, never back."""

    def __init__(self, start: datetime = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 1_000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Sleepers whose time has come wake; they run when the test waits next."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += max(seconds, 0.0)
        for moment, sleeper in self._sleepers:
            if moment <= self._monotonic and not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """`asyncio.sleep`, by this clock."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self._monotonic + seconds, sleeper)
        if seconds <= 0:
            sleeper.set_result(None)
        self._sleepers.append(entry)
        self._changed.set()
        try:
            await sleeper
        finally:
            self._sleepers.remove(entry)

    def next_wake(self) -> float | None:
        """Seconds until the first sleeper's time comes; ``None`` where nobody sleeps."""
        moments = [moment for moment, sleeper in self._sleepers if not sleeper.done()]
        return min(moments) - self._monotonic if moments else None

    async def slept_on(self, seconds: float) -> None:
        """Returns when somebody sleeps for exactly ``seconds`` from now."""
        while not any(abs(moment - self._monotonic - seconds) < 1e-6 for moment, _ in self._sleepers):
            self._changed.clear()
            await self._changed.wait()

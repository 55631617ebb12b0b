"""The worker's lease, as the worker sees it: it trusts itself only until a deadline that it counts itself."""

import asyncio
from collections.abc import Callable

import structlog

from scheduler_application.errors import Unavailable
from scheduler_application.pausing import Backoff, Sleep
from scheduler_application.ports.time import Clock, Randomness
from scheduler_application.worker.membership import Heartbeat, HeartbeatAnswer

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Lease:
    """The lease of one worker identity. `keep` renews it, `guard` ends it in time; ``lost`` is set when it is over.

    The deadline counts from the start of the last renewal that succeeded: the store's clock cannot have begun later.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        worker_id: str,
        clock: Clock,
        sleep: Sleep,
        randomness: Randomness,
        *,
        every: float,
        fence_after: float,
        on_answer: Callable[[HeartbeatAnswer], None],
    ) -> None:
        self._heartbeat = heartbeat
        self._worker_id = worker_id
        self._clock = clock
        self._sleep = sleep
        self._randomness = randomness
        self._every = every
        self._fence_after = fence_after
        self._on_answer = on_answer
        self._trusted_until = 0.0
        self.lost = asyncio.Event()
        self.renewed_at: float | None = None
        self.tried_at: float | None = None
        """Monotonic; the second is that of the last try, whatever came of it."""

    @property
    def trusted(self) -> bool:
        """Whether what this worker holds is still its own; asks nobody."""
        if self._clock.monotonic() >= self._trusted_until:
            self.lost.set()
        return not self.lost.is_set()

    def renewed(self, started: float) -> None:
        """A call that began at ``started`` took or prolonged the lease."""
        self._trusted_until = started + self._fence_after
        self.renewed_at = started

    async def keep(self) -> None:
        """Renews until the lease is lost."""
        backoff = Backoff(self._randomness, first=0.5, longest=self._every)
        while not self.lost.is_set():
            started = self.tried_at = self._clock.monotonic()
            try:
                answer = await self._heartbeat.execute(self._worker_id)
            except Unavailable as error:
                _log.warning("the lease could not be renewed", worker_id=self._worker_id, reason=str(error))
                await self._sleep(backoff.next())
                continue
            backoff.reset()
            self._take_in(answer, started)
            await self._sleep(max(started + self._every - self._clock.monotonic(), 0.0))

    async def guard(self) -> None:
        """Returns when the lease may not be trusted any more."""
        while self.trusted:
            await self._sleep(self._trusted_until - self._clock.monotonic())

    def _take_in(self, answer: HeartbeatAnswer, started: float) -> None:
        if not answer.alive:
            self.lost.set()
            return
        # A late answer must not bring back what the guard has given up.
        if self.trusted:
            self.renewed(started)
            self._on_answer(answer)

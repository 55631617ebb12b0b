"""The worker's intake: hints are taken, claimed in one statement, and acknowledged after the claim's commit.

A delivery is never held for long: what there is no room for goes back as one confirmed message, and a full worker
gives back what the broker sent ahead, so that others get it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple, TypeVar

import structlog

from scheduler_application.errors import ApplicationError, Unavailable
from scheduler_application.pausing import Backoff, Sleep, first_of
from scheduler_application.ports.messaging import Delivery, Hint, HintPublisher, HintSource, Lane
from scheduler_application.ports.time import Clock, Randomness
from scheduler_worker.claiming import Claimer
from scheduler_worker.slots import Slots

FULL_SECONDS = 0.25
"""A worker that had no room for so long takes no deliveries in advance."""

HELD_FOR_ROOM_SECONDS = 0.05
HELD_SECONDS = 3.0
"""No claim of a delivery begins later than this, so that none is held for more than 5 s."""

WATCH_SECONDS = 15.0

T = TypeVar("T")

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class IntakeBroken(Exception):
    """The broker does not see this worker's consumers, not even after they were opened again."""


class _Waiting(NamedTuple):
    lane: Lane
    hint: Hint


class Intake:
    """Takes hints for one worker identity: `run` until `stop`, with `watch` beside it."""

    def __init__(
        self,
        source: HintSource,
        publisher: HintPublisher,
        queues: Sequence[str],
        slots: Slots,
        claimer: Claimer,
        clock: Clock,
        sleep: Sleep,
        randomness: Randomness,
    ) -> None:
        self._source = source
        self._publisher = publisher
        self._queues = queues
        self._slots = slots
        self._claimer = claimer
        self._clock = clock
        self._sleep = sleep
        self._randomness = randomness
        self._stopped = False
        self._opened = False
        self._pending: asyncio.Future[Any] | None = None
        self.finished = asyncio.Event()

    async def run(self) -> None:
        """Returns after `stop`, when everything that was taken is claimed or given back."""
        # The connection has pauses of its own; where there is none, a try costs the broker nothing.
        backoff = Backoff(self._randomness, first=0.2, longest=1.0)
        try:
            while not self._stopped:
                try:
                    await self._step()
                    backoff.reset()
                except ApplicationError as error:
                    _log.warning("no hints can be taken just now", reason=str(error))
                    await self._unless_stopped(self._sleep(backoff.next()))
        finally:
            self.finished.set()
            await self._source.close()

    def stop(self) -> None:
        """Takes nothing more from now on."""
        self._stopped = True
        self._interrupt()

    async def watch(self) -> None:
        """Asks the broker from time to time whether it sees this worker; opens again once where it does not, and raises
        `IntakeBroken` where that did not help. A broker that is away is waited for. Returns after `stop`."""
        reopened = False
        while True:
            await self._sleep(WATCH_SECONDS)
            if self._stopped:
                return
            if not self._opened or await self._is_healthy():
                reopened = False
                continue
            if reopened:
                raise IntakeBroken("the broker does not see this worker's consumers")
            _log.warning("the broker does not see this worker's consumers; opening them again")
            reopened = True
            self._opened = False
            self._interrupt()

    async def _step(self) -> None:
        if not self._opened:
            await self._source.close()
            await self._source.open(self._queues)
            self._opened = True
        if not await self._has_room():
            return
        deliveries = await self._unless_stopped(self._source.take(self._slots.room or 1))
        if deliveries:
            await self._work_off(deliveries)

    async def _has_room(self) -> bool:
        if not self._slots.room:
            await self._unless_stopped(first_of(self._slots.opened(), self._sleep(FULL_SECONDS)))
        if not self._slots.room and not self._stopped:
            await self._source.pause()
            await self._unless_stopped(self._slots.opened())
        return self._slots.room > 0

    async def _work_off(self, deliveries: Sequence[Delivery]) -> None:
        try:
            left = await self._claim([_Waiting(one.lane, hint) for one in deliveries for hint in one.hints])
            await self._put_back(left)
        except ApplicationError:
            await asyncio.gather(*(delivery.give_back() for delivery in deliveries))
            raise
        await asyncio.gather(*(delivery.ack() for delivery in deliveries))

    async def _claim(self, waiting: list[_Waiting]) -> Sequence[_Waiting]:
        """Claims as far as there is room; what is left."""
        deadline = self._clock.monotonic() + HELD_SECONDS
        try:
            while waiting and not self._stopped and self._clock.monotonic() < deadline:
                if not self._slots.room:
                    self._slots.spoken_for = True
                    await self._unless_stopped(first_of(self._slots.opened(), self._sleep(HELD_FOR_ROOM_SECONDS)))
                room = self._slots.room
                if not room:
                    break
                part, waiting = waiting[:room], waiting[room:]
                await self._claimer.claim([(str(hint.task_run_id), hint.claim_no) for _, hint in part])
        finally:
            self._slots.spoken_for = False
        return waiting

    async def _put_back(self, waiting: Sequence[_Waiting]) -> None:
        lanes: dict[Lane, list[Hint]] = defaultdict(list)
        for lane, hint in waiting:
            lanes[lane].append(hint)
        for lane, hints in lanes.items():
            await self._publisher.publish(lane, hints)

    async def _is_healthy(self) -> bool:
        """Whether there is nothing to mend here: a broker that is away is mended elsewhere."""
        try:
            return await self._source.healthy()
        except Unavailable:
            return True

    async def _unless_stopped(self, work: Awaitable[T]) -> T | None:
        """The result of ``work``; ``None`` where the intake was interrupted meanwhile."""
        pending = asyncio.ensure_future(work)
        self._pending = pending
        if self._stopped:
            pending.cancel()
        try:
            await asyncio.wait({pending})
        except asyncio.CancelledError:
            pending.cancel()
            raise
        finally:
            self._pending = None
        return None if pending.cancelled() else pending.result()

    def _interrupt(self) -> None:
        if self._pending is not None:
            self._pending.cancel()

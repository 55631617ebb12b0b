"""A worker's intake: a consumer on every lane, a shelf for what arrived, chores for what a callback must not do."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog
from aio_pika.abc import AbstractIncomingMessage

from scheduler_application.errors import Unavailable
from scheduler_application.lanes import Turns, lanes_of
from scheduler_application.ports.messaging import Delivery, Lane
from scheduler_infrastructure.messaging.consumer import LaneConsumer
from scheduler_infrastructure.messaging.delivery import RabbitDelivery, give_back, settle
from scheduler_infrastructure.messaging.envelope import BadMessage, decode
from scheduler_infrastructure.messaging.link import ConnectionLost, Link, end
from scheduler_infrastructure.messaging.publishing import RabbitPublisher
from scheduler_infrastructure.messaging.topology import Topology

PREFETCH = 16
"""Messages that wait here per lane: enough for a take of many small ones, few to give back when each has 200 hints."""
OPEN_SECONDS = 3.0
GIVE_BACK_SECONDS = 4.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class RabbitHintSource:
    """A `HintSource`. Consumers only put what arrives on the shelf: aiormq cancels what runs in a callback when the
    connection drops. What is on the shelf then comes again, here or elsewhere, and is forgotten."""

    def __init__(self, link: Link, topology: Topology, publisher: RabbitPublisher, *, prefetch: int = PREFETCH) -> None:
        self._link = link
        self._topology = topology
        self._publisher = publisher
        self._prefetch = prefetch
        self._consumers: list[LaneConsumer] = []
        self._turns = Turns(())
        self._shelf: dict[Lane, deque[RabbitDelivery]] = {}
        self._arrived = asyncio.Event()
        # Bounded by the prefetch: each chore settles a message.
        self._chores: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._complained: set[str] = set()
        self._taking = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, queues: Sequence[str]) -> None:
        """Returns when messages can arrive, or after `OPEN_SECONDS`: a broker that is away is tried again and again."""
        lanes = lanes_of(queues)
        self._shelf = {lane: deque() for lane in lanes}
        self._turns = Turns(queues)
        self._consumers = [self._consumer(lane) for lane in lanes]
        self._taking = True
        self._link.start()
        self._tasks.add(asyncio.create_task(self._do_chores()))
        self._tasks |= {asyncio.create_task(consumer.keep()) for consumer in self._consumers}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_SECONDS):
                for consumer in self._consumers:
                    await consumer.ready.wait()

    async def take(self, max_hints: int) -> list[Delivery]:
        if not self._taking:
            self._taking = True
            # Shielded: a call to the broker that is cancelled half way costs its channel.
            await asyncio.shield(self._spawn(self._resume()))
        while True:
            taken = self._turns.take(self._shelf, max_hints)
            if taken:
                return list(taken)
            self._arrived.clear()
            await self._arrived.wait()

    async def pause(self) -> None:
        self._taking = False
        await asyncio.shield(self._spawn(self._stop_taking()))

    async def close(self) -> None:
        if not self._consumers:
            return
        await self.pause()
        self._consumers = []
        tasks, self._tasks = self._tasks, set()
        await end(tasks)

    async def healthy(self) -> bool:
        if self._consumers and not self._link.is_up:
            raise Unavailable("the broker is away")
        try:
            seen = await asyncio.gather(*(consumer.is_seen() for consumer in self._consumers))
        except (Unavailable, ConnectionLost):
            return False
        return bool(seen) and all(seen)

    def _consumer(self, lane: Lane) -> LaneConsumer:
        return LaneConsumer(
            self._link, self._topology, lane, prefetch=self._prefetch, arrive=self._arrive, forget=self._forget
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _resume(self) -> None:
        await asyncio.gather(*(consumer.resume() for consumer in self._consumers))

    async def _stop_taking(self) -> None:
        await asyncio.gather(*(consumer.pause() for consumer in self._consumers))
        held = [list(deliveries) for deliveries in self._shelf.values() if deliveries]
        for deliveries in self._shelf.values():
            deliveries.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await asyncio.gather(*(give_back(deliveries, self._publisher) for deliveries in held))

    def _arrive(self, lane: Lane, message: AbstractIncomingMessage) -> None:
        try:
            hints, traceparent = decode(message.body)
        except BadMessage as bad:
            self._chores.put_nowait(partial(self._bury, lane, message, bad.reason))
            return
        delivery = RabbitDelivery(lane, hints, traceparent, message, self._publisher)
        if self._taking:
            self._shelf[lane].append(delivery)
            self._arrived.set()
        else:
            self._chores.put_nowait(delivery.give_back)

    def _forget(self, lane: Lane) -> None:
        self._shelf[lane].clear()

    async def _do_chores(self) -> None:
        while True:
            chore = await self._chores.get()
            try:
                await chore()
            except Exception:
                log.exception("hints_chore_failed")

    async def _bury(self, lane: Lane, message: AbstractIncomingMessage, reason: str) -> None:
        self._complain(lane, reason, len(message.body))
        try:
            await self._publisher.bury(lane, message.body, reason)
        except Unavailable:
            # The broker moves it to the dead letters itself, then without the reason.
            await settle(lambda: message.reject(requeue=False))
        else:
            await settle(message.ack)

    def _complain(self, lane: Lane, reason: str, size: int) -> None:
        """Logs the first of a kind only, so that a flood of bad messages is not a flood of lines."""
        if reason not in self._complained:
            self._complained.add(reason)
            log.warning("bad_message", queue=self._topology.lane(lane), reason=reason, size=size)

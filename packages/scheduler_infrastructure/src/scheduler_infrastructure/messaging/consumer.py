"""The consumer of one lane, kept alive.

Each lane has a channel of its own, so that a queue which is deleted, or which hangs because the broker has lost its
leader, costs the others nothing.
"""

import asyncio
from collections.abc import Callable

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from scheduler_application.errors import Unavailable
from scheduler_application.ports.messaging import Lane
from scheduler_infrastructure.messaging.declaring import declare_lane
from scheduler_infrastructure.messaging.link import (
    CALL_SECONDS,
    ConnectionLost,
    Link,
    NoAnswer,
    close_quietly,
    noticing_loss,
)
from scheduler_infrastructure.messaging.topology import Topology

CHECK_SECONDS = 5.0
CONSUME_SECONDS = 5.0
"""Longer than other calls: after a restart the broker answers when the queue has elected its leader."""
PAUSE_SECONDS = 0.5

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class LaneConsumer:
    """``arrive`` gets every message and must not wait for anything; ``forget`` is called when none of those that came
    can be acknowledged any more. `keep` runs for as long as the lane is served."""

    def __init__(
        self,
        link: Link,
        topology: Topology,
        lane: Lane,
        *,
        prefetch: int,
        arrive: Callable[[Lane, AbstractIncomingMessage], None],
        forget: Callable[[Lane], None],
    ) -> None:
        self.lane = lane
        self.ready = asyncio.Event()
        """Set once the first messages can arrive."""
        self._link = link
        self._topology = topology
        self._prefetch = prefetch
        self._arrive = arrive
        self._forget = forget
        self._wanted = True
        self._switching = asyncio.Lock()
        self._channel: AbstractChannel | None = None
        # aio-pika holds the queue weakly.
        self._consuming: tuple[AbstractQueue, str] | None = None
        self._broken = asyncio.Event()
        self._complained = ""

    async def keep(self) -> None:
        """Declares, consumes, watches; and again when that ends."""
        while True:
            await self._link.wait_up()
            try:
                await declare_lane(self._link, self._topology, self.lane)
                await self._start()
                await self._watch()
            except NoAnswer as error:
                self._complain(error)
                self._link.suspect()
            except (Unavailable, ConnectionLost, TimeoutError) as error:
                self._complain(error)
            except Exception:
                # Whatever it is: a worker whose intake has ended looks alive and does nothing.
                log.exception("lane_failed", queue=self._topology.lane(self.lane))
            finally:
                await self._abandon()
            await asyncio.sleep(self._link.randomness.uniform(0, PAUSE_SECONDS))

    async def resume(self) -> None:
        self._wanted = True
        async with self._switching:
            try:
                await self._consume()
            except (ConnectionLost, TimeoutError):
                self._broken.set()

    async def pause(self) -> None:
        """When this returns, everything that the broker sent before has arrived."""
        self._wanted = False
        async with self._switching:
            try:
                await self._cancel()
            except (ConnectionLost, TimeoutError):
                self._broken.set()

    async def is_seen(self) -> bool:
        """Whether the broker has a consumer on the lane and this one thinks that it is there; while paused, whether
        the channel is there. Raises `ConnectionLost` or `NoAnswer`."""
        channel = self._channel
        if channel is None or self._broken.is_set():
            return False
        if not self._wanted:
            return True
        if self._consuming is None:
            return False
        try:
            async with noticing_loss(), asyncio.timeout(CALL_SECONDS):
                queue = await channel.declare_queue(self._topology.lane(self.lane), passive=True)
        except TimeoutError:
            raise NoAnswer("the broker does not say who consumes") from None
        return bool(queue.declaration_result.consumer_count)

    async def _start(self) -> None:
        channel = await self._link.open_channel()
        self._broken = broken = asyncio.Event()

        def break_off(*_: object) -> None:
            broken.set()

        channel.close_callbacks.add(break_off)
        async with self._switching:
            self._channel = channel
            async with noticing_loss(), asyncio.timeout(CALL_SECONDS):
                # The broker cancels consumers, when the queue is deleted for one; nothing else would tell.
                (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(break_off)
                await channel.set_qos(prefetch_count=self._prefetch)
            if self._wanted:
                await self._consume()
        self._complained = ""
        self.ready.set()

    async def _watch(self) -> None:
        """Returns when the consumer is of no more use."""
        while not self._broken.is_set():
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._broken.wait()
            except TimeoutError:
                async with self._switching:
                    if not await self.is_seen():
                        return

    async def _abandon(self) -> None:
        self._broken.set()
        channel, self._channel, self._consuming = self._channel, None, None
        self._forget(self.lane)
        if channel is not None:
            await close_quietly(channel)

    async def _consume(self) -> None:
        if self._channel is None or self._consuming is not None or not self._wanted:
            return
        broken = self._broken

        async def on_message(message: AbstractIncomingMessage) -> None:
            # What a broken channel brought cannot be acknowledged, and comes again.
            if not broken.is_set():
                self._arrive(self.lane, message)

        async with noticing_loss(), asyncio.timeout(CONSUME_SECONDS):
            queue = await self._channel.get_queue(self._topology.lane(self.lane), ensure=False)
            self._consuming = (queue, await queue.consume(on_message))

    async def _cancel(self) -> None:
        if self._consuming is None:
            return
        queue, tag = self._consuming
        self._consuming = None
        async with noticing_loss(), asyncio.timeout(CALL_SECONDS):
            await queue.cancel(tag)

    def _complain(self, error: Exception) -> None:
        """Logs what is new only: the keeper tries many times."""
        kind = type(error).__name__
        if kind != self._complained:
            self._complained = kind
            log.warning("lane_trouble", queue=self._topology.lane(self.lane), reason=f"{kind}: {error}")

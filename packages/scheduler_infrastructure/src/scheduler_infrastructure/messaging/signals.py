"""Wake-ups and commands: small messages that may be lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage

from scheduler_application.errors import Unavailable
from scheduler_infrastructure.messaging.link import (
    CALL_SECONDS,
    ConnectionLost,
    KeptChannel,
    Link,
    end,
    noticing_loss,
)
from scheduler_infrastructure.messaging.topology import COMMANDS_MAX_MESSAGES, Topology
from scheduler_infrastructure.resilience.feed import Feed

SEND_SECONDS = 0.5
PAUSE_SECONDS = 0.5
MAX_COMMAND_BYTES = 64 * 1024

DeclareExchange = Callable[[AbstractChannel], Awaitable[AbstractExchange]]

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class RabbitSignals:
    """`Signals` over exclusive queues that vanish with the connection; published without confirms. What begins to
    listen does so until `close`."""

    def __init__(self, publishing: Link, consuming: Link, topology: Topology) -> None:
        self._publishing = publishing
        self._consuming = consuming
        self._topology = topology
        self._channel = KeptChannel(publishing, confirms=False)
        self._listeners: set[asyncio.Task[None]] = set()

    async def wake_dispatchers(self) -> None:
        await self._send(self._topology.declare_wakes, "", b"")

    async def command(self, worker_id: str, command: Mapping[str, Any]) -> None:
        await self._send(self._topology.declare_commands, worker_id, msgspec.json.encode(command))

    def dispatcher_wakes(self) -> AsyncIterator[None]:
        feed: Feed[None] = Feed(room=1)
        self._listen(
            _Subscription(self._topology.declare_wakes, "", 1, lambda _: feed.put(None), lambda: feed.put(None))
        )
        return feed

    def commands(self, worker_id: str) -> AsyncIterator[Mapping[str, Any]]:
        feed: Feed[Mapping[str, Any]] = Feed(COMMANDS_MAX_MESSAGES)

        def hear(body: bytes) -> None:
            command = _decode_command(body)
            if command is not None:
                feed.put(command)

        self._listen(_Subscription(self._topology.declare_commands, worker_id, COMMANDS_MAX_MESSAGES, hear))
        return feed

    async def close(self) -> None:
        """Ends all listening."""
        listeners, self._listeners = self._listeners, set()
        await end(listeners)

    async def _send(self, declare: DeclareExchange, key: str, body: bytes) -> None:
        if not self._publishing.is_up:
            return
        try:
            async with asyncio.timeout(SEND_SECONDS), noticing_loss():
                exchange = await declare(await self._channel.get())
                await exchange.publish(Message(body), key, mandatory=False)
        except (Unavailable, ConnectionLost, TimeoutError) as error:
            log.debug("signal_lost", reason=str(error))

    def _listen(self, subscription: "_Subscription") -> None:
        self._consuming.start()
        self._listeners.add(asyncio.create_task(self._keep(subscription)))

    async def _keep(self, subscription: "_Subscription") -> None:
        """Subscribes, and again after each loss."""
        while True:
            await self._consuming.wait_up()
            try:
                async with self._consuming.brief_channel() as channel:
                    broken = await subscription.start(channel)
                    await broken.wait()
            except (Unavailable, ConnectionLost, TimeoutError) as error:
                log.debug("signals_interrupted", reason=str(error))
            except Exception:
                # Whatever it is: a worker that hears no commands any more looks alive.
                log.exception("signals_failed")
            await asyncio.sleep(self._consuming.randomness.uniform(0, PAUSE_SECONDS))


@dataclass(frozen=True, slots=True)
class _Subscription:
    """What to listen to, and whom to tell; in the broker at most ``room`` messages wait, the oldest goes."""

    declare: DeclareExchange
    key: str
    room: int
    hear: Callable[[bytes], None]
    connected: Callable[[], None] = lambda: None
    """Called after each connection, as something may have been missed before."""

    async def start(self, channel: AbstractChannel) -> asyncio.Event:
        """Returns what is set when the subscription is gone."""
        broken = asyncio.Event()

        def break_off(*_: object) -> None:
            broken.set()

        async with asyncio.timeout(CALL_SECONDS), noticing_loss():
            channel.close_callbacks.add(break_off)
            underlay = await channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(break_off)
            exchange = await self.declare(channel)
            queue = await channel.declare_queue(exclusive=True, arguments={"x-max-length": self.room})
            await queue.bind(exchange, self.key)
            await queue.consume(self._on_message, no_ack=True)
        self.connected()
        return broken

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        self.hear(message.body)


def _decode_command(body: bytes) -> Mapping[str, Any] | None:
    with contextlib.suppress(msgspec.MsgspecError, RecursionError):
        if len(body) <= MAX_COMMAND_BYTES:
            return msgspec.json.decode(body, type=dict[str, Any])
    log.warning("command_malformed", size=len(body))
    return None

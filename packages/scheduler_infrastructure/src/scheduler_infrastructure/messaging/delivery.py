"""One message taken from a lane, and its two ends."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from aio_pika.abc import AbstractIncomingMessage

from scheduler_application.errors import Unavailable
from scheduler_application.ports.messaging import Hint, Lane
from scheduler_infrastructure.messaging.link import ConnectionLost, noticing_loss
from scheduler_infrastructure.messaging.publishing import RabbitPublisher

CALL_SECONDS = 2.0


class RabbitDelivery:
    """``traceparent`` is the publish span's context, where the publisher had one."""

    def __init__(
        self,
        lane: Lane,
        hints: Sequence[Hint],
        traceparent: str | None,
        message: AbstractIncomingMessage,
        publisher: RabbitPublisher,
    ) -> None:
        self.lane = lane
        self.hints = hints
        self.traceparent = traceparent
        self._message = message
        self._publisher = publisher

    async def ack(self) -> None:
        await settle(self._message.ack)

    async def give_back(self) -> None:
        await give_back([self], self._publisher)

    async def requeue(self) -> None:
        """Leaves it to the broker, which counts this against the delivery limit."""
        await settle(lambda: self._message.nack(requeue=True))


async def give_back(deliveries: Sequence[RabbitDelivery], publisher: RabbitPublisher) -> None:
    """Publishes the hints of deliveries of one lane again, as few messages, then acknowledges the old ones.

    A negative acknowledgement would count against the delivery limit, so that a message that often met a busy worker
    would end as a dead letter: that is only for when the publish fails.
    """
    hints = [hint for delivery in deliveries for hint in delivery.hints]
    try:
        await publisher.publish(deliveries[0].lane, hints)
    except Unavailable:
        await asyncio.gather(*(delivery.requeue() for delivery in deliveries))
    else:
        await asyncio.gather(*(delivery.ack() for delivery in deliveries))


async def settle(settlement: Callable[[], Awaitable[None]]) -> None:
    """Acknowledges or refuses a message. When that fails the connection has gone, and others get the message."""
    with contextlib.suppress(TimeoutError, ConnectionLost):
        async with noticing_loss(), asyncio.timeout(CALL_SECONDS):
            await settlement()

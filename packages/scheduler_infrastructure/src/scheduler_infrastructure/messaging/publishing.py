"""Hints to the broker: every message confirmed, or the caller knows that it may not be there."""

import asyncio
from collections.abc import Callable, Sequence

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, HeadersType
from aio_pika.exceptions import DeliveryError, PublishError

from scheduler_application.errors import Unavailable, Unconfirmed
from scheduler_application.ports.messaging import MAX_HINTS_PER_MESSAGE, Hint, Lane
from scheduler_infrastructure.messaging.declaring import declare_lane
from scheduler_infrastructure.messaging.envelope import MAX_BYTES, encode
from scheduler_infrastructure.messaging.link import (
    ConnectionLost,
    KeptChannel,
    Link,
    noticing_loss,
)
from scheduler_infrastructure.messaging.topology import (
    BYTES_HEADER,
    LANE_HEADER,
    REASON_HEADER,
    Topology,
)
from scheduler_infrastructure.resilience.breaker import Breaker

MESSAGES_IN_FLIGHT = 100
"""How many confirms one publish waits for at once; each such group has the whole timeout."""
DEFAULT_EXCHANGE = ""

TraceParent = Callable[[], str | None]


class Refused(Unavailable):
    """The broker answered, and the answer is no: the queue is full, or does not come into being."""


class RabbitPublisher:
    """A `HintPublisher`. Without a connection it fails at once; ``breaker`` is for a broker that is there and does not
    answer, and must exclude `Refused`."""

    def __init__(
        self,
        link: Link,
        topology: Topology,
        breaker: Breaker,
        timeout: float,
        traceparent: TraceParent,
    ) -> None:
        self._link = link
        self._topology = topology
        self._breaker = breaker
        self._timeout = timeout
        self._traceparent = traceparent
        self._channel = KeptChannel(link, confirms=True)

    async def publish(self, lane: Lane, hints: Sequence[Hint]) -> None:
        parent = self._traceparent()
        messages = [
            Message(
                encode(hints[start : start + MAX_HINTS_PER_MESSAGE], parent),
                delivery_mode=DeliveryMode.PERSISTENT,
            )
            for start in range(0, len(hints), MAX_HINTS_PER_MESSAGE)
        ]
        queue = self._topology.lane(lane)
        for start in range(0, len(messages), MESSAGES_IN_FLIGHT):
            returned = await self._send(DEFAULT_EXCHANGE, queue, messages[start : start + MESSAGES_IN_FLIGHT])
            if returned:
                await declare_lane(self._link, self._topology, lane)
                if await self._send(DEFAULT_EXCHANGE, queue, returned):
                    raise Refused(f"the broker has no queue {queue}, though it was just made")

    async def bury(self, lane: Lane, body: bytes, reason: str) -> None:
        """Puts a message of ``lane`` that nobody can act on where an operator finds it, its body cut to `MAX_BYTES`.

        Raises as `publish` does.
        """
        headers: HeadersType = {
            REASON_HEADER: reason,
            LANE_HEADER: self._topology.lane(lane),
            BYTES_HEADER: len(body),
        }
        message = Message(body[:MAX_BYTES], headers=headers, delivery_mode=DeliveryMode.PERSISTENT)
        if await self._send(self._topology.dead, "", [message]):
            raise Refused("the broker has no dead-letter queue")

    async def _send(self, exchange: str, key: str, messages: Sequence[Message]) -> list[Message]:
        """Publishes ``messages`` and waits for the confirms; returns those that had nowhere to go."""
        if not self._link.is_up:
            raise Unavailable("the broker cannot be reached")
        return await self._breaker.call(lambda: self._confirmed(exchange, key, messages))

    async def _confirmed(self, exchange: str, key: str, messages: Sequence[Message]) -> list[Message]:
        channel = await self._channel.get()
        try:
            async with asyncio.timeout(self._timeout), noticing_loss():
                answers = await _publish_all(channel, exchange, key, messages)
        except TimeoutError:
            raise Unconfirmed(f"the broker did not confirm within {self._timeout:g} s") from None
        except ConnectionLost as lost:
            raise Unconfirmed(f"the broker went away during a publish: {lost}") from None
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, PublishError):
                raise _as_application_error(answer) from None
        return [message for message, answer in zip(messages, answers, strict=True) if isinstance(answer, PublishError)]


async def _publish_all(
    channel: AbstractChannel, exchange: str, key: str, messages: Sequence[Message]
) -> Sequence[object]:
    """What became of each message: the broker's answer, or the error that came instead."""
    target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
    publishes = [target.publish(message, key, mandatory=True) for message in messages]
    return await asyncio.gather(*publishes, return_exceptions=True)


def _as_application_error(error: BaseException) -> Unavailable:
    if isinstance(error, DeliveryError):
        return Refused("the broker refused hints: the queue is full")
    return Unconfirmed(f"the broker went away during a publish: {type(error).__name__}: {error}")

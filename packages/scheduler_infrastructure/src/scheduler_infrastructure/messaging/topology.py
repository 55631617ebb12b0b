"""Names and properties of everything that exists in the broker, in one place."""

from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractQueue
from pamqp.common import Arguments

from scheduler_application.ports.messaging import Lane

DELIVERY_LIMIT = 10
"""RabbitMQ before 4.0 has none by default and delivers a message that kills its consumer for ever."""
LANE_MAX_MESSAGES = 500_000
"""A full lane refuses publishes; what it refuses stays ready in the store and is published later."""
DEAD_MAX_MESSAGES = 10_000
COMMANDS_MAX_MESSAGES = 1_000
CALL_SECONDS = 2.0

REASON_HEADER = "x-orrery-reason"
LANE_HEADER = "x-orrery-queue"
BYTES_HEADER = "x-orrery-bytes"


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything is named under ``namespace``, so that several systems can share a broker."""

    namespace: str = "orrery"

    def lane(self, lane: Lane) -> str:
        return f"{self.namespace}.tasks.{lane.queue}.{lane.priority.value}"

    @property
    def dead(self) -> str:
        return f"{self.namespace}.dead"

    @property
    def wakes(self) -> str:
        return f"{self.namespace}.wakes"

    @property
    def commands(self) -> str:
        return f"{self.namespace}.commands"

    async def declare_lane(self, channel: AbstractChannel, lane: Lane) -> AbstractQueue:
        """One quorum queue per (queue, priority): quorum queues have no priorities of their own."""
        arguments: Arguments = {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": self.dead,
            "x-max-length": LANE_MAX_MESSAGES,
            "x-overflow": "reject-publish",
        }
        return await channel.declare_queue(self.lane(lane), durable=True, arguments=arguments, timeout=CALL_SECONDS)

    async def declare_dead(self, channel: AbstractChannel) -> None:
        exchange = await channel.declare_exchange(self.dead, "fanout", durable=True, timeout=CALL_SECONDS)
        arguments: Arguments = {
            "x-queue-type": "quorum",
            "x-max-length": DEAD_MAX_MESSAGES,
        }
        queue = await channel.declare_queue(self.dead, durable=True, arguments=arguments, timeout=CALL_SECONDS)
        await queue.bind(exchange, timeout=CALL_SECONDS)

    async def declare_wakes(self, channel: AbstractChannel) -> AbstractExchange:
        return await channel.declare_exchange(self.wakes, "fanout", durable=True, timeout=CALL_SECONDS)

    async def declare_commands(self, channel: AbstractChannel) -> AbstractExchange:
        return await channel.declare_exchange(self.commands, "direct", durable=True, timeout=CALL_SECONDS)

"""The transports that the messaging contracts are run over."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Protocol

from scheduler_application.ports.messaging import Hint, HintPublisher, HintSource, Lane, Signals
from scheduler_domain.ids import TaskRunId
from scheduler_domain.workflow.definition import Priority
from scheduler_infrastructure.memory.messaging import MemoryHub
from scheduler_infrastructure.messaging.intake import RabbitHintSource
from scheduler_infrastructure.messaging.rabbitmq import RabbitBroker
from tests.support.chance import Chance
from tests.support.eventually import eventually

NORMAL = Lane("default", Priority.NORMAL)


class Transport(Protocol):
    publisher: HintPublisher
    signals: Signals

    def source(self) -> HintSource: ...

    async def arrived(self, source: Any, hints: int) -> None:
        """Waits until ``source`` could return so many hints at once."""
        ...


class MemoryTransport:
    def __init__(self) -> None:
        hub = MemoryHub()
        self.publisher: HintPublisher = hub.publisher
        self.signals: Signals = hub.signals
        self.source = hub.source

    async def arrived(self, source: Any, hints: int) -> None:
        """Nothing is ever on its way."""


class RabbitTransport:
    def __init__(self, broker: RabbitBroker) -> None:
        self._broker = broker
        self.publisher: HintPublisher = broker.publisher
        self.signals: Signals = broker.signals

    def source(self) -> HintSource:
        return self._broker.source(prefetch=50)

    async def arrived(self, source: RabbitHintSource, hints: int) -> None:
        async def all_there() -> bool:
            return sum(len(delivery.hints) for lane in source._shelf.values() for delivery in lane) >= hints

        await eventually(all_there, within=5)


@contextlib.asynccontextmanager
async def rabbit(url: str, namespace: str, **settings: Any) -> AsyncIterator[RabbitBroker]:
    broker = RabbitBroker(url, Chance(), namespace=namespace, **settings)
    await broker.open()
    try:
        yield broker
    finally:
        await broker.close()


def hints(count: int, first: int = 0) -> list[Hint]:
    return [Hint(TaskRunId(f"01890a5d-ac96-774b-bcce-{number:012x}"), 1) for number in range(first, first + count)]

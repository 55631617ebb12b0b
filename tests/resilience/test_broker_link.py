"""How soon a connection to the broker is tried again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scheduler_infrastructure.messaging.link import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS_UNHEARD,
    Link,
)
from tests.support.private_servers import free_port

TRIES = 8


class NoPause:
    """A `Randomness` that remembers the longest pauses that it was asked for, and takes none."""

    def __init__(self) -> None:
        self.longest: list[float] = []
        self.enough = asyncio.Event()

    def uniform(self, low: float, high: float) -> float:
        self.longest.append(high)
        if len(self.longest) >= TRIES:
            self.enough.set()
        return low


async def _pauses(port: int) -> list[float]:
    asked = NoPause()
    link = Link(f"amqp://127.0.0.1:{port}/", asked, name="test", purpose="publishing")
    link.start()
    async with asyncio.timeout(20):
        await asked.enough.wait()
    await link.close()
    return asked.longest[:TRIES]


@asynccontextmanager
async def _one_that_hangs_up() -> AsyncIterator[int]:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_where_nobody_listens_one_asks_twice_a_second_at_least() -> None:
    pauses = await _pauses(free_port())
    assert pauses[0] == FIRST_PAUSE_SECONDS
    assert max(pauses) == LONGEST_PAUSE_SECONDS_UNHEARD


async def test_one_that_listens_and_does_not_answer_is_left_alone_for_longer() -> None:
    async with _one_that_hangs_up() as port:
        pauses = await _pauses(port)
    assert pauses == sorted(pauses)
    assert max(pauses) == LONGEST_PAUSE_SECONDS

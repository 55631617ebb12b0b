"""A store that a test can wait for, hold up and take away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from scheduler_application.errors import Unavailable
from scheduler_application.ports.persistence import Store, Transaction

T = TypeVar("T")

QUIET_TURNS = 25
"""Turns of the event loop after which whatever could go on by itself has done so."""


class ObservedStore:
    """A `Store` over another. While `away` is set, transactions raise `Unavailable`; the next `lose_answers` are
    committed and raise it all the same."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = asyncio.Event()
        self.away = False
        self.lose_answers = 0
        self.transactions = 0
        self._under_way = 0

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        if self.away:
            self._changed.set()
            raise Unavailable("the store is away")
        self._under_way += 1
        try:
            answer = await self._store.transact(work)
        finally:
            self._under_way -= 1
            self.transactions += 1
            self._changed.set()
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unavailable("the store's answer was lost")
        return answer

    async def settled(self) -> None:
        """Returns when no transaction is under way and nothing begins one: whatever uses this store waits for something
        else, such as the time."""
        quiet = 0
        while quiet < QUIET_TURNS:
            await _turn_of_the_loop()
            quiet = 0 if self._under_way else quiet + 1

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Returns when ``condition`` holds; asked after every transaction."""
        while True:
            self._changed.clear()
            if await condition():
                return
            await self._changed.wait()


async def _turn_of_the_loop() -> None:
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn

"""A bounded stream between whoever tells and one who reads at its own pace."""

import asyncio
from collections import deque
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """Yields what is put in from its making on. Of more than ``room`` items that nobody read the oldest are lost."""

    def __init__(self, room: int) -> None:
        self._items: deque[T] = deque(maxlen=room)
        self._arrived = asyncio.Event()

    def put(self, item: T) -> None:
        self._items.append(item)
        self._arrived.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()

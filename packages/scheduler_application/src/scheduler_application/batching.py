"""Group commit: take what gathered while the last batch was in flight. Where little comes in, it waits for nothing, so
it costs nothing when idle; under load a batch may grow for a few milliseconds, as each commit has its price."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from scheduler_application.errors import Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

BUSY_BATCH = 4
"""A batch of so many items says that more is coming just now."""

MAX_WAITING = 50_000
"""How many items may wait for one batcher; more are refused with `Unavailable`."""

LONGEST_GATHERING = 0.005


class Batcher(Generic[Item, Result]):
    """Gives items to ``work`` in batches of at most ``limit``, one batch at a time per lane, and each caller its own
    result.

    ``work`` answers one result an item, in order; a result that is an exception is raised to its caller alone. When
    ``work`` itself raises, every item of the batch is tried alone, so that one that cannot be worked off fails nobody
    else; `Unavailable` goes to all of them at once, and to those that wait: behind a store that stands still they
    would wait as long again, one batch after the other.

    With ``gathering``, what comes after a batch of `BUSY_BATCH` items or more has as long to gather as that batch took,
    at most `LONGEST_GATHERING` seconds: a store that answers at once would otherwise get many small batches, each with
    the cost of a transaction. An item that comes alone waits for nothing.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException]]],
        *,
        limit: int,
        lanes: int = 1,
        gathering: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._work = work
        self._limit = limit
        self._lanes = lanes
        self._gathering = gathering
        self._sleep = sleep
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._active = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Result:
        """The item's result; raises what ``work`` said of it, or `Unavailable` when too much is waiting."""
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too many requests are waiting for the store")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._active < self._lanes:
            self._active += 1
            task = asyncio.create_task(self._drain())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def idle(self) -> None:
        """Returns when everything that was submitted has its result."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
                began = asyncio.get_running_loop().time()
                await self._work_off(batch)
                if self._gathering and len(batch) >= BUSY_BATCH and len(self._waiting) < self._limit:
                    took = asyncio.get_running_loop().time() - began
                    await self._sleep(min(took, LONGEST_GATHERING))
        finally:
            # At once, not when the task is seen to be done: an item that comes in between must start the next one.
            self._active -= 1

    async def _work_off(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._work([item for item, _ in batch])
            answers = list(zip(batch, results, strict=True))
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, Unavailable) and len(batch) > 1:
                for one in batch:
                    await self._work_off([one])
                return
            unserved = [*batch, *self._waiting] if isinstance(error, Unavailable) else batch
            for _, future in unserved:
                _fail(future, error)
            if unserved is not batch:
                self._waiting.clear()
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in answers:
            if isinstance(result, BaseException):
                _fail(future, result)
            elif not future.done():
                future.set_result(result)


def _fail(future: asyncio.Future[Result], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        # A caller that has gone away retrieves nothing; that is not worth a warning.
        future.exception()

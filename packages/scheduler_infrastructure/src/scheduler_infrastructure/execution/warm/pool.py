"""The warm children of a worker: who is idle, who waits for one, and when one is started or ended."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from scheduler_infrastructure.execution.supervision.keeper_link import finished
from scheduler_infrastructure.execution.warm.process import WarmChild, WarmKey

_MAX_STARTING = 2
_PATIENCE = 1.0
"""Seconds that a call waits before a busy child of another key is ended in its favour."""
_SWEEP_SECONDS = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    key: WarmKey
    child: "asyncio.Future[WarmChild | None]"
    since: float


class WarmPool:
    """At most ``max_children`` processes. ``start`` makes one; ``recycle_after`` calls or ``idle_seconds`` end one."""

    def __init__(
        self,
        start: Callable[[WarmKey], Awaitable[WarmChild]],
        *,
        max_children: int,
        recycle_after: int,
        idle_seconds: float,
    ) -> None:
        self._start = start
        self._max_children = max_children
        self._recycle_after = recycle_after
        self._idle_seconds = idle_seconds
        self._idle: dict[WarmKey, list[WarmChild]] = {}
        self._waiters: deque[Waiter] = deque()
        self._living: set[WarmChild] = set()
        self._starting: Counter[WarmKey] = Counter()
        self._starts: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, key: WarmKey) -> WarmChild | None:
        """An idle child, if there is one."""
        idle = self._idle.get(key)
        while idle:
            child = idle.pop()
            if child.usable:
                return child
        return None

    def wait(self, key: WarmKey) -> "asyncio.Future[WarmChild | None]":
        """Resolves with a child in turn; whoever loses interest sets it to ``None``. Raises `OSError` out of a start
        that fails."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[WarmChild | None] = loop.create_future()
        self._waiters.append(Waiter(key, future, loop.time()))
        self._grow()
        return future

    def give(self, child: WarmChild) -> None:
        """Takes a child back after a call that left no doubt."""
        if not child.usable:
            return
        if self._closed or child.calls >= self._recycle_after or self._someone_lost_patience(child.key):
            child.end(0)
        elif (waiter := self._next_waiter(child.key)) is not None:
            waiter.child.set_result(child)
        else:
            child.idle_since = asyncio.get_running_loop().time()
            self._idle.setdefault(child.key, []).append(child)
            self._grow()
            self._plan_sweep()

    async def close(self) -> None:
        """Ends every child and waits for its end."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for waiter in self._waiters:
            if not waiter.child.done():
                waiter.child.set_result(None)
        for task in list(self._starts):
            await asyncio.wait({task})
        children = list(self._living)
        for child in children:
            child.end(0)
        for child in children:
            await finished(child.process.ended)

    def _next_waiter(self, key: WarmKey) -> Waiter | None:
        for waiter in self._waiters:
            if waiter.key == key and not waiter.child.done():
                self._waiters.remove(waiter)
                return waiter
        return None

    def _someone_lost_patience(self, key: WarmKey) -> bool:
        while self._waiters and self._waiters[0].child.done():
            self._waiters.popleft()
        if not self._waiters or self._waiters[0].key == key or self._room():
            return False
        return asyncio.get_running_loop().time() - self._waiters[0].since > _PATIENCE

    def _room(self) -> bool:
        return len(self._living) + self._starting.total() < self._max_children

    def _grow(self) -> None:
        """Starts children for those who wait; a few at a time, as a call may end before a start does."""
        if not self._waiters or (not self._room() and not any(self._idle.values())):
            return
        wanted = Counter(waiter.key for waiter in self._waiters if not waiter.child.done())
        for key, count in wanted.items():
            while self._starting[key] < min(count, _MAX_STARTING) and not self._closed:
                if not self._room() and not self._evict():
                    return
                if not self._room():
                    return  # The evicted one is still ending; its end calls again.
                self._starting[key] += 1
                task = asyncio.get_running_loop().create_task(self._add(key))
                self._starts.add(task)
                task.add_done_callback(self._starts.discard)

    def _evict(self) -> bool:
        """Ends the child that has been idle longest, if any is idle."""
        idle = [child for children in self._idle.values() for child in children]
        if not idle:
            return False
        oldest = min(idle, key=lambda child: child.idle_since)
        self._idle[oldest.key].remove(oldest)
        oldest.end(0)
        return True

    async def _add(self, key: WarmKey) -> None:
        try:
            child = await self._start(key)
        except OSError as error:
            self._starting[key] -= 1
            if (waiter := self._next_waiter(key)) is not None:
                waiter.child.set_exception(error)
            self._grow()
            return
        self._starting[key] -= 1
        self._living.add(child)
        child.process.ended.add_done_callback(lambda _: self._forget(child))
        self.give(child)
        self._grow()

    def _forget(self, child: WarmChild) -> None:
        self._living.discard(child)
        idle = self._idle.get(child.key, [])
        if child in idle:
            idle.remove(child)
        if not idle:
            self._idle.pop(child.key, None)
        self._grow()

    def _plan_sweep(self) -> None:
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        self._sweep = None
        oldest_allowed = asyncio.get_running_loop().time() - self._idle_seconds
        for children in self._idle.values():
            for child in [child for child in children if child.idle_since < oldest_allowed]:
                children.remove(child)
                child.end(0)
        if any(self._idle.values()):
            self._plan_sweep()

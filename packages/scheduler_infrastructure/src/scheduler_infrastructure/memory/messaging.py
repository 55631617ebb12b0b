"""Messaging inside one process: one hub that the API, the dispatcher and the worker of the embedded mode share."""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from scheduler_application.errors import Unavailable
from scheduler_application.lanes import Turns
from scheduler_application.ports.messaging import (
    MAX_HINTS_PER_MESSAGE,
    Delivery,
    Hint,
    Lane,
)
from scheduler_infrastructure.resilience.feed import Feed

LANE_MAX_MESSAGES = 100_000
"""A full lane refuses publishes; what it refuses stays ready in the store and is published later."""
COMMANDS_MAX = 1_000
CHANGES_MAX = 1_000


class _Lanes:
    """What waits in each lane, and the sources that wait for it."""

    def __init__(self) -> None:
        self.waiting: dict[Lane, deque[MemoryDelivery]] = {}
        self._sources: weakref.WeakSet[MemoryHintSource] = weakref.WeakSet()

    def put(self, delivery: "MemoryDelivery") -> None:
        messages = self.waiting.setdefault(delivery.lane, deque())
        if len(messages) >= LANE_MAX_MESSAGES:
            raise Unavailable(f"the lane {delivery.lane.queue}/{delivery.lane.priority.value} is full")
        messages.append(delivery)
        for source in self._sources:
            source.notice(delivery.lane)

    def join(self, source: "MemoryHintSource") -> None:
        self._sources.add(source)

    def leave(self, source: "MemoryHintSource") -> None:
        self._sources.discard(source)


class MemoryDelivery:
    """A message and whether it still has to be settled."""

    def __init__(self, lanes: _Lanes, lane: Lane, hints: Sequence[Hint]) -> None:
        self.lane = lane
        self.hints = hints
        self._lanes = lanes
        self._settled = False

    async def ack(self) -> None:
        self._settled = True

    async def give_back(self) -> None:
        if not self._settled:
            self._settled = True
            self._lanes.put(MemoryDelivery(self._lanes, self.lane, self.hints))


class MemoryPublisher:
    """A `HintPublisher`; confirmed as soon as it returns."""

    def __init__(self, lanes: _Lanes) -> None:
        self._lanes = lanes

    async def publish(self, lane: Lane, hints: Sequence[Hint]) -> None:
        for start in range(0, len(hints), MAX_HINTS_PER_MESSAGE):
            message = tuple(hints[start : start + MAX_HINTS_PER_MESSAGE])
            self._lanes.put(MemoryDelivery(self._lanes, lane, message))


class MemoryHintSource:
    """A `HintSource`. It holds nothing: what it has not returned is in the hub, where any other source can take it."""

    def __init__(self, lanes: _Lanes) -> None:
        self._lanes = lanes
        self._queues: frozenset[str] = frozenset()
        self._turns = Turns(())
        self._arrived = asyncio.Event()
        self._open = False

    async def open(self, queues: Sequence[str]) -> None:
        self._queues = frozenset(queues)
        self._turns = Turns(queues)
        self._open = True
        self._lanes.join(self)

    async def take(self, max_hints: int) -> list[Delivery]:
        while True:
            if self._open and (taken := self._turns.take(self._lanes.waiting, max_hints)):
                return list(taken)
            self._arrived.clear()
            await self._arrived.wait()

    async def pause(self) -> None:
        return

    async def close(self) -> None:
        self._open = False
        self._lanes.leave(self)

    async def healthy(self) -> bool:
        return self._open

    def notice(self, lane: Lane) -> None:
        if lane.queue in self._queues:
            self._arrived.set()


class MemorySignals:
    """`Signals`; whoever listens has the feed from the moment of the call."""

    def __init__(self) -> None:
        self._dispatchers: weakref.WeakSet[Feed[None]] = weakref.WeakSet()
        self._workers: weakref.WeakValueDictionary[str, Feed[Mapping[str, Any]]] = weakref.WeakValueDictionary()

    async def wake_dispatchers(self) -> None:
        for feed in self._dispatchers:
            feed.put(None)

    async def command(self, worker_id: str, command: Mapping[str, Any]) -> None:
        feed = self._workers.get(worker_id)
        if feed is not None:
            feed.put(dict(command))

    def dispatcher_wakes(self) -> AsyncIterator[None]:
        feed: Feed[None] = Feed(room=1)
        self._dispatchers.add(feed)
        return feed

    def commands(self, worker_id: str) -> AsyncIterator[Mapping[str, Any]]:
        feed: Feed[Mapping[str, Any]] = Feed(COMMANDS_MAX)
        self._workers[worker_id] = feed
        return feed


class MemoryLiveUpdates:
    """`LiveUpdates`; a reader that has gone is forgotten with its iterator."""

    def __init__(self) -> None:
        self._watchers: dict[str, weakref.WeakSet[Feed[Mapping[str, Any]]]] = {}

    async def publish(self, changes: Sequence[Mapping[str, Any]]) -> None:
        for change in changes:
            for feed in self._watchers.get(str(change.get("project")), ()):
                feed.put(change)

    def subscribe(self, project: str) -> AsyncIterator[Mapping[str, Any]]:
        feed: Feed[Mapping[str, Any]] = Feed(CHANGES_MAX)
        self._watchers = {known: feeds for known, feeds in self._watchers.items() if feeds}
        self._watchers.setdefault(project, weakref.WeakSet()).add(feed)
        return feed


class MemoryHub:
    """Everything of one process: one publisher, signals and live updates for all, and a source for each worker."""

    def __init__(self) -> None:
        self._lanes = _Lanes()
        self.publisher = MemoryPublisher(self._lanes)
        self.signals = MemorySignals()
        self.live = MemoryLiveUpdates()

    def source(self) -> MemoryHintSource:
        """A new intake; the caller opens and closes it."""
        return MemoryHintSource(self._lanes)

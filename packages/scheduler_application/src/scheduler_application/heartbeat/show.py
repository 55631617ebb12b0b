"""Heartbeats as people see them. Whether one is late is told by the clock."""

from dataclasses import replace
from datetime import datetime

from scheduler_application.actor import Actor
from scheduler_application.errors import NotFound
from scheduler_application.paging import Page, PageRequest
from scheduler_application.ports.reading import HeartbeatView, Reader
from scheduler_application.ports.time import Clock
from scheduler_domain.schedule.deadlines import HeartbeatState


class ListHeartbeats:
    """By name."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def execute(self, page: PageRequest, actor: Actor) -> Page[HeartbeatView]:
        found = await self._reader.heartbeats(actor.project, page)
        now = self._clock.now()
        return Page([by_the_clock(view, now) for view in found.items], found.next_cursor)


class ShowHeartbeat:
    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def execute(self, name: str, actor: Actor) -> HeartbeatView:
        """Raises `NotFound`."""
        return await seen(self._reader, self._clock, name, actor)


async def seen(reader: Reader, clock: Clock, name: str, actor: Actor) -> HeartbeatView:
    """The heartbeat as readers see it; raises `NotFound`."""
    view = await reader.heartbeat(actor.project, name)
    if view is None:
        raise NotFound(f"there is no heartbeat '{name[:100]}'")
    return by_the_clock(view, clock.now())


def by_the_clock(view: HeartbeatView, now: datetime) -> HeartbeatView:
    """``view``, late where its ping is due and its grace is not judged to be over."""
    awaited = view.down_at is not None
    return replace(view, state=HeartbeatState.LATE.value) if awaited and view.due_at <= now else view

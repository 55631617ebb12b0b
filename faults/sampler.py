"""Looks at the system once a second while it is being broken: what is true only for a while leaves no row behind."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import asyncpg

from faults.site import AWAY, Site

EVERY_SECONDS = 1.0

# A new leader gives the workers one lease to come back, so nobody can be expected to see to an orphan before that; nor
# can anybody while the whole machine stands still.
_ORPHANS = """
    select t.id::text as id, extract(epoch from clock_timestamp() - greatest(w.lease_until, term.began_at
        + make_interval(secs => $1), to_timestamp($2)))::float as seconds
    from task_runs t join workers w on w.id = t.worker_id,
        (select coalesce(max(at), '-infinity') as began_at from witness.changes where of = 'leadership') term
    where t.state = 'running' and w.lease_until < clock_timestamp() - interval '5 s'"""
_WAITING = """
    select t.id::text as id, extract(epoch from clock_timestamp() - t.ready_at)::float as seconds
    from task_runs t
    where t.state in ('ready', 'queued') and t.ready_at < clock_timestamp() - interval '5 s' and exists (
        select 1 from workers w
        where w.state = 'active' and w.lease_until > clock_timestamp() and w.queues like '%"' || t.queue || '"%'
        and w.slots > (select count(*) from task_runs r where r.worker_id = w.id and r.state = 'running'))"""
_TOTALS = """
    select (select count(*) from all_runs where finished_at is not null) as finished,
        (select count(*) from pg_stat_activity where backend_type = 'client backend') as connections"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. ``orphans`` and ``waiting`` are seconds by task run: how long it has been running for a worker whose
    lease is over, how long it could have been claimed by a worker with a free slot. ``at`` is epoch seconds."""

    at: float
    orphans: dict[str, float]
    waiting: dict[str, float]
    finished: int
    connections: int


class Sampler:
    """Samples while the block lasts; a database that is away is simply not looked at."""

    def __init__(self, site: Site, *, worker_lease: float = 15.0) -> None:
        self._site = site
        self._worker_lease = worker_lease
        self._task: asyncio.Task[None] | None = None
        self.samples: list[Sample] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_looking())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None  # noqa: S101 - entered above
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_looking(self) -> None:
        connection: asyncpg.Connection | None = None
        while True:
            try:
                if connection is None or connection.is_closed():
                    connection = await self._site.connect()
                async with asyncio.timeout(5):
                    self.samples.append(await self._look(connection))
            except AWAY:
                if connection is not None:
                    connection.terminate()
                connection = None
            except asyncio.CancelledError:
                if connection is not None:
                    connection.terminate()
                raise
            await asyncio.sleep(EVERY_SECONDS)

    async def _look(self, connection: asyncpg.Connection) -> Sample:
        woke_at = max((until for _, until in self._site.suspensions), default=0.0)
        orphans = await connection.fetch(_ORPHANS, self._worker_lease, woke_at)
        waiting = await connection.fetch(_WAITING)
        totals: Any = {}
        with contextlib.suppress(asyncpg.UndefinedTableError):
            totals = await connection.fetchrow(_TOTALS)
        return Sample(
            time.time(),
            {row["id"]: row["seconds"] for row in orphans},
            {row["id"]: row["seconds"] for row in waiting},
            totals["finished"],
            totals["connections"],
        )

"""How long until the service is as before: the usual measures, each in seconds from a moment (epoch seconds)."""

import asyncio
import time
from collections.abc import Iterable

from faults.site import LOOK_SECONDS, Site, is_alive
from scheduler_domain.run.states import FINAL_RUN_STATES

ASK_SECONDS = 0.3


class NotRecovered(Exception):
    """What was waited for did not come."""


async def next_fire(site: Site, at: float, *, within: float = 60.0) -> float:
    """Until the clock goes on: when the first due time after ``at`` was decided. The load's schedules are due every
    second, so that hardly any of it is waiting for a due time."""
    sql = (
        "select extract(epoch from decided_at)::float as decided from ledger where due_at > to_timestamp($1)"
        " order by due_at limit 1"
    )
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        rows = await site.rows_when_back(sql, at, within=within)
        if rows:
            return float(rows[0]["decided"]) - at
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"no due time was decided within {within:g} s")


async def worst_fire(site: Site, at: float) -> float:
    """The longest that a due time after ``at`` waited for its decision, so far."""
    sql = (
        "select coalesce(max(extract(epoch from decided_at - due_at)), 0)::float as late from ledger"
        " where due_at > to_timestamp($1)"
    )
    return float((await site.rows_when_back(sql, at))[0]["late"])


async def next_run(site: Site, at: float, *, priority: str = "normal", within: float = 60.0) -> float:
    """Until a run that is asked for from now on is accepted and has succeeded. ``priority`` is for where a backlog
    waits before it that is not what is measured."""
    deadline = time.monotonic() + within
    run_id = None
    while run_id is None and time.monotonic() < deadline:
        for api in [node for node in site.of("api") if is_alive(node)]:
            async with site.client(api) as client:
                if run_id is None:
                    body = {"priority": priority}
                    run_id = (await site.journal.ask(client, "POST", "/workflows/single/run", body=body)).run_id
        await asyncio.sleep(ASK_SECONDS)
    while run_id is not None and time.monotonic() < deadline:
        rows = await site.rows_when_back("select state from runs where id = $1", run_id, within=within)
        if rows and rows[0]["state"] in FINAL_RUN_STATES:
            return time.time() - at
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"run {run_id} was not accepted and finished within {within:g} s")


async def released(site: Site, worker_ids: Iterable[str], at: float, *, within: float = 60.0) -> float:
    """Until no task run is left in the hands of ``worker_ids``."""
    wanted = list(worker_ids)
    sql = "select 1 from task_runs where state = 'running' and worker_id = any($1::uuid[]) limit 1"
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not await site.rows_when_back(sql, wanted, within=within):
            return time.time() - at
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"task runs of {wanted} are still running after {within:g} s")


async def service(site: Site, at: float, *, priority: str = "normal", within: float = 60.0) -> float:
    """Until both are back: runs by hand and the clock."""
    runs = next_run(site, at, priority=priority, within=within)
    return max(await asyncio.gather(next_fire(site, at, within=within), runs))


async def identities(site: Site, name: str) -> list[str]:
    """The ids under which the worker of this node's name is registered and not gone."""
    sql = "select id::text from workers where name = $1 and state in ('active', 'draining')"
    return [row["id"] for row in await site.rows_when_back(sql, name)]


async def caught_up(site: Site, at: float, *, within: float = 60.0) -> float:
    """Until no schedule has an undecided due time at or before ``at``. It returns where that does not come, too: then
    the checker finds what was not decided."""
    sql = "select 1 from triggers where active and not paused and error is null and due_at <= to_timestamp($1) limit 1"
    deadline = time.monotonic() + within
    while await site.rows_when_back(sql, at) and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
    return time.time() - at

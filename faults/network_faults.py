"""Faults of the network between one process and its servers: black holes and links that carry one way only."""

import asyncio
import time
from collections.abc import Sequence
from random import Random

from faults.fault import Recovery, fault
from faults.load import start
from faults.recovery import identities, next_fire, next_run, released
from faults.site import Site
from faults.stand_ins import lead, leave, standing_in
from tests.support.eventually import eventually
from tests.support.stack import Node

PARTITION_SECONDS = 15.0
SHORT_SECONDS = 8.0
LONG_SECONDS = 40.0


@fault("F07", "the leader's link to the database is a black hole, then half open", tier=3, target=10.0, sharp=("I7",))
async def leader_is_cut_off(site: Site, _chance: Random) -> Recovery:
    leader = await site.start("dispatcher", through=("postgres",))
    await leader.ready()
    worst = 0.0
    link = site.link(leader, "postgres")
    for cut in (link.blackhole, lambda: link.half_open("up"), lambda: link.half_open("down")):
        await lead(site, leader)
        at = site.disturb()
        cut()
        worst = max(worst, await next_fire(site, at))
        link.heal()
        await _live_again(leader)
    await leave(site, leader)
    return Recovery("the leader was cut off from the database three ways", worst)


@fault("F08", "the leader's link to the broker is a black hole", tier=3, target=15.0, sharp=("I3",))
async def leader_cannot_publish(site: Site, _chance: Random) -> Recovery:
    """The recovery is the time until a new run has succeeded, and what fired without a hint is in a worker's hands."""
    leader = await site.start("dispatcher", through=("rabbitmq",))
    await leader.ready()
    await lead(site, leader)
    since = site.disturb()
    site.link(leader, "rabbitmq").blackhole()
    await asyncio.sleep(PARTITION_SECONDS)
    fired = await next_fire(site, since)
    unhinted = await _waiting_since(site, since)
    site.link(leader, "rabbitmq").heal()
    at = site.disturb()
    seconds = max(await next_run(site, at), await _claimed(site, unhinted, at))
    leads = await leader.metric("orrery_leader") == 1
    await leave(site, leader)
    broken = () if leads else ("I3: the leader gave up the lead because of the broker",)
    figures = {"fired_after_seconds": round(fired, 1), "waited_for_a_hint": len(unhinted)}
    return Recovery("the leader could not publish", seconds, figures, broken)


@fault("F17", "a worker is cut off from the database, for 8 s and for 40 s", tier=3, target=20.0, sharp=("I5", "I6"))
async def worker_is_cut_off(site: Site, _chance: Random) -> Recovery:
    worker = await site.start("worker", through=("postgres",))
    await worker.ready()
    await _busy(site, worker)
    short = await _cut_off(site, worker, SHORT_SECONDS)
    lost = await _lost(site, worker)
    broken = [f"F17: {lost} attempts were lost by a cut of {SHORT_SECONDS:g} s"] if lost else []
    worker_ids = await identities(site, worker.name)
    tasks = await _busy(site, worker)
    at = site.disturb()
    site.link(worker, "postgres").blackhole()
    seconds = await released(site, worker_ids, at)
    await asyncio.sleep(max(0.0, at + LONG_SECONDS - time.time()))
    site.link(worker, "postgres").heal()
    await worker.ready(within=60)
    await leave(site, worker)
    figures = {"tasks": tasks, "short_cut_healed_seconds": round(short, 1)}
    return Recovery("a worker was cut off twice", seconds, figures, tuple(broken))


@fault("F18", "a worker is cut off from the broker", tier=3, target=8.0, sharp=("I9",))
async def worker_hears_nothing(site: Site, _chance: Random) -> Recovery:
    """The load is more than one worker can do; that it hears again is what is measured, so the run is critical."""
    async with standing_in(site, "worker", through="rabbitmq") as (worker,):
        site.disturb()
        site.link(worker, "rabbitmq").blackhole()
        await asyncio.sleep(PARTITION_SECONDS)
        site.link(worker, "rabbitmq").reset()
        site.link(worker, "rabbitmq").heal()
        seconds = await next_run(site, site.disturb(), priority="critical")
    return Recovery("the only worker heard nothing from the broker", seconds)


async def _live_again(node: Node) -> None:
    if node.process.poll() is not None:
        node.relaunch()
    await node.ready(within=60)


async def _busy(site: Site, worker: Node) -> int:
    """How many tasks that take a while ``worker`` has, as soon as it has some."""
    await asyncio.gather(*(start(site, "mixed") for _ in range(2 * len(site.of("worker")))))
    sql = (
        "select count(*) as n from task_runs t join workers w on w.id = t.worker_id join runs r on r.id = t.run_id"
        " where t.state = 'running' and r.tasks_total = 4 and w.name = $1"
    )
    found = 0

    async def has_some() -> bool:
        nonlocal found
        found = int((await site.rows_when_back(sql, worker.name))[0]["n"])
        return found > 0

    await eventually(has_some, within=30)
    return found


async def _cut_off(site: Site, worker: Node, seconds: float) -> float:
    """A black hole for a while; how long after its end the worker is ready and everything it had is going on."""
    site.disturb()
    site.link(worker, "postgres").blackhole()
    await asyncio.sleep(seconds)
    site.link(worker, "postgres").heal()
    healed = site.disturb()

    async def is_ready() -> bool:
        return await worker.probe("/readyz") == 200

    await eventually(is_ready, within=30)
    return time.time() - healed


async def _waiting_since(site: Site, since: float) -> list[str]:
    """Task runs of due times that were decided after ``since``, which nobody has claimed."""
    sql = (
        "select t.id::text as id from ledger l join task_runs t on t.run_id = l.run_id"
        " where l.decided_at > to_timestamp($1) and t.state in ('ready', 'queued')"
    )
    return [row["id"] for row in await site.rows_when_back(sql, since)]


async def _claimed(site: Site, task_runs: Sequence[str], at: float) -> float:
    """Seconds since ``at`` when all of them are claimed."""
    sql = "select 1 from task_runs where id = any($1::uuid[]) and state in ('ready', 'queued') limit 1"

    async def all_are() -> bool:
        return not await site.rows_when_back(sql, task_runs)

    await eventually(all_are, within=60)
    return time.time() - at


async def _lost(site: Site, worker: Node) -> int:
    sql = (
        "select count(*) as n from attempts a join workers w on w.id = a.worker_id"
        " where a.outcome = 'lost' and w.name = $1"
    )
    return int((await site.rows_when_back(sql, worker.name))[0]["n"])

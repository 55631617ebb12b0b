"""Faults of the dispatcher that leads."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from random import Random

import psutil

from faults.fault import Recovery, fault
from faults.load import deploy_one
from faults.recovery import NotRecovered, next_fire
from faults.site import LOOK_SECONDS, Site
from faults.stand_ins import lead
from faults.workload import note
from tests.support.stack import Node

HERD = 1_000
HERD_AFTER_SECONDS = 30.0
"""Longer than deploying them takes, also on a busy machine."""
TRIGGERS_PER_WORKFLOW = 100
_HERD_DECIDED = (
    "select count(*) as n from ledger l join triggers t on t.id = l.trigger_id where l.due_at = $1 and t.kind = 'at'"
)
SETTLES_SECONDS = 0.02
"""What a frozen process had asked of the database is done by then: its transaction waits for it, or is over."""
TRIES = 400
"""How often a process is frozen and let go until it is caught where it should be."""


@fault("F01", "kill -9 of the leader", tier=2, target=10.0, sharp=("I3", "I7"))
async def leader_dies(site: Site, _chance: Random) -> Recovery:
    leader = await site.leader()
    at = site.kill(leader)
    return Recovery("the leader was killed", await next_fire(site, at))


@fault("F02", "kill -9 of the leader while 1,000 schedules are due", tier=3, target=10.0, sharp=("I3", "I5"))
async def leader_dies_in_a_herd(site: Site, chance: Random) -> Recovery:
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=HERD_AFTER_SECONDS)
    name = f"herd-{due.timestamp():.0f}"
    for number in range(HERD // TRIGGERS_PER_WORKFLOW):
        triggers = [{"name": f"at-{place}", "at": due.isoformat()} for place in range(TRIGGERS_PER_WORKFLOW)]
        await deploy_one(site, {"workflow": f"{name}-{number}", "triggers": triggers, "tasks": {"one": note()}})
    leader = await site.leader()
    left = due.timestamp() - time.time()
    if left < 0:
        raise NotRecovered(f"the herd was deployed {-left:.1f} s after it was due")
    await asyncio.sleep(left)
    at = await _killed_in_the_middle(site, leader, due, more_than=chance.randrange(HERD // 2))
    decided = await _decided(site, due)
    if decided >= HERD:
        raise NotRecovered("the herd was decided before its leader was dead")
    seconds = await _all_decided(site, due, at)
    return Recovery(f"the leader was killed with {decided} of {HERD} decided", seconds, {"decided": decided})


@fault("F03", "SIGTERM to the leader", tier=3, target=1.0, sharp=("I3",))
async def leader_resigns(site: Site, _chance: Random) -> Recovery:
    leader = await site.leader()
    epoch = await _epoch(site)
    at = site.disturb()
    leader.terminate()
    taken = await _taken_after(site, epoch)
    await leader.ended(within=30)
    code = leader.process.returncode
    broken = () if code == 0 else (f"F03: {leader.name} ended with {code}",)
    return Recovery("the leader was told to stop", taken - at, violations=broken)


@fault("F04", "SIGSTOP of the leader past its lease, outside a transaction", tier=2, target=8.0, sharp=("I6", "I7"))
async def leader_is_frozen(site: Site, chance: Random) -> Recovery:
    leader = await site.leader()
    at = await _freeze(site, leader, in_transaction=False, chance=chance)
    seconds = await next_fire(site, at)
    return await _thawed(site, leader, "the leader was frozen and thawed", seconds, chance)


@fault("F05", "SIGSTOP of the leader inside a transaction", tier=2, target=11.0, sharp=("I6", "I7"))
async def leader_is_frozen_in_a_transaction(site: Site, chance: Random) -> Recovery:
    leader = await site.leader()
    at = await _freeze(site, leader, in_transaction=True, chance=chance)
    seconds = await next_fire(site, at)
    return await _thawed(site, leader, "the leader was frozen inside a transaction and thawed", seconds, chance)


@fault("F06", "SIGSTOP of the leader between commit and publish", tier=3, target=20.0, sharp=("I3", "I13"))
async def leader_is_frozen_before_it_publishes(site: Site, chance: Random) -> Recovery:
    leader = await site.start("dispatcher", through=("rabbitmq",))
    try:
        await leader.ready()
        await lead(site, leader)
        site.link(leader, "rabbitmq").half_open("up")
        run_id, at = await _fired_without_a_hint(site, site.disturb())
        leader.freeze()
        sql = "select extract(epoch from finished_at)::float as at from runs where id = $1 and finished_at is not null"
        ended = await _first(site, sql, run_id)
        return await _thawed(site, leader, "the leader was frozen with a hint unpublished", ended - at, chance)
    finally:
        await site.retire(leader)


async def _thawed(site: Site, leader: Node, what: str, seconds: float, chance: Random) -> Recovery:
    """Lets the deposed leader go on a moment after another leads, and waits until it knows."""
    epoch = await _epoch(site)
    await asyncio.sleep(chance.uniform(0.0, 2.0))
    site.disturb()
    leader.thaw()
    await leader.ready(within=30)
    if await leader.metric("orrery_leader") == 1 and await _epoch(site) == epoch:
        return Recovery(what, seconds, violations=(f"I7: {leader.name} still says that it leads",))
    return Recovery(what, seconds)


async def _freeze(site: Site, leader: Node, *, in_transaction: bool, chance: Random) -> float:
    """Stops the leader where it should be; answers when. ``in_transaction``: while it holds the lease row's lock."""
    connection = await site.connect()
    try:
        for _ in range(TRIES):
            await asyncio.sleep(chance.uniform(0.001, 0.05))
            leader.freeze()
            at = time.time()
            await asyncio.sleep(SETTLES_SECONDS)
            locks = await connection.fetchval(
                "select count(*) from pg_locks l join pg_class c on c.oid = l.relation"
                " join pg_stat_activity a on a.pid = l.pid where c.relname = 'leadership'"
                " and a.client_port = any($1::int[])",
                _ports(leader),
            )
            if bool(locks) == in_transaction:
                site.disturb()
                return at
            leader.thaw()
    finally:
        await connection.close()
    raise NotRecovered(f"{leader.name} was not caught {'inside' if in_transaction else 'outside'} a transaction")


def _ports(node: Node) -> list[int]:
    """The local ports of its connections."""
    with contextlib.suppress(psutil.Error):
        connections = node.process.net_connections("tcp")
        return [entry.laddr.port for entry in connections if entry.status == psutil.CONN_ESTABLISHED]
    return []


async def _fired_without_a_hint(site: Site, since: float) -> tuple[str, float]:
    """The run of a due time that was decided after ``since``, none of whose tasks has a hint yet; and when."""
    sql = (
        "select l.run_id::text as run_id, extract(epoch from l.decided_at)::float as at from ledger l"
        " join task_runs t on t.run_id = l.run_id"
        " where l.decided_at > to_timestamp($1) and t.state = 'ready' and t.hinted_at is null limit 1"
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        rows = await site.rows(sql, since)
        if rows:
            return rows[0]["run_id"], rows[0]["at"]
    raise NotRecovered("no due time was decided without a hint")


async def _epoch(site: Site) -> int:
    return int((await site.rows_when_back("select epoch from leadership"))[0]["epoch"])


async def _taken_after(site: Site, epoch: int) -> float:
    """When the next epoch began, in epoch seconds."""
    sql = (
        "select extract(epoch from at)::float as at from witness.changes where of = 'leadership' and fence > $1"
        " order by id limit 1"
    )
    return await _first(site, sql, epoch)


async def _killed_in_the_middle(site: Site, leader: Node, due: datetime, *, more_than: int) -> float:
    """Kills the leader as soon as more of the herd are decided than that; answers when. It looks without a pause: the
    whole herd takes a second."""
    deadline = time.monotonic() + 30
    connection = await site.connect()
    try:
        while await connection.fetchval(_HERD_DECIDED, due) <= more_than:
            if time.monotonic() > deadline:
                raise NotRecovered(f"no more than {more_than} of the herd were decided")
        return site.kill(leader)
    finally:
        await connection.close()


async def _decided(site: Site, due: datetime) -> int:
    return int((await site.rows_when_back(_HERD_DECIDED, due))[0]["n"])


async def _all_decided(site: Site, due: datetime, at: float) -> float:
    sql = (
        "select extract(epoch from max(l.decided_at))::float as at from ledger l join triggers t on t.id = l.trigger_id"
        " where l.due_at = $1 and t.kind = 'at' having count(*) >= $2"
    )
    return await _first(site, sql, due, HERD) - at


async def _first(site: Site, sql: str, *arguments: object, within: float = 60.0) -> float:
    """The ``at`` of the first row, as soon as there is one."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        rows = await site.rows_when_back(sql, *arguments)
        if rows:
            return float(rows[0]["at"])
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"no row after {within:g} s: {sql}")

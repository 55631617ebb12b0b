"""Faults of all dispatchers at once: none lives for a time, the lead goes back and forth."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any

from faults.fault import Recovery, fault
from faults.load import deploy_one
from faults.recovery import NotRecovered, caught_up, service
from faults.site import LOOK_SECONDS, Site
from faults.stand_ins import standing_in
from faults.throughput import before_and_after, ended_a_second
from faults.workload import note
from tests.support.stack import Node

DOWN_SECONDS = 75.0
"""Longer than a due time may be late and still be on time, so that the load's schedules miss some too."""
MISSED_EACH = 100
"""Due times that each schedule misses, an hour apart: no further one comes while the campaign lasts."""
SCHEDULES: Mapping[str, int] = {"skip": 80, "fire_once": 16, "fire_all": 4}
"""How many of each misfire policy: 10,000 due times are missed in all."""
FIRED: Mapping[str, int] = {"skip": 0, "fire_once": 1, "fire_all": MISSED_EACH}
"""How many of its missed due times each schedule still fires, the latest ones."""
AWAY_NAME = "away"

LEASE_SECONDS = 6.0
DELAYS = (0.5, 1.5)
"""How long a renewal takes, in leases."""
ROUND_TRIPS = 3
"""Of a renewal: it begins, it asks, it commits. Each is held up by its share."""
EACH_SECONDS = 2.0
FLAPPING_SECONDS = 60.0
MOST_TRIES = 5.0
"""Connections that a process may try in a second."""
LEAST_SHARE = 0.5


@fault("F09", "all dispatchers are dead while 10,000 due times pass", tier=3, target=30.0, sharp=("I3", "I22"))
async def nobody_dispatches(site: Site, _chance: Random) -> Recovery:
    """The load's schedules miss what passes in a minute. Those of the fault are deployed while no dispatcher lives, and
    put back by a hundred hours: what they miss, and what their policies make of it, is known exactly. The recovery is
    the time from the start of the dispatchers until every due time is decided."""
    async with before_and_after(site) as throughput:
        dispatchers = site.of("dispatcher")
        started = site.disturb()
        for node in dispatchers:
            site.kill(node)
        await _deploy_hourly(site)
        await asyncio.sleep(max(0.0, started + DOWN_SECONDS - time.time()))
        at = throughput.healed_at = site.disturb()
        for node in dispatchers:
            node.relaunch()
        await asyncio.gather(*(node.ready() for node in dispatchers))
        await _decided(site, sum(SCHEDULES.values()) * MISSED_EACH)
        seconds = await caught_up(site, at)
    rows = await site.rows(
        "select t.id::text as trigger, t.name, t.anchor_at, l.due_at, l.outcome, l.rule from triggers t"
        " join workflows w on w.id = t.workflow_id join ledger l on l.trigger_id = t.id where w.name like $1"
        " order by t.id, l.due_at",
        f"{AWAY_NAME}-%",
    )
    broken = [*throughput.broken, *wrongly_decided(rows)]
    outcomes = Counter(row["outcome"] for row in rows)
    figures = {"missed_due_times": len(rows), **outcomes, **throughput.figures}
    what = f"no dispatcher lived for {DOWN_SECONDS:g} s, and {len(rows)} due times had passed"
    return Recovery(what, seconds, figures, tuple(broken))


def wrongly_decided(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the decisions on the schedules of `SCHEDULES`, in order of schedule and due time."""
    ledgers: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        ledgers.setdefault((row["trigger"], row["name"].rsplit("-", 1)[0]), []).append(row)
    broken = []
    found = Counter(policy for _, policy in ledgers)
    for policy, count in SCHEDULES.items():
        if found[policy] != count:
            broken.append(f"I3: {found[policy]} of {count} schedules with {policy} have decisions")
    for (trigger, policy), decided in ledgers.items():
        late = FIRED[policy]
        wanted = ["missed"] * (MISSED_EACH - late) + ["fired"] * late
        if [row["outcome"] for row in decided] != wanted:
            counted = dict(Counter(row["outcome"] for row in decided))
            broken.append(f"I3: trigger {trigger} with {policy} missed {MISSED_EACH} due times and decided {counted}")
        rules = {row["rule"] for row in decided} - {f"misfire:{policy}"}
        if rules:
            broken.append(f"I3: trigger {trigger} with {policy} decided by {sorted(rules)}")
    return broken


@fault("F10", "the lead flaps: whoever leads renews in 0.5 to 1.5 leases", tier=3, sharp=("I7", "I22"))
async def the_lead_flaps(site: Site, chance: Random) -> Recovery:
    """The recovery is that of the service after the last delay."""
    async with (
        standing_in(site, "dispatcher", "dispatcher", through="postgres") as nodes,
        before_and_after(site) as throughput,
    ):
        await site.leader()
        started = site.disturb()
        tries = {node.name: site.link(node, "postgres").connections for node in nodes}
        before = await _epoch(site)
        while time.time() < started + FLAPPING_SECONDS:
            await _delay_the_leader(site, nodes, chance.uniform(*DELAYS) * LEASE_SECONDS / ROUND_TRIPS)
            await asyncio.sleep(EACH_SECONDS)
        for node in nodes:
            site.link(node, "postgres").heal()
        lasted = time.time() - started
        meanwhile = await ended_a_second(site, started, lasted)
        epochs = await _epoch(site) - before
        rates = {node.name: (site.link(node, "postgres").connections - tries[node.name]) / lasted for node in nodes}
        throughput.healed_at = site.disturb()
        seconds = await service(site, throughput.healed_at)
    broken = list(throughput.broken)
    if epochs > lasted / LEASE_SECONDS + 1:
        broken.append(f"I7: {epochs} epochs began in {lasted:.0f} s, more than one for each lease")
    stormy = [name for name, rate in rates.items() if rate > MOST_TRIES]
    broken += [f"F10: {name} tried {rates[name]:.1f} connections a second" for name in stormy]
    if meanwhile < LEAST_SHARE * throughput.before:
        broken.append(f"F10: {meanwhile:.1f} runs a second ended meanwhile, and {throughput.before:.1f} before")
    figures = {
        "epochs": epochs,
        "runs_a_second_meanwhile": round(meanwhile, 2),
        "most_tries_a_second": round(max(rates.values()), 2),
        **throughput.figures,
    }
    return Recovery(f"the lead flapped for {lasted:.0f} s, through {epochs} epochs", seconds, figures, tuple(broken))


async def _deploy_hourly(site: Site) -> None:
    """Schedules that have been due every hour for a hundred hours, of which nothing is decided."""
    for policy, count in SCHEDULES.items():
        triggers = [{"name": f"{policy}-{number}", "every": "1h", "misfire": policy} for number in range(count)]
        document = {"workflow": f"{AWAY_NAME}-{policy}", "triggers": triggers, "tasks": {"one": note()}}
        await deploy_one(site, document)
    connection = await site.connect()
    try:
        # The last one missed is half an hour ago, and the next one half an hour ahead.
        await connection.execute(
            "update triggers set anchor_at = anchor_at - $1::interval, due_at = due_at - $1::interval,"
            " next_at = next_at - $1::interval where workflow_id in (select id from workflows where name like $2)",
            timedelta(hours=MISSED_EACH + 0.5),
            f"{AWAY_NAME}-%",
        )
    finally:
        await connection.close()


async def _decided(site: Site, count: int, *, within: float = 120.0) -> None:
    sql = "select count(*) as n from ledger l join workflows w on w.id = l.workflow_id where w.name like $1"
    deadline = time.monotonic() + within
    while (n := (await site.rows_when_back(sql, f"{AWAY_NAME}-%"))[0]["n"]) < count:
        if time.monotonic() > deadline:
            raise NotRecovered(f"{n} of {count} missed due times are decided after {within:g} s")
        await asyncio.sleep(LOOK_SECONDS)


async def _delay_the_leader(site: Site, nodes: Sequence[Node], seconds: float) -> None:
    """Holds up what the leader asks of the database, and nobody else's questions."""
    for node in nodes:
        link = site.link(node, "postgres")
        if await node.metric("orrery_leader") == 1:
            link.latency(seconds, "up")
        else:
            link.heal()


async def _epoch(site: Site) -> int:
    return int((await site.rows_when_back("select epoch from leadership"))[0]["epoch"])

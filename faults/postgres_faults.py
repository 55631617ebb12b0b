"""Faults of PostgreSQL: killed, cut off at a commit, locked, full of connections, read-only, slow to answer."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from random import Random
from typing import Literal

import asyncpg

from faults.fault import Recovery, fault
from faults.recovery import NotRecovered, caught_up, next_run, service
from faults.site import LOOK_SECONDS, Kind, Site
from faults.stand_ins import standing_in
from tests.support.eventually import eventually
from tests.support.stack import Node

EACH_KIND: tuple[Kind, ...] = ("api", "dispatcher", "worker")
BACKENDS = 5
BETWEEN_SECONDS = 3.0
COMMITS = 4
"""How many commits of each kind of process lose their answer."""
HALF_OPENED = 6
LOCKED_SECONDS = 10.0
WRITERS = 8
BEFORE_THE_BACKLOG = "critical"
"""Of the run that says that the service is back, where a single worker has the load of three: the backlog that grows
meanwhile is not what is measured."""
ANALYSIS_SECONDS = 60.0
_ANALYSIS = """
    select count(*) from (
        select t.id, r.state, row_number() over (partition by r.workflow_id order by t.started_at, c.at desc) as place
        from all_task_runs t join all_runs r on r.id = t.run_id join witness.changes c on c.of = 'runs',
            generate_series(1, $1) as again
        where c.id % 50 = 0 or c.key = r.id::text
    ) ranked where place > 0"""
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


@fault("F33", "kill -9 of one backend after the other", tier=2, target=2.0, sharp=("I1", "I19"))
async def backends_die(site: Site, chance: Random) -> Recovery:
    """The recovery is the longest until a run is accepted again; PostgreSQL's own recovery is part of it."""
    worst = 0.0
    for _ in range(BACKENDS):
        at = await site.kill_backend(chance.randrange(1_000))
        worst = max(worst, await _accepted(site, at))
        await asyncio.sleep(max(0.0, at + BETWEEN_SECONDS - time.time()))
    whole = await next_run(site, site.disturb())
    return Recovery(f"{BACKENDS} backends were killed", worst, {"run_after_seconds": round(whole, 1)})


@fault("F34", "kill -9 of the cluster, started again after 10 s", tier=3, target=8.0, sharp=("I1", "I19"))
async def cluster_dies(site: Site, _chance: Random) -> Recovery:
    at = await site.kill_server(site.postgres)
    refused = await _refused(site)
    await asyncio.sleep(max(0.0, at + 10.0 - time.time()))
    await asyncio.to_thread(site.postgres.restart)
    accepting = site.disturb()
    seconds = await service(site, accepting)
    return Recovery("the cluster was killed and started", seconds, {"refused_after_seconds": round(refused, 2)})


@fault("F36", "the database is read-only for 10 s", tier=3, target=5.0, sharp=("I19",))
async def database_is_read_only(site: Site, _chance: Random) -> Recovery:
    site.disturb()
    await _set_read_only(site, "on")
    refused = await _refused(site)
    await asyncio.sleep(LOCKED_SECONDS)
    await _set_read_only(site, "off")
    at = site.disturb()
    figures = {"refused_after_seconds": round(refused, 2)}
    return Recovery("the database was read-only", await service(site, at), figures)


@fault("F37", "connections are cut during COMMIT, at each kind of process", tier=2, target=10.0, sharp=("I5", "I14"))
async def commits_are_not_answered(site: Site, _chance: Random) -> Recovery:
    """What the proxies cut has been committed: whoever tries again meets itself."""
    async with standing_in(site, *EACH_KIND, through="postgres") as nodes:
        site.disturb()
        for node in nodes:
            site.link(node, "postgres").cut_after(b"(?i)commit", times=COMMITS)
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and any(site.link(node, "postgres").cuts < COMMITS for node in nodes):
            await _ask_each(site, nodes)
            await asyncio.sleep(LOOK_SECONDS)
        cuts = {node.name.split("-")[0]: site.link(node, "postgres").cuts for node in nodes}
        at = site.disturb()
        # Tasks of the load may fill every slot for as long as they take: the run that shows the recovery is critical.
        seconds, usual = await asyncio.gather(service(site, at, priority=BEFORE_THE_BACKLOG), next_run(site, at))
    uncut = tuple(f"F37: no commit of a {kind} was cut" for kind, count in cuts.items() if not count)
    figures = {**cuts, "usual_run_seconds": round(usual, 1)}
    return Recovery(f"{sum(cuts.values())} commits were not answered", seconds, figures, uncut)


@fault("F38", "statements are carried out and not answered in time", tier=3, target=15.0, sharp=("I1", "I5"))
async def answers_do_not_come(site: Site, chance: Random) -> Recovery:
    async with standing_in(site, *EACH_KIND, through="postgres") as nodes:
        for _ in range(HALF_OPENED):
            link = site.link(nodes[chance.randrange(len(nodes))], "postgres")
            site.disturb()
            link.half_open("down")
            await asyncio.sleep(chance.uniform(0.5, 3.0))
            link.reset()
            link.heal()
            await asyncio.sleep(1.0)
        seconds = await service(site, site.disturb(), priority=BEFORE_THE_BACKLOG)
    return Recovery(f"answers were lost {HALF_OPENED} times", seconds)


@fault("F39", "deadlocks with foreign writers on the same rows", tier=3, target=10.0, sharp=("I10", "I11"))
async def writers_lock_rows(site: Site, chance: Random) -> Recovery:
    at = site.disturb()
    found = await asyncio.gather(*(_deadlocking_writer(site, Random(chance.random())) for _ in range(WRITERS)))
    sql = "select deadlocks as n from pg_stat_database where datname = current_database()"
    deadlocks = (await site.rows(sql))[0]["n"]
    seconds = await service(site, time.time())
    figures = {"their_losses": sum(found), "deadlocks": deadlocks, "seconds_of_writing": round(time.time() - at, 1)}
    return Recovery(f"{WRITERS} writers locked rows in any order", seconds, figures)


@fault("F40", "LOCK TABLE runs for 10 s", tier=3, target=5.0, sharp=("I7", "I19"))
async def table_is_locked(site: Site, _chance: Random) -> Recovery:
    connection = await site.connect()
    try:
        async with connection.transaction():
            await connection.execute("lock table runs in access exclusive mode")
            site.disturb()
            refused = await _refused(site)
            await asyncio.sleep(LOCKED_SECONDS)
    finally:
        await connection.close()
    at = site.disturb()
    return Recovery("runs were locked", await service(site, at), {"refused_after_seconds": round(refused, 2)})


@fault("F41", "a foreign client holds every connection", tier=3, target=10.0, sharp=("I18",))
async def connections_are_exhausted(site: Site, _chance: Random) -> Recovery:
    async with standing_in(site, *EACH_KIND, through="postgres") as nodes:
        foreign: list[asyncpg.Connection] = []
        tries = {node.name: site.link(node, "postgres").connections for node in nodes}
        site.disturb()
        started = time.monotonic()
        try:
            async with contextlib.AsyncExitStack() as held:
                await _take_all(site, foreign, held)
                await asyncio.sleep(LOCKED_SECONDS)
        finally:
            for connection in foreign:
                connection.terminate()
        at = site.disturb()
        lasted = time.monotonic() - started
        rates = {node.name: (site.link(node, "postgres").connections - tries[node.name]) / lasted for node in nodes}
        seconds = await service(site, at, priority=BEFORE_THE_BACKLOG)
    storms = tuple(f"I18: {name} tried {rate:.1f} connections a second" for name, rate in rates.items() if rate > 5.0)
    figures = {"foreign": len(foreign), "most_tries_a_second": round(max(rates.values()), 2)}
    return Recovery(f"{len(foreign)} foreign connections", seconds, figures, storms)


@fault("F43", "a long analytic query runs beside", tier=3, target=1.0, sharp=("I21",))
async def query_takes_long(site: Site, _chance: Random) -> Recovery:
    """The recovery is the 99th percentile of the time from a due time to the claim of its first task."""
    quiet = await _dispatch_p99(site, time.time(), ANALYSIS_SECONDS / 2)
    connection = await site.connect()
    try:
        started = site.disturb()
        analysis = asyncio.create_task(_analyse(connection, started + ANALYSIS_SECONDS))
        p99 = await _dispatch_p99(site, started, ANALYSIS_SECONDS)
        looked_at = await analysis
    finally:
        connection.terminate()
    figures = {"p99_before_seconds": round(quiet, 3), "rows_looked_at": looked_at}
    return Recovery(f"the whole history was looked at for {ANALYSIS_SECONDS:g} s", p99, figures)


async def _analyse(connection: asyncpg.Connection, until: float) -> int:
    """Joins everything with everything in one snapshot, as a report does that nobody has tuned: it takes a processor,
    reads every page, and keeps what is dead from being tidied up. Answers how many rows it has looked at."""
    looked_at, times = 0, 1
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        while time.time() < until:
            at = time.monotonic()
            looked_at += await connection.fetchval(_ANALYSIS, times, timeout=ANALYSIS_SECONDS)
            # Few statements, each of many seconds: it is the long ones that are in the way.
            times = times * 2 if time.monotonic() - at < ANALYSIS_SECONDS / 8 else times
    return looked_at


async def _dispatch_p99(site: Site, since: float, seconds: float) -> float:
    """Of the due times from ``since`` on for so many seconds, once their tasks had time to be claimed."""
    await asyncio.sleep(max(0.0, since + seconds - time.time()))
    await caught_up(site, since + seconds)
    sql = (
        "select count(*) as n, count(*) filter (where t.started_at is null) as waiting, coalesce(percentile_cont(0.99)"
        " within group (order by extract(epoch from t.started_at - r.due_at)), 0)::float as p99 from all_runs r"
        " join all_task_runs t on t.run_id = r.id where r.due_at > to_timestamp($1) and r.due_at <= to_timestamp($2)"
    )
    deadline = time.monotonic() + 60
    while True:
        (row,) = await site.rows(sql, since, since + seconds)
        if row["n"] and not row["waiting"]:
            return float(row["p99"])
        if time.monotonic() > deadline:
            raise NotRecovered(f"{row['waiting']} of {row['n']} first tasks are not claimed")
        await asyncio.sleep(LOOK_SECONDS)


async def _accepted(site: Site, at: float, *, within: float = 30.0) -> float:
    """Seconds since ``at`` when a run is accepted."""
    deadline = time.monotonic() + within
    api = site.of("api")[0]
    async with site.client(api) as client:
        while time.monotonic() < deadline:
            if (await site.journal.ask(client, "POST", "/workflows/single/run", body={})).run_id is not None:
                return time.time() - at
            await asyncio.sleep(0.05)
    raise NotRecovered(f"no run was accepted within {within:g} s")


async def _refused(site: Site) -> float:
    """How long a request takes that cannot be carried out now; raises `NotRecovered` where it is accepted."""
    async with site.client(site.of("api")[0]) as client:
        exchange = await site.journal.ask(client, "POST", "/workflows/single/run", body={})
    if exchange.run_id is not None:
        raise NotRecovered("a run was accepted although nothing could be written")
    return exchange.seconds or 0.0


async def _ask_each(site: Site, nodes: Sequence[Node]) -> None:
    """Something to commit for the API, which the load may leave alone meanwhile."""
    for api in (node for node in nodes if node.name.startswith("api-")):
        async with site.client(api) as client:
            await site.journal.ask(client, "POST", "/workflows/graph/run", body={})


async def _set_read_only(site: Site, wanted: Literal["on", "off"]) -> None:
    """Returns when the server has told its sessions."""
    connection = await site.connect()
    try:
        await connection.execute("set default_transaction_read_only = off")
        await connection.execute(f"alter system set default_transaction_read_only = {wanted}")
        await connection.execute("select pg_reload_conf()")
    finally:
        await connection.close()

    async def is_told() -> bool:
        return bool(
            (await site.rows("show default_transaction_read_only"))[0]["default_transaction_read_only"] == wanted
        )

    await eventually(is_told, within=10)


async def _deadlocking_writer(site: Site, chance: Random) -> int:
    """Locks rows of runs and task runs in any order for a while; how often it was the one that had to give way."""
    lost = 0
    deadline = time.monotonic() + LOCKED_SECONDS
    connection = await site.connect()
    try:
        while time.monotonic() < deadline:
            rows = await connection.fetch("select id, run_id from task_runs order by created_at desc limit 20")
            picked = chance.sample(list(rows), min(4, len(rows)))
            try:
                async with connection.transaction():
                    for row in picked:
                        await connection.execute("select 1 from task_runs where id = $1 for update", row["id"])
                        await connection.execute("select 1 from runs where id = $1 for update", row["run_id"])
            except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
                lost += 1
            await asyncio.sleep(chance.uniform(0.0, 0.1))
    finally:
        await connection.close()
    return lost


async def _take_all(site: Site, foreign: list[asyncpg.Connection], held: contextlib.AsyncExitStack) -> None:
    """Takes connections until there are none, then ends the product's and takes those too."""
    killer = await site.connect()
    held.push_async_callback(killer.close)
    url = site.postgres.url
    for round_number in range(2):
        if round_number:
            await killer.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where backend_type = 'client backend' and application_name like 'orrery%'"
            )
        with contextlib.suppress(*LOST):
            while True:
                foreign.append(await asyncpg.connect(url, timeout=5, server_settings={"application_name": "foreign"}))

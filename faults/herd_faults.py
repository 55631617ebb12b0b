"""Faults of plenty: very many due times at one moment, very many runs that wait for slow tasks."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import psutil

from faults.fault import Recovery, fault
from faults.load import deploy_one
from faults.recovery import NotRecovered, next_run
from faults.row_faults import start_apart, take_out
from faults.site import LOOK_SECONDS, Site
from faults.workload import note

HERD = 2_000
PER_WORKFLOW = 100
BACKLOG = "backlog"
WAITING = 100_000
COPIED_AT_ONCE = 5_000
SLOW_SECONDS = 10
QUIET_SECONDS = 10.0
"""What lists take without a backlog says what the machine is worth at the moment."""
WATCHED_SECONDS = 60.0
DISPATCHER_BYTES = 300 * 1024 * 1024
LIST_SECONDS = 0.3
HINTS_A_SECOND = 500.0
"""The pace at which any backlog has to be worked off."""
AHEAD_SECONDS = 45.0
"""Deploying the herd takes a while; its moment must not come before."""


@fault("F50", "2,000 schedules are due at one moment", tier=3, target=5.0, sharp=("I3", "I21"))
async def a_herd_is_due(site: Site, _chance: Random) -> Recovery:
    """The recovery is the time until all are recorded; the figures say how late the other schedules were."""
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=AHEAD_SECONDS)
    name = f"crowd-{due.timestamp():.0f}"
    for number in range(HERD // PER_WORKFLOW):
        triggers = [{"name": f"at-{place}", "at": due.isoformat()} for place in range(PER_WORKFLOW)]
        await deploy_one(site, {"workflow": f"{name}-{number}", "triggers": triggers, "tasks": {"one": note()}})
    if datetime.now(UTC) >= due:
        raise NotRecovered(f"the herd was not deployed within {AHEAD_SECONDS:g} s")
    site.disturb()
    seconds = await _recorded(site, due)
    started = await _started(site, due)
    late = await site.rows(
        "select coalesce(percentile_cont(0.99) within group (order by extract(epoch from decided_at - due_at)), 0)"
        "::float as p99 from ledger where due_at > $1 and due_at < $1 + interval '20 s'",
        due,
    )
    figures = {"others_p99_seconds": round(late[0]["p99"], 2), "first_task_of_all_claimed_seconds": round(started, 1)}
    return Recovery(f"{HERD} schedules were due at once", seconds, figures)


@fault(
    "F32",
    "100,000 runs wait for tasks that are a hundred times slower",
    tier=3,
    target=60.0,
    sharp=("I9", "I18"),
    loaded=False,
)
async def a_backlog_waits(site: Site, _chance: Random) -> Recovery:
    """The rows are planted, without hints: giving each one is the leader's work. The recovery is the longest that a run
    of another priority takes meanwhile: this version has one project, and priorities are what shares a queue."""
    await deploy_one(site, _slow("template"))
    await deploy_one(site, _slow("default"))
    _, quiet = await _watch(site, until=time.time() + QUIET_SECONDS)
    began = time.time()
    try:
        planted = await _plant(site)
        since = site.disturb()
        others = asyncio.gather(*(_ends(site, priority) for priority in ("high", "low")))
        memory, lists = await _watch(site, until=since + WATCHED_SECONDS)
        seconds = max(await others)
        hinted = await site.rows(
            "select count(*) as n from task_runs t join runs r on r.id = t.run_id join workflows w on"
            " w.id = r.workflow_id where w.name = $1 and t.hinted_at is not null",
            f"{BACKLOG}-default",
        )
    finally:
        await take_out(site, BACKLOG)
        await _forget_hints(site)
    usual = await next_run(site, site.disturb(), within=2 * WATCHED_SECONDS)
    broken = []
    if memory > DISPATCHER_BYTES:
        broken.append(f"F32: a dispatcher took {memory} bytes with {planted} runs waiting")
    broken += [f"F32: GET {path} took {slowest:.2f} s" for path, slowest in lists.items() if slowest > LIST_SECONDS]
    if (pace := hinted[0]["n"] / WATCHED_SECONDS) < HINTS_A_SECOND:
        broken.append(f"F32: the leader gave {pace:.0f} hints a second")
    figures = {
        "waiting": planted,
        "hinted": hinted[0]["n"],
        "dispatcher_bytes": memory,
        "slowest_list_seconds": round(max(lists.values()), 3),
        "slowest_list_before_seconds": round(max(quiet.values()), 3),
        "planted_seconds": round(since - began, 1),
        "usual_run_after_seconds": round(usual, 1),
    }
    return Recovery(f"{planted} runs of slow tasks waited", seconds, figures, tuple(broken))


def _slow(queue: str) -> dict[str, object]:
    task = {"shell": f"sleep {SLOW_SECONDS}", "queue": queue}
    return {"workflow": f"{BACKLOG}-{queue}", "triggers": [{"manual": {}}], "tasks": {"one": task}}


async def _plant(site: Site) -> int:
    """Makes a run that nobody claims, as its queue has no worker, and as many like it in a queue that has some."""
    template = await start_apart(site, f"{BACKLOG}-template")
    connection = await site.connect()
    try:
        workflow = await connection.fetchrow(
            "select id as workflow_id, live_version_id as version_id from workflows where name = $1",
            f"{BACKLOG}-default",
        )
        run = dict(await connection.fetchrow("select * from runs where id = $1", template)) | dict(workflow)
        task = dict(await connection.fetchrow("select * from task_runs where run_id = $1", template))
        task |= {"queue": "default", "state": "ready", "hinted_at": None}
        async with connection.transaction():
            for number in range(0, WAITING, COPIED_AT_ONCE):
                places = range(number, number + COPIED_AT_ONCE)
                ids = [(_later(run["id"], place), _later(task["id"], place)) for place in places]
                runs = [tuple((run | {"id": one}).values()) for one, _ in ids]
                tasks = [tuple((task | {"id": other, "run_id": one}).values()) for one, other in ids]
                await connection.copy_records_to_table("runs", records=runs, columns=list(run))
                await connection.copy_records_to_table("task_runs", records=tasks, columns=list(task))
    finally:
        await connection.close()
    return WAITING


def _later(template: UUID, place: int) -> UUID:
    """An id of its own, in the order of ``place``."""
    return UUID(int=template.int + place + 1)


async def _ends(site: Site, priority: str) -> float:
    """Seconds that a run of this priority takes."""
    started = time.time()
    async with site.client(site.of("api")[0]) as client:
        exchange = await site.journal.ask(client, "POST", "/workflows/single/run", body={"priority": priority})
    while not await site.rows("select 1 from all_runs where id = $1 and finished_at is not null", exchange.run_id):
        if time.time() - started > 2 * WATCHED_SECONDS:
            raise NotRecovered(f"run {exchange.run_id} of priority {priority} waits behind the backlog")
        await asyncio.sleep(LOOK_SECONDS)
    return time.time() - started


async def _watch(site: Site, *, until: float) -> tuple[int, dict[str, float]]:
    """The most memory that a dispatcher has taken, and the slowest answer of each list."""
    memory = 0
    paths = ("/runs", "/runs?state=running", f"/workflows/{BACKLOG}-default/runs", "/workflows/single/runs")
    slowest = dict.fromkeys(paths, 0.0)
    async with site.client(site.of("api")[0]) as client:
        while time.time() < until:
            for path in paths:
                asked = time.monotonic()
                answer = await client.get(path)
                slowest[path] = max(slowest[path], time.monotonic() - asked)
                if answer.status_code != 200:
                    raise NotRecovered(f"GET {path} got {answer.status_code}: {answer.text[:200]}")
            taken = [psutil.Process(node.process.pid).memory_info().rss for node in site.of("dispatcher")]
            memory = max(memory, *taken)
            await asyncio.sleep(LOOK_SECONDS)
    return memory, slowest


async def _forget_hints(site: Site) -> None:
    """Empties the lanes of what was planted. Workers throw such hints away too, but at the pace at which they claim,
    which takes longer than the fault lasts; those of the load are given again."""
    for name in await asyncio.to_thread(site.queues):
        if ".template." in name:
            await asyncio.to_thread(site.rabbitmq.control, "delete_queue", name)
        elif ".default." in name:
            await asyncio.to_thread(site.rabbitmq.control, "purge_queue", name)


async def _recorded(site: Site, due: datetime, *, within: float = 120.0) -> float:
    """Seconds between the due time and the decision of the last of the herd."""
    sql = (
        "select count(*) as n, extract(epoch from max(l.decided_at) - $1)::float as seconds from ledger l"
        " join triggers t on t.id = l.trigger_id where l.due_at = $1 and t.kind = 'at'"
    )
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        rows = await site.rows_when_back(sql, due)
        if rows[0]["n"] >= HERD:
            return float(rows[0]["seconds"])
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"the herd was not recorded within {within:g} s of its moment")


async def _started(site: Site, due: datetime, *, within: float = 180.0) -> float:
    """Seconds between the due time and the claim of the last first task."""
    sql = (
        "select count(*) filter (where t.claim_no = 0) as waiting,"
        " extract(epoch from max(t.started_at) - $1)::float as seconds"
        " from task_runs t join runs r on r.id = t.run_id where r.due_at = $1"
    )
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        rows = await site.rows_when_back(sql, due)
        if not rows[0]["waiting"]:
            return float(rows[0]["seconds"] or 0.0)
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"the herd did not begin within {within:g} s")

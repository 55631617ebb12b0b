"""Faults of workers: killed, frozen, told to stop, starved."""

import asyncio
import contextlib
import signal
import threading
import time
from random import Random

import psutil

from faults.checks.runs import POISON_LOSSES
from faults.fault import Recovery, fault
from faults.load import deploy_one, start
from faults.recovery import NotRecovered, identities, released
from faults.site import Site
from faults.workload import first_holds, hold
from tests.support.eventually import eventually
from tests.support.stack import Node

CHILDREN_SECONDS = 5.0
"""Within which the processes of a dead worker are gone."""
GRACE_SECONDS = 25.0
POISON_HOLDS_SECONDS = 600.0
BETWEEN_LOSSES_SECONDS = 40.0
STARVED_SECONDS = 60.0
ROUND_SECONDS = 0.2
SHARE = 0.05


@fault(
    "F11",
    "kill -9 of a worker that runs shell, http, database and python tasks",
    tier=2,
    target=20.0,
    sharp=("I1", "I8", "I18"),
)
async def worker_dies(site: Site, _chance: Random) -> Recovery:
    worker, worker_ids, running = await _busy_worker(site)
    children = _task_processes(worker)
    at = site.kill(worker)
    gone = await _gone(children, within=CHILDREN_SECONDS)
    seconds = await released(site, worker_ids, at)
    what = f"a worker with {running} tasks was killed"
    return Recovery(what, seconds, {"tasks": running, "processes": len(children)}, gone)


@fault("F12", "kill -9 of workers at random moments of short tasks", tier=2, target=20.0, sharp=("I1", "I5"))
async def worker_dies_at_a_random_moment(site: Site, chance: Random) -> Recovery:
    worst = 0.0
    for _ in range(3):
        workers = site.of("worker")
        worker = workers[chance.randrange(len(workers))]
        worker_ids = await identities(site, worker.name)
        await asyncio.gather(*(start(site, "graph") for _ in range(8)))
        await asyncio.sleep(chance.uniform(0.0, 0.3))
        at = site.kill(worker)
        worst = max(worst, await released(site, worker_ids, at))
        worker.relaunch()
        await worker.ready()
    return Recovery("three workers were killed among short tasks", worst)


@fault("F13", "SIGSTOP of a worker past its lease", tier=2, target=20.0, sharp=("I5", "I6"))
async def worker_is_frozen(site: Site, chance: Random) -> Recovery:
    worker, worker_ids, running = await _busy_worker(site)
    children = _task_processes(worker)
    at = site.disturb()
    worker.freeze()
    seconds = await released(site, worker_ids, at)
    await asyncio.sleep(chance.uniform(0.0, 2.0))
    worker.thaw()
    thawed = time.time()

    async def is_somebody_else() -> bool:
        now = await identities(site, worker.name)
        return bool(now) and not set(now) & set(worker_ids)

    await eventually(is_somebody_else, within=30)
    registered = time.time() - thawed
    broken = await _gone(children, within=CHILDREN_SECONDS)
    figures = {"tasks": running, "registered_anew_seconds": round(registered, 2)}
    return Recovery(f"a worker with {running} tasks was frozen and thawed", seconds, figures, broken)


@fault("F16", "kill -9 of each worker that runs a task", tier=3, target=80.0, sharp=("I15",))
async def task_kills_its_workers(site: Site, _chance: Random) -> Recovery:
    """Its third loss is the last: the task ends as poison, and whoever asks is told why."""
    await deploy_one(
        site, {"workflow": "poison", "triggers": [{"manual": {}}], "tasks": {"kills": hold(POISON_HOLDS_SECONDS)}}
    )
    run_id = await start(site, "poison")
    at = time.time()
    for claim in range(1, POISON_LOSSES + 1):
        worker = await _worker_of(site, run_id, "kills", claim=claim, within=BETWEEN_LOSSES_SECONDS)
        site.kill(worker)
        worker.relaunch()
        await worker.ready()
    await _ended(site, run_id)
    seconds = time.time() - at
    return Recovery(
        f"{POISON_LOSSES} workers died of one task", seconds, violations=tuple(await _not_poison(site, run_id))
    )


async def _not_poison(site: Site, run_id: str) -> list[str]:
    """What is wrong with the run as a client sees it, after its task lost as many workers as it may."""
    async with site.client(site.of("api")[0]) as client:
        run = (await client.get(f"/runs/{run_id}")).json()
        tasks = (await client.get(f"/runs/{run_id}/task-runs")).json()
    (task,) = tasks["items"]
    broken = [] if run["state"] == "failed" else [f"I15: run {run_id} of a poisonous task is {run['state']}"]
    reason = task.get("error") or {}
    if reason.get("code") != "poison" or str(POISON_LOSSES) not in reason.get("message", ""):
        broken.append(f"I15: the reason of the poisonous task is {reason}")
    (row,) = await site.rows("select claim_no, worker_losses from task_runs where run_id = $1", run_id)
    if (row["claim_no"], row["worker_losses"]) != (POISON_LOSSES, POISON_LOSSES):
        broken.append(f"I15: the poisonous task had {row['claim_no']} claims and lost {row['worker_losses']} workers")
    return broken


@fault("F19", "SIGTERM to a worker with short and long tasks", tier=2, target=GRACE_SECONDS + 3.0, sharp=("I1", "I15"))
async def worker_leaves(site: Site, _chance: Random) -> Recovery:
    await deploy_one(
        site,
        {
            "workflow": "leaving",
            "triggers": [{"manual": {}}],
            "tasks": {"short": first_holds(5.0), "long": first_holds(600.0)},
        },
    )
    run_id = await start(site, "leaving")
    while not await _run_under_first_claim(site, run_id, {"short", "long"}):
        run_id = await start(site, "leaving")
    worker = await _worker_of(site, run_id, "long")
    at = site.disturb()
    worker.terminate()
    refused = await _refuses_work(worker)
    code = await worker.ended(within=60)
    seconds = time.time() - at
    await _ended(site, run_id)
    broken = [] if code == 0 else [f"F19: {worker.name} ended with {code}"]
    if refused > 1.0:
        broken.append(f"F19: {worker.name} took {refused:.1f} s until it refused new work")
    broken += await _unfair(site, run_id, {"long": 2, "short": 1})
    return Recovery("a worker was told to stop", seconds, {"refused_after_seconds": round(refused, 2)}, tuple(broken))


@fault("F20", "SIGTERM to every process in turn under load", tier=3, sharp=("I1", "I5", "I15"))
async def everything_is_restarted(site: Site, chance: Random) -> Recovery:
    lost_before = await _losses(site)
    at = site.disturb()
    nodes = list(site.nodes)
    chance.shuffle(nodes)
    for node in nodes:
        node.terminate()
        code = await node.ended(within=60)
        if code != 0:
            return Recovery("a rolling restart", violations=(f"F20: {node.name} ended with {code}",))
        node.relaunch()
        await node.ready()
    lost = await _losses(site) - lost_before
    broken = (f"F20: {lost} attempts were lost by a restart",) if lost else ()
    figures = {"processes": len(nodes), "seconds": round(time.time() - at, 1)}
    return Recovery(f"{len(nodes)} processes were restarted in turn", None, figures, broken)


@fault("F21", "a worker gets 5 % of a processor for 60 s", tier=3, sharp=("I5",))
async def worker_is_starved(site: Site, _chance: Random) -> Recovery:
    worker, worker_ids, running = await _busy_worker(site)
    site.disturb()
    await asyncio.to_thread(_starve, worker, STARVED_SECONDS)
    sql = "select count(*) as n from attempts where outcome = 'lost' and worker_id = any($1::uuid[])"
    lost = (await site.rows(sql, worker_ids))[0]["n"]
    still = set(await identities(site, worker.name)) & set(worker_ids)
    broken = [f"F21: {lost} attempts were taken from {worker.name}, which lived"] if lost else []
    if not still:
        broken.append(f"F21: {worker.name} lost its identity")
    return Recovery(f"a worker with {running} tasks was starved", None, {"tasks": running}, tuple(broken))


async def _busy_worker(site: Site) -> tuple[Node, list[str], int]:
    """The worker with the most tasks that take a while, its identities, and how many tasks it runs."""
    await asyncio.gather(*(start(site, "mixed") for _ in range(2 * len(site.of("worker")))))
    sql = (
        "select w.name, count(*) as tasks from task_runs t join workers w on w.id = t.worker_id"
        " join runs r on r.id = t.run_id where t.state = 'running' and r.tasks_total = 4 and w.state = 'active'"
        " group by 1 order by 2 desc, 1"
    )
    found: list[tuple[str, int]] = []

    async def one_is_busy() -> bool:
        rows = await site.rows_when_back(sql)
        found[:] = [(row["name"], row["tasks"]) for row in rows[:1]]
        return bool(found) and found[0][1] >= min(3, site.shape.slots)

    await eventually(one_is_busy, within=30)
    name, tasks = found[0]
    return site.node(name), await identities(site, name), tasks


def _task_processes(worker: Node) -> list[psutil.Process]:
    """The living processes of its tasks: those that carry a run's id."""
    found = []
    for child in worker.process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.environ().get("ORRERY_RUN_ID"):
                found.append(child)
    return found


async def _gone(processes: list[psutil.Process], *, within: float) -> tuple[str, ...]:
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, within)
    return tuple(f"I18: process {process.pid} of a lost attempt lives after {within:g} s" for process in alive)


async def _worker_of(site: Site, run_id: str, task: str, *, claim: int = 1, within: float = 30.0) -> Node:
    """Who runs the task under this claim or a later one, as soon as somebody does."""
    sql = (
        "select w.name from task_runs t join workers w on w.id = t.worker_id"
        " where t.run_id = $1 and t.task = $2 and t.state = 'running' and t.claim_no >= $3"
    )
    names: list[str] = []

    async def somebody_does() -> bool:
        names[:] = [row["name"] for row in await site.rows(sql, run_id, task, claim)]
        return bool(names)

    await eventually(somebody_does, within=within)
    return site.node(names[0])


async def _run_under_first_claim(site: Site, run_id: str, tasks: set[str], *, within: float = 60.0) -> bool:
    """Returns when all of ``tasks`` have begun; false where one waited too long for a slot, and was given back once."""
    fences: dict[str, int | None] = {}

    async def all_have_begun() -> bool:
        for effect in await asyncio.to_thread(site.effects.rows):
            if effect.run_id == run_id:
                fences.setdefault(effect.task, effect.fence)
        return fences.keys() >= tasks

    await eventually(all_have_begun, within=within)
    return set(fences.values()) == {1}


async def _refuses_work(worker: Node) -> float:
    started = time.monotonic()

    async def is_leaving() -> bool:
        return worker.process.poll() is not None or await worker.probe("/readyz") != 200

    await eventually(is_leaving, within=20)
    return time.monotonic() - started


async def _ended(site: Site, run_id: str, *, within: float = 60.0) -> None:
    async def has_ended() -> bool:
        return not await site.rows_when_back("select 1 from runs where id = $1 and finished_at is null", run_id)

    await eventually(has_ended, within=within)


async def _unfair(site: Site, run_id: str, claims: dict[str, int]) -> list[str]:
    """What is wrong with the tasks of a run whose worker left: each has its number of claims, and lost nothing."""
    rows = await site.rows(
        "select task, state, claim_no, attempt, worker_losses from task_runs where run_id = $1", run_id
    )
    return [
        f"I15: {row['task']} of run {run_id} is {row['state']} after {row['claim_no']} claims, attempt"
        f" {row['attempt']}, {row['worker_losses']} losses"
        for row in rows
        if (row["state"], row["claim_no"], row["attempt"], row["worker_losses"])
        != ("succeeded", claims[row["task"]], 1, 0)
    ]


async def _losses(site: Site) -> int:
    return int((await site.rows_when_back("select count(*) as n from attempts where outcome = 'lost'"))[0]["n"])


def _starve(worker: Node, seconds: float) -> None:
    """Lets the worker's whole tree run for a twentieth of the time, by stopping it again and again."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < deadline:
        tree = [worker.process, *worker.process.children(recursive=True)]
        for number, seconds_of in ((signal.SIGSTOP, 1 - SHARE), (signal.SIGCONT, SHARE)):
            for process in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            pause.wait(ROUND_SECONDS * seconds_of)
    if worker.process.poll() is not None:
        raise NotRecovered(f"{worker.name} ended while it was starved")

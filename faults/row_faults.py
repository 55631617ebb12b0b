"""Faults in what is stored: rows that nobody could have written through the product, planted while everybody works."""

import asyncio
import time
from random import Random

import asyncpg

from faults.fault import Recovery, fault
from faults.load import deploy_one
from faults.recovery import NotRecovered, next_run, service
from faults.site import LOOK_SECONDS, Site
from faults.stand_ins import DISPATCHER_END_SECONDS, ended, leave, relaunched
from faults.workload import note
from scheduler_domain.run.states import FINAL_RUN_STATES
from tests.support.stack import Node

BAD = "planted"
EACH_SECONDS = 20.0

_OF = f"select id from workflows where name like '{BAD}-%'"
_TRIGGERS = f"workflow_id in ({_OF})"
_RUNS = f"select id from runs where workflow_id in ({_OF})"

_CIRCLE = (
    '{"workflow": "planted", "tasks": {"a": {"shell": "true", "needs": ["b"]}, "b": {"shell": "true", "needs": ["a"]}}}'
)

PLANTS: tuple[tuple[str, str], ...] = (
    ("a cron expression that is none", f"update triggers set expression = '61 25 * * *' where {_TRIGGERS}"),
    ("an unknown time zone", f"update triggers set timezone = 'Mars/Olympus' where {_TRIGGERS}"),
    ("a policy that is no JSON", f"update triggers set policy = '{{' where {_TRIGGERS}"),
    ("a version that is no JSON", f"update versions set content = '{{' where workflow_id in ({_OF})"),
    (
        "a graph with a circle",
        f"update versions set content = '{_CIRCLE}' where workflow_id in ({_OF})",
    ),
    ("inputs that are no JSON", f"update runs set inputs = '{{' where id in ({_RUNS})"),
    ("outputs that are no JSON", f"update task_runs set output = '{{' where run_id in ({_RUNS})"),
    ("a huge name", f"update triggers set name = repeat('n', 100000) where kind = 'every' and {_TRIGGERS}"),
)
"""What is planted, each in the rows of a workflow of its own."""


@fault("F54", "rows that cannot be read", tier=2, target=10.0, sharp=("I3",))
async def bad_rows_are_planted(site: Site, _chance: Random) -> Recovery:
    """Everything that was planted is put aside within the target, and the others' due times and runs go on."""
    names = [f"{BAD}-{place}" for place in range(len(PLANTS))]
    try:
        for name in names:
            await deploy_one(site, _victim(name))
        runs = [await start_apart(site, name) for name in names]
        await _some_wait(site, runs)
        await _plant(site)
        worker = await _read_anew(site)
        at = site.disturb()
        others = await service(site, at)
        worst = await _put_aside(site, runs, at)
        answers = await _lists_answer(site)
        await leave(site, worker)
    finally:
        await take_out(site, BAD)
    figures = {"others_seconds": round(others, 2), "put_aside_seconds": round(worst, 2), "kinds": len(PLANTS)}
    after = await next_run(site, time.time())
    return Recovery(f"{len(PLANTS)} kinds of bad rows", max(others, after), figures, answers)


def _victim(name: str) -> dict[str, object]:
    """Due every two seconds, with a task that is tried again for a while."""
    retried = {"shell": "exit 1", "retry": {"attempts": 50, "delay": "2s", "backoff": "constant"}}
    return {
        "workflow": name,
        "triggers": [{"manual": {}}, {"name": name, "every": "2s"}],
        "tasks": {"a": retried, "b": {"needs": ["a"], **note()}},
    }


async def _some_wait(site: Site, runs: list[str], *, within: float = 30.0) -> None:
    """Until the first task of each has failed once: then it is woken, claimed and recorded again and again."""
    deadline = time.monotonic() + within
    sql = "select count(*) as n from task_runs where run_id = any($1::uuid[]) and claim_no > 0"
    while (await site.rows(sql, runs))[0]["n"] < len(runs):
        if time.monotonic() > deadline:
            raise NotRecovered("the runs to be spoiled did not begin")
        await asyncio.sleep(LOOK_SECONDS)


async def _plant(site: Site) -> None:
    """Each kind in the rows of its own workflow."""
    connection = await site.connect()
    try:
        for place, (_, statement) in enumerate(PLANTS):
            await connection.execute(statement.replace(f"{BAD}-%", f"{BAD}-{place}"))
    finally:
        await connection.close()


async def _read_anew(site: Site) -> Node:
    """What a process read of a version it keeps: here are dispatchers and one more worker that have read nothing."""
    dispatchers = site.of("dispatcher")
    site.disturb()
    await ended(dispatchers, within=DISPATCHER_END_SECONDS)
    worker = await site.start("worker")
    await asyncio.gather(relaunched(dispatchers), worker.ready())
    return worker


async def _put_aside(site: Site, runs: list[str], at: float) -> float:
    """Seconds until the runs whose version is spoiled have failed, and their triggers say why."""
    unreadable = [place for place, (what, _) in enumerate(PLANTS) if "version" in what or "graph" in what]
    wanted = [runs[place] for place in unreadable]
    sql = "select state, error from runs where id = any($1::uuid[])"
    deadline = time.monotonic() + EACH_SECONDS + 40
    while time.monotonic() < deadline:
        rows = await site.rows_when_back(sql, wanted)
        if all(row["state"] in FINAL_RUN_STATES for row in rows):
            if any(row["state"] != "failed" or not row["error"] for row in rows):
                raise NotRecovered(f"runs of a spoiled version are {[dict(row) for row in rows]}")
            return time.time() - at
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered("runs whose version cannot be read go on")


async def _lists_answer(site: Site) -> tuple[str, ...]:
    """Lists show what there is although some of it cannot be read."""
    broken = []
    async with site.client(site.of("api")[0]) as client:
        for path in ("/runs", "/workflows", "/schedules", f"/workflows/{BAD}-3/runs"):
            status = (await client.get(path)).status_code
            broken += [] if status == 200 else [f"I19: GET {path} got {status} beside bad rows"]
    return tuple(broken)


async def start_apart(site: Site, workflow: str) -> str:
    """Starts a run that no witness is to judge: it fails, and is taken out afterwards."""
    async with site.client(site.of("api")[0]) as client:
        answer = await client.post(f"/workflows/{workflow}/run", json={})
    if answer.status_code != 202:
        raise NotRecovered(f"no run of {workflow} was started: {answer.text[:300]}")
    return str(answer.json()["run_id"])


async def take_out(site: Site, prefix: str) -> None:
    """Workflows whose names begin with ``prefix-`` go, with all that is theirs: the suite's evidence is not to judge
    runs that were made to fail, and cannot read what was spoiled."""
    workflows = f"select id from workflows where name like '{prefix}-%'"
    runs = f"select id from runs where workflow_id in ({workflows})"
    tasks = f"select id from task_runs where run_id in ({runs})"
    statements = (
        f"delete from log_chunks where task_run_id in ({tasks})",
        f"delete from attempts where task_run_id in ({tasks})",
        f"delete from task_runs where run_id in ({runs})",
        f"delete from runs where workflow_id in ({workflows})",
        f"delete from ledger where workflow_id in ({workflows})",
        f"delete from triggers where workflow_id in ({workflows})",
        f"update workflows set live_version_id = null where name like '{prefix}-%'",
        f"delete from versions where workflow_id in ({workflows})",
        f"delete from workflows where name like '{prefix}-%'",
    )
    connection: asyncpg.Connection = await site.connect()
    try:
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement)
    finally:
        await connection.close()

"""The promise of the whole: the leader, a worker and the broker are killed under load, and nothing is lost or
doubled."""

import asyncio
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.conftest import CODE, Stacks
from tests.acceptance.journal import Load
from tests.support.eventually import eventually
from tests.support.private_servers import PrivateRabbitMQ
from tests.support.stack import Node, Stack, leader_of

RUNS_PER_SECOND = 20
INTERVAL = timedelta(seconds=2)
NEXT_FIRE_SECONDS = 10.0
TAKEN_OVER_SECONDS = 20.0
DRAINED_SECONDS = 60.0

NOTE = 'python: {call: "effects:note", args: {path: "%(file)s"}}'
WORKFLOWS = (
    "{workflow: single, triggers: [manual: {}], tasks: {one: {%(note)s}}}",
    """
workflow: diamond
triggers: [manual: {}]
tasks:
  a: {%(note)s}
  b: {needs: [a], %(note)s}
  c: {needs: [a], %(note)s}
  d: {needs: [b, c], %(note)s}
  e:
    needs: [d]
    env: {FILE: "%(file)s"}
    shell: echo "$ORRERY_RUN_ID $ORRERY_TASK $ORRERY_FENCE done $(date +%%s.%%N)" >> "$FILE"
""",
    """
workflow: long
triggers: [manual: {}]
tasks:
  work:
    env: {FILE: "%(file)s"}
    shell: |
      echo "$ORRERY_RUN_ID $ORRERY_TASK $ORRERY_FENCE done $(date +%%s.%%N)" >> "$FILE"
      sleep 6
""",
    """
workflow: ticking
triggers: [{every: 2s, misfire: fire_all}]
tasks: {tick: {%(note)s}}
""",
)


@dataclass(frozen=True)
class Effect:
    run_id: str
    task: str
    fence: int
    at: float


@pytest.mark.timeout(240)
async def test_nothing_is_lost_or_doubled(
    stacks: Stacks, postgres_url: str, private_rabbitmq: PrivateRabbitMQ, redis_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "effects"
    stack = stacks(
        DATABASE_URL=postgres_url, BROKER_URL=private_rabbitmq.url, REDIS_URL=redis_url, CODE_PATH=CODE, WORKER_SLOTS=8
    )
    dispatchers, _ = await stack.start_all(dispatchers=2, workers=2)
    for workflow in WORKFLOWS:
        await stack.deploy(workflow % {"note": NOTE % {"file": file}, "file": file})
    await asyncio.to_thread(private_rabbitmq.persist)

    async with Load(stack, RUNS_PER_SECOND, ("single", "single", "single", "diamond")) as load:
        await eventually(partial(_fires_reach, stack, 2), within=20)
        leader_died = await _kill_leader(stack, dispatchers)
        victim, worker_died = await _kill_worker(stack)
        await _kill_broker(stack, private_rabbitmq)
    print(
        f"\n{len(load.accepted)} runs accepted in {load.seconds:.0f} s, the slowest answer after {load.slowest:.2f} s"
    )
    assert not load.refused, "the store was there all the time, so every run had to be accepted"

    async with stack.client() as client:
        assert (await client.post("/workflows/ticking/undeploy")).status_code in (200, 204)
    await eventually(partial(_all_ended, stack), within=DRAINED_SECONDS)
    effects = _effects(file)
    await _check_runs(stack, load, effects)
    await _check_schedule(stack, leader_died)
    await _check_takeover(stack, victim, worker_died, effects)


# --- What is done to it -----------------------------------------------------------------------------------------------


async def _kill_leader(stack: Stack, dispatchers: list[Node]) -> float:
    leader = await leader_of(dispatchers)
    leader.kill()
    died = time.time()
    (standby,) = [node for node in dispatchers if node is not leader]
    await leader_of([standby], within=NEXT_FIRE_SECONDS)
    await eventually(partial(_fires_since, stack, died), within=NEXT_FIRE_SECONDS)
    await stack.start("dispatcher").ready()
    return died


async def _kill_worker(stack: Stack) -> tuple[str, float]:
    """Kills the one that has the most long tasks, at least four; answers its id and when."""
    for _ in range(12):
        await stack.run("long")
    busiest: list[str] = []

    async def one_is_busy() -> bool:
        rows = await stack.rows(
            "select w.id, w.name, count(*) as tasks from task_runs t join workers w on w.id = t.worker_id"
            " where t.state = 'running' and t.task = 'work' group by 1, 2 order by 3 desc"
        )
        busiest[:] = [str(rows[0]["id"]), rows[0]["name"]] if rows and rows[0]["tasks"] >= 4 else []
        return bool(busiest)

    await eventually(one_is_busy, within=15)
    (node,) = [node for node in stack.nodes if node.name == busiest[1]]
    node.kill()
    died = time.time()

    async def is_declared_lost() -> bool:
        states = await stack.rows("select state from workers where id = $1", busiest[0])
        return bool(states[0]["state"] == "lost")

    await eventually(is_declared_lost, within=TAKEN_OVER_SECONDS)
    await stack.start("worker").ready()
    return busiest[0], died


async def _kill_broker(stack: Stack, broker: PrivateRabbitMQ) -> None:
    await asyncio.to_thread(broker.kill)
    fired = len(await stack.rows("select 1 from ledger"))
    await eventually(partial(_fires_reach, stack, fired + 1), within=15)  # The clock goes on without a broker.
    await asyncio.to_thread(broker.restart)
    restarted = time.monotonic()
    first = await stack.run("single")
    await stack.finished(first, within=30)
    print(f"\na run passed {time.monotonic() - restarted:.1f} s after the broker was back")


# --- What must be true of it ------------------------------------------------------------------------------------------


async def _check_runs(stack: Stack, load: Load, effects: list[Effect]) -> None:
    runs = {str(row["id"]): row for row in await stack.rows("select id, state, tasks_left from runs")}
    assert not load.accepted.keys() - runs.keys(), "an accepted run is gone"
    assert Counter(row["state"] for row in runs.values()) == {"succeeded": len(runs)}
    assert {row["tasks_left"] for row in runs.values()} == {0}

    tasks = await stack.rows("select run_id, task, state, claim_no, attempt, worker_losses from task_runs")
    assert {task["state"] for task in tasks} == {"succeeded"}
    assert {task["attempt"] for task in tasks} == {1}, "losing a worker costs no attempt"
    assert max(task["worker_losses"] for task in tasks) <= 1
    claims = Counter(task["claim_no"] for task in tasks)
    done = Counter((effect.run_id, effect.task, effect.fence) for effect in effects)
    assert max(done.values()) == 1, "one fence had its effect twice"
    for task in tasks:
        fences = sorted(f for run_id, name, f in done if (run_id, name) == (str(task["run_id"]), task["task"]))
        assert fences[-1:] == [task["claim_no"]], (task, fences)
    repeated = sum(count - 1 for count in Counter((e.run_id, e.task) for e in effects).values())
    print(
        f"{len(runs)} runs and {len(tasks)} task runs, claims {dict(claims)}, {repeated} effects under a second fence"
    )


async def _check_schedule(stack: Stack, leader_died: float) -> None:
    (trigger,) = await stack.rows("select id, anchor_at from triggers where kind = 'every'")
    ledger = await stack.rows("select due_at, outcome, run_id, decided_at, epoch from ledger order by due_at")
    fired = await stack.rows("select id, due_at from runs where trigger_id = $1", trigger["id"])
    due: list[datetime] = [row["due_at"] for row in ledger]
    expected = [due[0] + number * INTERVAL for number in range(len(due))]
    assert due == expected, "a due time is missing, or is there twice"
    assert (due[0] - trigger["anchor_at"]) % INTERVAL == timedelta(0)
    assert {row["outcome"] for row in ledger} == {"fired"}
    assert {row["due_at"]: row["id"] for row in fired} == {row["due_at"]: row["run_id"] for row in ledger}
    assert len(fired) == len(ledger)

    late = [(row["decided_at"] - row["due_at"]).total_seconds() for row in ledger]
    after = [seconds for row, seconds in zip(ledger, late, strict=True) if row["due_at"].timestamp() > leader_died]
    assert after
    print(f"{len(ledger)} due times, each with one run; after the leader's death at most {max(after):.1f} s late")
    assert max(after) <= NEXT_FIRE_SECONDS
    assert [row["epoch"] for row in ledger] == sorted(row["epoch"] for row in ledger)
    assert len({row["epoch"] for row in ledger}) == 2


async def _check_takeover(stack: Stack, victim: str, died: float, effects: list[Effect]) -> None:
    lost = await stack.rows(
        "select a.claim_no, t.run_id, t.task, t.worker_losses from attempts a join task_runs t on t.id = a.task_run_id"
        " where a.worker_id = $1 and a.outcome = 'lost'",
        victim,
    )
    assert len(lost) >= 4
    assert {row["worker_losses"] for row in lost} == {1}
    begun: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for effect in effects:
        begun[effect.run_id, effect.task][effect.fence] = effect.at
    # A claim that was handed back unbegun has no effect: another one took the task over.
    again = [
        [at for fence, at in begun[str(row["run_id"]), row["task"]].items() if fence > row["claim_no"]] for row in lost
    ]
    waits = [min(taken_over) - died for taken_over in again]
    print(f"{len(lost)} attempts of the dead worker ran again within {max(waits):.1f} s")
    assert max(waits) <= TAKEN_OVER_SECONDS


def _effects(file: Path) -> list[Effect]:
    words = [line.split() for line in file.read_text().splitlines()]
    return [Effect(run_id, task, int(fence), float(at)) for run_id, task, fence, _, at in words]


async def _all_ended(stack: Stack) -> bool:
    return not await stack.rows("select 1 from runs where finished_at is null limit 1")


async def _fires_reach(stack: Stack, count: int) -> bool:
    return len(await stack.rows("select 1 from ledger where outcome = 'fired'")) >= count


async def _fires_since(stack: Stack, moment: float) -> bool:
    return bool(await stack.rows("select 1 from ledger where due_at > to_timestamp($1)", moment))

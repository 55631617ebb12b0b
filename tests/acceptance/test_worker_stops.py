"""SIGTERM: a worker takes nothing more, lets short work end and hands long work back; a leader gives up its lead."""

import asyncio
import time
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.conftest import Stacks
from tests.support.eventually import eventually
from tests.support.stack import Node, Stack, leader_of

TAKES_NOTHING_AFTER_SECONDS = 1.0

WORKFLOW = """
workflow: mixed
triggers: [manual: {}]
inputs: {kind: {type: string}}
tasks:
  work:
    env: {FILE: "%s", KIND: "${{ inputs.kind }}"}
    shell: |
      echo "$ORRERY_RUN_ID $ORRERY_FENCE $KIND begins" >> "$FILE"
      [ "$KIND" = short ] && sleep 2
      [ "$KIND" = long ] && [ "$ORRERY_FENCE" = 1 ] && sleep 300
      echo "$ORRERY_RUN_ID $ORRERY_FENCE $KIND ends" >> "$FILE"
"""


async def test_short_tasks_end_and_long_ones_are_handed_back(distributed: Stacks, tmp_path: Path) -> None:
    file = tmp_path / "effects"
    stack = distributed(SHUTDOWN_GRACE_SECONDS=4, TASK_GRACE_SECONDS=1, WORKER_SLOTS=4)
    _, (leaving,) = await stack.start_all()
    await stack.deploy(WORKFLOW % file)
    runs = {await stack.run("mixed", kind=kind): kind for kind in ("short", "short", "long", "long")}
    await eventually(partial(_has_lines, file, 4), within=20)
    (worker,) = await stack.rows("select id from workers")

    leaving.terminate()
    stopped_at = time.monotonic()
    assert leaving.process.poll() is None
    # Once it closed, what is started waits for another worker; nothing of it may be in this one's hands.
    await eventually(partial(_refuses_work, leaving), within=TAKES_NOTHING_AFTER_SECONDS)
    late = [await stack.run("mixed", kind="late") for _ in range(5)]
    assert await leaving.ended(within=20) == 0
    print(f"\nthe worker was gone {time.monotonic() - stopped_at:.1f} s after SIGTERM")
    left = await stack.rows("select run_id, state, claim_no, attempt from task_runs where state <> 'succeeded'")
    assert {(row["state"] in ("ready", "queued")) for row in left} == {True}, left
    assert {str(row["run_id"]) for row in left} == {*late, *(run for run, kind in runs.items() if kind == "long")}

    await stack.start("worker").ready()
    for run_id in (*runs, *late):
        ended = await stack.finished(run_id, within=30)
        assert ended["state"] == "succeeded"
        (task,) = ended["tasks"]
        handed_back = runs.get(run_id) == "long"
        assert (task["claim_no"], task["attempt"]) == ((2, 1) if handed_back else (1, 1))
        assert (task["worker_id"] == str(worker["id"])) == (runs.get(run_id) == "short")
    ends = [line for line in file.read_text().splitlines() if line.endswith("ends")]
    assert len(ends) == len(set(ends)) == len(runs) + len(late)


@pytest.mark.alone
async def test_another_leads_at_once_when_the_leader_is_told_to_stop(distributed: Stacks) -> None:
    stack = distributed()
    dispatchers, _ = await stack.start_all(dispatchers=2)
    leader = await leader_of(dispatchers)
    await stack.deploy('{workflow: ticking, triggers: [every: 1s], tasks: {one: {python: {call: "effects:nothing"}}}}')
    await eventually(partial(_fires_reach, stack, 2), within=15)
    leader.terminate()
    stopped_at = time.monotonic()
    (standby,) = [node for node in dispatchers if node is not leader]
    await leader_of([standby], within=5)
    print(f"\nanother led {time.monotonic() - stopped_at:.1f} s after SIGTERM")
    assert time.monotonic() - stopped_at < 2.5
    assert await leader.ended(within=15) == 0
    fired = len(await stack.rows("select 1 from ledger"))
    await eventually(partial(_fires_reach, stack, fired + 2), within=10)
    late = await stack.rows("select extract(epoch from max(decided_at - due_at)) as seconds from ledger")
    assert late[0]["seconds"] < 2.5


async def _has_lines(file: Path, count: int) -> bool:
    return file.exists() and len(await asyncio.to_thread(lambda: file.read_text().splitlines())) >= count


async def _refuses_work(node: Node) -> bool:
    return await node.probe("/readyz", timeout=1) != 200


async def _fires_reach(stack: Stack, count: int) -> bool:
    return len(await stack.rows("select 1 from ledger where outcome = 'fired'")) >= count

"""Rows that no use case would write, put straight into the tables while everybody works: nobody else's work stops."""

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from scheduler_application.schedule.freeze import FreezeCommand
from tests.support.flows import flow, lose
from tests.support.world import ACTOR, World

HOUR = 3_600.0

_VERSION = "(select live_version_id from workflows where name = 'bad')"
_RUNS = "(select r.id from runs r join workflows w on w.id = r.workflow_id where w.name = 'bad')"
_TRIGGERS = "(select t.id from triggers t join workflows w on w.id = t.workflow_id where w.name = 'bad')"
_CIRCLE = (
    '{"workflow": "bad", "tasks": {"a": {"shell": "true", "needs": ["b"]}, "b": {"shell": "true", "needs": ["a"]}}}'
)

PLANTS: dict[str, tuple[str, Any]] = {
    "an invalid cron expression": (f"update triggers set expression = $1 where id in {_TRIGGERS}", "61 * * * *"),
    "an unknown time zone": (f"update triggers set timezone = $1 where id in {_TRIGGERS}", "Mars/Olympus"),
    "a policy that is no JSON": (f"update triggers set policy = $1 where id in {_TRIGGERS}", "{"),
    "a huge name": (f"update triggers set name = $1 where id in {_TRIGGERS}", "n" * 100_000),
    "labels that are no JSON": ("update workflows set labels = $1 where name = 'bad'", "{"),
    "a version that is no JSON": (f"update versions set content = $1 where id = {_VERSION}", "{"),
    "a version that is no object": (f"update versions set content = $1 where id = {_VERSION}", "7"),
    "a graph with a circle": (f"update versions set content = $1 where id = {_VERSION}", _CIRCLE),
    "inputs that are no JSON": (f"update runs set inputs = $1 where id in {_RUNS}", "{"),
    "inputs that are no object": (f"update runs set inputs = $1 where id in {_RUNS}", "7"),
    "an output that is no JSON": (f"update task_runs set output = $1 where task = 'a' and run_id in {_RUNS}", "{"),
    "an item that is no JSON": (f"update task_runs set item = $1 where item_index >= 0 and run_id in {_RUNS}", "{"),
    "an unknown task": (f"update task_runs set task = $1 where task = 'c' and run_id in {_RUNS}", "nobody"),
    "an expectation in an unknown zone": ("update expectations set timezone = $1 where name = 'bad-kept'", "Mars"),
    "a heartbeat that is no interval": ("update heartbeats set expression = $1 where name = 'bad'", "often"),
}
"""What is planted, and by which statement with which value."""


def document(name: str) -> dict[str, Any]:
    """A chain with a fan-out whose tasks use what may be spoiled."""
    tasks = {
        "a": {"shell": "echo $N", "env": {"N": "${{ inputs.n }}"}, "retry": {"attempts": 3, "delay": "5s"}},
        "b": {"for_each": "${{ [1, 2] }}", "needs": ["a"], "shell": "echo $I", "env": {"I": "${{ item }}"}},
        "c": {"needs": ["b"], "when": "${{ tasks.a.state == 'succeeded' }}", "on_worker_loss": "fail"},
    }
    expect = [{"name": f"{name}-kept", "by": "30 * * * *"}]
    inputs = {"n": {"type": "integer", "default": 1}}
    return flow(
        tasks,
        name=name,
        inputs=inputs,
        triggers=[{"schedule": "0 * * * *", "name": name}],
        labels=[name],
        expect=expect,
    )


async def plant(world: World, names: Sequence[str]) -> None:
    for name in names:
        await world.write(*PLANTS[name])
    world.definitions.forget()


async def a_leaders_round(world: World) -> None:
    """Everything that the leader does by itself."""
    term = await world.lead()
    await world.fire_due_schedules.execute(term)
    await world.wake_due_tasks.execute(term)
    await world.enforce_run_deadlines.execute(term)
    await world.judge_deadlines.execute(term)
    await world.advance_backfills.execute(term)
    await world.relay_hints.execute(term)
    await world.recover_lost_workers.execute(term)


async def one_hour(world: World, names: Sequence[str]) -> None:
    """A due time comes, rows are spoiled, a worker is lost, and what may be claimed is worked off."""
    world.clock.advance(HOUR)
    await a_leaders_round(world)
    await plant(world, names)
    await world.claim(2)
    await lose(world, world.worker_id)
    await a_leaders_round(world)
    await world.work()


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_planted_in_one_workflows_rows_the_others_go_on(world: World, seed: int) -> None:
    chance = Random(seed)
    for name in ("good", "bad", "fine"):
        await world.deploy(document(name))
    in_a_year = world.clock.now() + timedelta(days=365)
    await world.freeze_schedules.execute(FreezeCommand("nobody's", in_a_year, label="nobody"), ACTOR)
    contents = await world.rows("select id, content from versions")
    planted: list[str] = []
    for _ in range(3):
        planted += chance.sample(sorted(PLANTS), 3)
        await one_hour(world, planted)
    good = await world.rows(
        "select r.state from runs r join workflows w on w.id = r.workflow_id where w.name in ('good', 'fine')"
    )
    assert [row["state"] for row in good] == ["succeeded"] * 6, planted
    open_ones = await world.rows("select state from runs where finished_at is null")
    assert [row["state"] for row in open_ones] == [], planted
    for row in contents:
        # What looks over the world after each test reads every version.
        await world.write("update versions set content = $1 where id = $2", row["content"], row["id"])
    await world.write("update task_runs set task = 'c' where task = 'nobody'")


async def test_a_run_without_an_owner_cannot_even_be_planted(world: World) -> None:
    await world.deploy(document("bad"))
    run_id = (await world.start("bad")).run_id
    for column in ("project_id", "workflow_id", "started_by"):
        with pytest.raises(Exception, match=r"(?i)null"):
            await world.write(f"update runs set {column} = null where id = $1", run_id)
    await world.work()

"""Tasks that are runs of other workflows: their inputs, outcomes, retries, limits and cancels."""

from typing import Any

import pytest

from scheduler_application.run.control import TaskRunCommand
from scheduler_application.workflow.authoring import WorkflowCommand
from scheduler_domain.run.outcome import Succeeded
from tests.support.flows import failure, flow, results, slots, wake
from tests.support.world import ACTOR, World


def parent(inputs: dict[str, Any] | None = None, **body: Any) -> dict[str, Any]:
    child = {"name": "child", **({} if inputs is None else {"inputs": inputs})}
    return flow({"call": {"workflow": child, **body}, "then": {"needs": ["call"]}}, name="parent")


async def child_of(world: World, run_id: str, task: str = "call") -> str:
    child = (await world.tasks(run_id))[task].child_run_id
    assert child is not None
    return child


async def stop_only(world: World, run_id: str) -> None:
    """Cancels the run and leaves its children alone, as a process does that dies between the two commits."""

    async def stop(tx: Any) -> None:
        await world.stop_runs._stop(tx, [run_id], "cancel", None)

    await world.store.transact(stop)


async def error_of(world: World, run_id: str, task: str = "call") -> str:
    return str(((await world.tasks(run_id))[task].error or {})["code"])


async def deadlines(world: World) -> int:
    """What the leader does now and then: runs past their time limit, and child runs that nobody waits for."""
    return await world.enforce_run_deadlines.execute(await world.lead())


async def test_a_child_run_holds_no_worker_and_hands_its_leaves_outputs_on(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}, "c": {}}, name="child"))
    await world.deploy(parent())
    run_id = (await world.start("parent")).run_id
    child = await child_of(world, run_id)
    assert (await world.states(run_id))["call"] == "waiting"
    await world.work(results(a=Succeeded(1), b=Succeeded({"x": 2}), c=Succeeded([3])))
    call = (await world.tasks(run_id))["call"]
    assert call.output == {"run_id": child, "outputs": {"b": {"x": 2}, "c": [3]}}
    assert (await world.run(run_id)).state == "succeeded"
    view = await world.run(child)
    assert (view.parent_run_id, view.started_by, view.state) == (run_id, f"run:{run_id}", "succeeded")


async def test_outputs_that_are_too_long_are_marked_truncated(world: World) -> None:
    await world.deploy(flow("a b", name="child"))
    await world.deploy(parent())
    run_id = (await world.start("parent")).run_id
    await world.work(results(a=Succeeded("ä" * 20_000), b=Succeeded("ä" * 20_000)))
    call = (await world.tasks(run_id))["call"]
    assert call.output == {"run_id": call.child_run_id, "outputs": {}, "truncated": True}


async def test_a_child_gets_the_inputs_that_its_parent_computes(world: World) -> None:
    await world.deploy(flow(inputs={"n": {"type": "integer"}}, name="child"))
    tasks = {
        "a": {},
        "call": {"needs": ["a"], "workflow": {"name": "child", "inputs": {"n": "${{ tasks.a.output + 1 }}"}}},
    }
    await world.deploy(flow(tasks, name="parent"))
    run_id = (await world.start("parent")).run_id
    (a,) = await world.claim()
    await world.finish(a, Succeeded(41))
    assert (await world.run(await child_of(world, run_id))).inputs == {"n": 42}
    await world.work()


@pytest.mark.parametrize("inputs", [None, {"n": "text"}, {"n": 1, "other": 2}])
async def test_inputs_that_the_child_refuses_fail_the_task_and_start_nothing(world: World, inputs: Any) -> None:
    await world.deploy(flow(inputs={"n": {"type": "integer"}}, name="child"))
    await world.deploy(parent(inputs))
    run_id = (await world.start("parent")).run_id
    assert await error_of(world, run_id) == "invalid_inputs"
    assert (await world.run(run_id)).state == "failed"
    assert len(await world.rows("select id from runs")) == 1


async def test_a_child_that_is_not_there_fails_the_task_by_name(world: World) -> None:
    await world.deploy(parent())
    assert await error_of(world, (await world.start("parent")).run_id) == "not_deployed"
    await world.deploy(flow(name="child"))
    await world.disable_workflow.execute(WorkflowCommand("child"), ACTOR)
    assert await error_of(world, (await world.start("parent")).run_id) == "disabled"
    await world.undeploy_workflow.execute(WorkflowCommand("child"), ACTOR)
    assert await error_of(world, (await world.start("parent")).run_id) == "not_deployed"


async def test_a_failed_child_fails_its_task(world: World) -> None:
    await world.deploy(flow(name="child"))
    await world.deploy(parent())
    run_id = (await world.start("parent")).run_id
    await world.work(results(a=failure()))
    assert await world.states(run_id) == {"call": "failed", "then": "skipped"}
    assert await error_of(world, run_id) == "child_failed"


async def test_a_child_is_tried_again_as_a_new_run(world: World) -> None:
    await world.deploy(flow(name="child"))
    await world.deploy(parent(retry={"attempts": 3, "delay": "10s", "backoff": "constant", "jitter": False}))
    run_id = (await world.start("parent")).run_id
    children = []
    for attempt in (1, 2, 3):
        call = (await world.tasks(run_id))["call"]
        assert (call.state, call.attempt) == ("waiting", attempt)
        children.append(call.child_run_id)
        await world.work(results(a=failure() if attempt < 3 else Succeeded()))
        assert await wake(world, 9) == 0
        await wake(world, 1)
    assert len(set(children)) == 3
    assert (await world.run(run_id)).state == "succeeded"


async def test_the_tasks_time_limit_is_the_childs(world: World) -> None:
    await world.deploy(flow(name="child"))
    await world.deploy(parent(timeout="30s"))
    run_id = (await world.start("parent")).run_id
    child = await child_of(world, run_id)
    world.clock.advance(30)
    assert await deadlines(world) == 1
    assert (await world.run(child)).state == "timed_out"
    assert await world.states(run_id) == {"call": "timed_out", "then": "skipped"}
    assert (await world.run(run_id)).state == "failed"


async def test_children_of_children_end_at_a_bound(world: World) -> None:
    await world.deploy(flow({"call": {"workflow": {"name": "endless"}}}, name="endless"))
    run_id = (await world.start("endless")).run_id
    states = await world.rows("select state, depth from runs order by depth")
    assert [row["depth"] for row in states] == list(range(11))
    assert {row["state"] for row in states} == {"failed"}
    assert await error_of(world, run_id) == "child_failed"
    deepest = await world.rows("select error from task_runs where error like '%chain_too_deep%'")
    assert len(deepest) == 1


async def test_cancelling_the_top_ends_every_run_below_it(world: World) -> None:
    await world.deploy(flow(name="leaf"))
    await world.deploy(flow({"call": {"workflow": {"name": "leaf"}}}, name="child"))
    await world.deploy(parent())
    run_id = (await world.start("parent")).run_id
    (leaf,) = await world.claim()
    await world.cancel(run_id)
    runs = await world.rows("select state, depth from runs order by depth")
    assert [row["state"] for row in runs] == ["cancelled", "cancelled", "cancelling"]
    await world.finish(leaf)
    assert [row["state"] for row in await world.rows("select state from runs")] == ["cancelled"] * 3


async def test_child_runs_that_a_crash_kept_from_being_cancelled_are_found(world: World) -> None:
    """Between the commit that cancels a parent and the one that cancels its child the process may die."""
    await world.deploy(flow(name="child"))
    await world.deploy(parent())
    run_id = (await world.start("parent")).run_id
    child = await child_of(world, run_id)
    await stop_only(world, run_id)
    assert (await world.run(child)).state == "running"
    assert await deadlines(world) == 1
    assert (await world.run(child)).state == "cancelled"
    assert await deadlines(world) == 0


async def test_cancelling_the_task_cancels_its_child_at_once(world: World) -> None:
    await world.deploy(flow(name="child"))
    await world.deploy(parent())
    run_id = (await world.start("parent")).run_id
    call = (await world.tasks(run_id))["call"]
    await world.cancel_task_run.execute(TaskRunCommand(call.id), ACTOR)
    assert (await world.run(str(call.child_run_id))).state == "cancelled"
    assert (await world.states(run_id), (await world.run(run_id)).state) == (
        {"call": "cancelled", "then": "skipped"},
        "cancelled",
    )


async def test_cancelling_the_child_fails_its_task_without_another_try(world: World) -> None:
    await world.deploy(flow(name="child"))
    await world.deploy(parent(retry=5))
    run_id = (await world.start("parent")).run_id
    await world.cancel(await child_of(world, run_id))
    assert await world.states(run_id) == {"call": "failed", "then": "skipped"}
    assert await error_of(world, run_id) == "child_cancelled"


async def test_items_may_be_child_runs_that_share_a_slot(world: World) -> None:
    await world.deploy(flow(name="child", concurrency={"limit": 1}, inputs={"n": {"type": "integer"}}))
    each = {
        "needs": ["make"],
        "for_each": "${{ tasks.make.output }}",
        "max_parallel": 3,
        "workflow": {"name": "child", "inputs": {"n": "${{ item }}"}},
    }
    await world.deploy(flow({"make": {}, "each": each, "last": {"needs": ["each"]}}, name="parent"))
    run_id = (await world.start("parent")).run_id
    (make,) = await world.claim()
    await world.finish(make, Succeeded([1, 2, 3, 4]))
    assert len(await world.rows("select id from runs where state = 'running'")) == 2
    assert len(await world.rows("select id from runs where state = 'pending'")) == 2
    assert await world.work() == ["a", "a", "a", "a", "last"]
    assert (await world.run(run_id)).state == "succeeded"
    assert await slots(world) == {"": 0}


async def test_a_child_whose_concurrency_skips_it_fails_the_task(world: World) -> None:
    await world.deploy(flow(name="child", concurrency={"limit": 1, "on_conflict": "skip"}))
    await world.deploy(parent())
    await world.start("child")
    run_id = (await world.start("parent")).run_id
    assert await error_of(world, run_id) == "skipped"


async def test_a_retry_that_is_cancelled_while_it_is_due_starts_no_child(world: World) -> None:
    await world.deploy(flow(name="child"))
    await world.deploy(parent(retry={"attempts": 2, "delay": "10s", "jitter": False}))
    run_id = (await world.start("parent")).run_id
    await world.work(results(a=failure()))
    world.clock.advance(10)

    async def cancelled_between_look_and_lock(tx: Any) -> None:
        due = await tx.upkeep.waking(world.clock.now(), 10)
        assert [task.state for task in due] == ["retrying"]
        await world.stop_runs._stop(tx, [run_id], "cancel", None)
        assert await tx.upkeep.next_attempt([task.id for task in due]) == set()

    await world.store.transact(cancelled_between_look_and_lock)
    assert await wake(world) == 0
    assert len(await world.rows("select id from runs")) == 2

"""Cancelling: at every moment, twice, one task or all; and the run ends exactly once."""

import asyncio
from typing import Any

import pytest

from scheduler_application.errors import Conflict, NotFound
from scheduler_application.run.control import RunCommand, TaskRunCommand
from scheduler_domain.run.outcome import Cancelled, HandedBack, Outcome, Succeeded, TimedOut
from tests.support.flows import chain, failure, flow, lose, recover, results, wake
from tests.support.world import ACTOR, World


async def ends_of(world: World, run_id: str, feed: Any) -> int:
    """How often watchers were told that the run is final."""
    await world.announcer.idle()
    final = ("succeeded", "failed", "cancelled", "timed_out")
    told = list(feed._items)
    return sum(change["kind"] == "run" and change["id"] == run_id and change["state"] in final for change in told)


async def test_what_is_idle_ends_at_once_whatever_it_waits_for(world: World) -> None:
    tasks = {
        "ready": {},
        "blocked": {"needs": ["ready"]},
        "timer": {"wait": {"for": "1h"}},
        "again": {"retry": {"attempts": 2, "delay": "1h"}},
    }
    await world.deploy(flow(tasks))
    run_id = (await world.start("flow")).run_id
    claimed = {task.row.task: task for task in await world.claim()}
    await world.finish(claimed["again"], failure())
    await world.finish(claimed["ready"], HandedBack())
    await world.announcer.idle()
    assert await world.states(run_id) == {
        "ready": "queued",
        "blocked": "blocked",
        "timer": "waiting",
        "again": "retrying",
    }
    view = await world.cancel(run_id)
    assert view.state == "cancelled"
    assert set((await world.states(run_id)).values()) == {"cancelled"}
    assert await world.claim() == []
    assert await wake(world, 3_600) == 0


@pytest.mark.parametrize(
    ("outcome", "task_state"),
    [
        (Cancelled(), "cancelled"),
        (Succeeded(1), "succeeded"),
        (failure(), "cancelled"),
        (TimedOut(1), "cancelled"),
        (HandedBack(), "cancelled"),
    ],
)
async def test_a_running_task_ends_by_its_worker_and_then_the_run_ends(
    world: World, outcome: Outcome, task_state: str
) -> None:
    await world.deploy(flow(chain("a", "b", retry=5)))
    run_id = (await world.start("flow")).run_id
    (claimed,) = await world.claim()
    commands = world.hub.signals.commands(world.worker_id)
    assert (await world.cancel(run_id)).state == "cancelling"
    assert await anext(commands) == {"kind": "cancel", "task_run_id": claimed.row.id, "claim_no": claimed.row.claim_no}
    assert (await world.heartbeat.execute(world.worker_id)).to_end == [claimed.fence]
    await world.finish(claimed, outcome)
    assert (await world.states(run_id), (await world.run(run_id)).state) == (
        {"a": task_state, "b": "cancelled"},
        "cancelled",
    )
    assert (await world.heartbeat.execute(world.worker_id)).to_end == []


async def test_a_lost_worker_does_not_keep_a_cancelled_run_from_ending(world: World) -> None:
    await world.deploy(flow())
    run_id = (await world.start("flow")).run_id
    await world.claim()
    await world.cancel(run_id)
    await lose(world, world.worker_id)
    assert await recover(world) == 1
    assert (await world.run(run_id)).state == "cancelled"


async def test_cancelling_twice_is_cancelling_once(world: World) -> None:
    await world.deploy(flow())
    run_id = (await world.start("flow")).run_id
    (claimed,) = await world.claim()
    feed = world.live.subscribe(ACTOR.project)
    views = await asyncio.gather(world.cancel(run_id), world.cancel(run_id))
    assert [view.state for view in views] == ["cancelling"] * 2
    await world.cancel(run_id)
    await world.finish(claimed, Cancelled())
    with pytest.raises(Conflict) as refusal:
        await world.cancel(run_id)
    assert refusal.value.code == "already_finished"
    assert await ends_of(world, run_id, feed) == 1


@pytest.mark.parametrize("moment", range(8))
async def test_a_run_may_be_cancelled_at_every_moment(world: World, moment: int) -> None:
    """A graph with everything in it, cancelled before its n-th step (after the sixth it is over); nothing is left of
    it."""
    await world.deploy(flow(name="child"))
    tasks = {
        "make": {},
        "each": {"needs": ["make"], "for_each": "${{ tasks.make.output }}", "max_parallel": 2},
        "call": {"needs": ["make"], "workflow": {"name": "child"}},
        "pause": {"needs": ["each"], "wait": {"for": "5s"}},
        "last": {"needs": ["call", "pause"], "run_if": "all_done"},
    }
    await world.deploy(flow(tasks))
    run_id = (await world.start("flow")).run_id
    feed = world.live.subscribe(ACTOR.project)
    running = await world.claim()
    for _ in range(moment):
        await wake(world, 5)
        running += await world.claim()
        if running:
            task = running.pop(0)
            await world.finish(task, Succeeded([1, 2, 3]))
    if (await world.run(run_id)).state == "running":
        await world.cancel(run_id)
    for task in running:
        await world.finish(task, Cancelled())
    assert await world.work() == []
    state = (await world.run(run_id)).state
    assert state == ("cancelled" if moment < 6 else "succeeded")
    assert await ends_of(world, run_id, feed) == 1


async def test_a_group_ends_when_its_running_items_have_ended(world: World) -> None:
    each = {"needs": ["make"], "for_each": "${{ tasks.make.output }}", "max_parallel": 2}
    await world.deploy(flow({"make": {}, "each": each, "last": {"needs": ["each"]}}))
    run_id = (await world.start("flow")).run_id
    (make,) = await world.claim()
    await world.finish(make, Succeeded(list(range(5))))
    first, second = await world.claim()
    await world.cancel(run_id)
    states = await world.states(run_id)
    assert [states[f"each[{i}]"] for i in range(5)] == ["running", "running", "cancelled", "cancelled", "cancelled"]
    assert (states["each"], states["last"]) == ("waiting", "cancelled")
    await world.finish(first, Cancelled())
    assert (await world.run(run_id)).state == "cancelling"
    await world.finish(second, Succeeded(1))
    states = await world.states(run_id)
    assert (states["each"], states["each[1]"], (await world.run(run_id)).state) == (
        "cancelled",
        "succeeded",
        "cancelled",
    )


async def test_a_cancel_meets_a_claim_and_one_of_them_is_first(world: World) -> None:
    await world.deploy(flow("a b c d"))
    for _ in range(10):
        run_id = (await world.start("flow")).run_id
        claimed, _ = await asyncio.gather(world.claim(), world.cancel(run_id))
        told = (await world.heartbeat.execute(world.worker_id)).to_end
        assert sorted(told) == sorted(task.fence for task in claimed)
        for task in claimed:
            await world.finish(task, Cancelled())
        assert (await world.run(run_id)).state == "cancelled"


async def test_an_outcome_and_a_cancel_at_once_end_the_run_once(world: World) -> None:
    await world.deploy(flow())
    feed = world.live.subscribe(ACTOR.project)
    for _ in range(10):
        run_id = (await world.start("flow")).run_id
        (claimed,) = await world.claim()
        await asyncio.gather(world.finish(claimed), world.cancel(run_id), return_exceptions=True)
        assert (await world.run(run_id)).state in ("succeeded", "cancelled")
        assert await ends_of(world, run_id, feed) == 1


async def test_stopping_a_workflow_ends_all_its_live_runs_and_no_others(world: World) -> None:
    await world.deploy(flow())
    await world.deploy(flow(name="other"))
    done = (await world.start("flow")).run_id
    await world.work()
    runs = [(await world.start("flow")).run_id for _ in range(150)]
    other = (await world.start("other")).run_id
    assert sorted(await world.stop_workflow.execute("flow", ACTOR)) == sorted(runs)
    counts = await world.rows("select state, count(*) as number from runs group by state order by state")
    assert {row["state"]: row["number"] for row in counts} == {"cancelled": 150, "running": 1, "succeeded": 1}
    assert [(await world.run(run_id)).state for run_id in (done, other)] == ["succeeded", "running"]
    with pytest.raises(NotFound):
        await world.stop_workflow.execute("nothing", ACTOR)


# One task run ---------------------------------------------------------------------------------------------------------


async def cancel_task(world: World, run_id: str, task: str = "a") -> str:
    task_run = (await world.tasks(run_id))[task]
    return (await world.cancel_task_run.execute(TaskRunCommand(task_run.id), ACTOR)).state


async def test_a_task_that_waits_is_cancelled_at_once_and_the_run_goes_on(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {}, "c": {"needs": ["a"]}, "d": {"needs": ["a"], "run_if": "all_done"}}))
    run_id = (await world.start("flow")).run_id
    assert await cancel_task(world, run_id) == "cancelled"
    assert await world.work() == ["b", "d"]
    assert (await world.states(run_id))["c"] == "skipped"
    assert (await world.run(run_id)).state == "cancelled"


@pytest.mark.parametrize("outcome", [Cancelled(), failure(), TimedOut(1), HandedBack()])
async def test_a_running_task_that_is_cancelled_gets_no_further_attempt(world: World, outcome: Outcome) -> None:
    await world.deploy(flow({"a": {"retry": 5}, "b": {"needs": ["a"]}}))
    run_id = (await world.start("flow")).run_id
    (claimed,) = await world.claim()
    assert await cancel_task(world, run_id) == "running"
    assert (await world.heartbeat.execute(world.worker_id)).to_end == [claimed.fence]
    assert await world.finish(claimed, outcome) is True
    assert await world.states(run_id) == {"a": "cancelled", "b": "skipped"}
    assert (await world.run(run_id)).state == "cancelled"


async def test_a_cancelled_task_whose_worker_is_lost_is_not_started_again(world: World) -> None:
    await world.deploy(flow())
    run_id = (await world.start("flow")).run_id
    await world.claim()
    await cancel_task(world, run_id)
    await lose(world, world.worker_id)
    await recover(world)
    assert (await world.run(run_id)).state == "cancelled"


async def test_a_cancelled_task_that_succeeded_all_the_same_succeeded(world: World) -> None:
    await world.deploy(flow())
    run_id = (await world.start("flow")).run_id
    (claimed,) = await world.claim()
    await cancel_task(world, run_id)
    await world.finish(claimed, Succeeded(1))
    assert (await world.run(run_id)).state == "succeeded"


async def test_cancelling_a_group_cancels_its_items(world: World) -> None:
    each = {"needs": ["make"], "for_each": "${{ tasks.make.output }}", "max_parallel": 2, "retry": 3}
    await world.deploy(flow({"make": {}, "each": each, "last": {"needs": ["each"], "run_if": "all_done"}}))
    run_id = (await world.start("flow")).run_id
    (make,) = await world.claim()
    await world.finish(make, Succeeded([1, 2, 3, 4]))
    first, second = await world.claim()
    await world.finish(second, failure())
    await cancel_task(world, run_id, "each")
    await world.finish(first, failure())
    states = await world.states(run_id)
    assert {states[f"each[{i}]"] for i in range(4)} == {"cancelled"}
    assert states["each"] == "cancelled"
    assert await world.work() == ["last"]
    assert (await world.run(run_id)).state == "cancelled"


async def test_cancelling_one_item_leaves_the_others(world: World) -> None:
    each = {"needs": ["make"], "for_each": "${{ tasks.make.output }}", "max_parallel": 1}
    await world.deploy(flow({"make": {}, "each": each}))
    run_id = (await world.start("flow")).run_id
    (make,) = await world.claim()
    await world.finish(make, Succeeded([1, 2, 3]))
    await cancel_task(world, run_id, "each[0]")
    assert await world.work() == ["each", "each"]
    assert await world.states(run_id) == {
        "make": "succeeded",
        "each": "failed",
        "each[0]": "cancelled",
        "each[1]": "succeeded",
        "each[2]": "succeeded",
    }


async def test_a_task_that_is_final_cannot_be_cancelled(world: World) -> None:
    await world.deploy(flow())
    run_id = (await world.start("flow")).run_id
    await world.work(results(a=failure()))
    with pytest.raises(Conflict) as refusal:
        await cancel_task(world, run_id)
    assert refusal.value.code == "already_finished"
    for task_run_id in ("nonsense", world.ids.new()):
        with pytest.raises(NotFound):
            await world.cancel_task_run.execute(TaskRunCommand(task_run_id), ACTOR)


async def test_a_run_of_another_project_is_not_found(world: World) -> None:
    await world.deploy(flow())
    run_id = (await world.start("flow")).run_id
    other = type(ACTOR)(ACTOR.principal, world.ids.new())  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await world.cancel_run.execute(RunCommand(run_id), other)
    assert (await world.run(run_id)).state == "running"

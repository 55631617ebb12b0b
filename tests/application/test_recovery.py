"""Workers that are lost: what they left starts again under a new fence, or fails."""

from typing import Any

import pytest

from scheduler_domain.run.outcome import HandedBack, Succeeded
from tests.support.flows import failure, flow, lose, recover, wake
from tests.support.world import World


async def started(world: World, tasks: Any = "a") -> str:
    await world.deploy(flow(tasks))
    return (await world.start("flow")).run_id


async def claim_and_lose(world: World) -> None:
    assert await world.claim() != []
    await lose(world, world.worker_id)


async def test_a_live_worker_is_left_alone(world: World) -> None:
    run_id = await started(world)
    await world.claim()
    assert await recover(world) == 0
    assert await world.states(run_id) == {"a": "running"}


async def test_what_a_lost_worker_left_starts_again_under_a_new_fence_and_costs_no_attempt(world: World) -> None:
    run_id = await started(world, "a b c")
    await claim_and_lose(world)
    assert await recover(world) == 3
    tasks = (await world.tasks(run_id)).values()
    assert {(task.attempt, task.worker_losses, task.worker_id) for task in tasks} == {(1, 1, None)}
    (again, *_) = await world.claim()
    assert (again.row.claim_no, again.row.attempt) == (2, 1)
    await world.finish(again)
    past = await world.rows("select outcome, attempt, claim_no from attempts")
    assert [(row["outcome"], row["attempt"], row["claim_no"]) for row in past] == [("lost", 1, 1)] * 3


async def test_the_third_loss_ends_a_task_as_poison(world: World) -> None:
    run_id = await started(world, {"a": {"retry": 10}, "b": {}})
    (a, b) = await world.claim()
    await world.finish(b)
    for _ in range(2):
        await lose(world, world.worker_id)
        assert await recover(world) == 1
        assert len(await world.claim()) == 1
    await lose(world, world.worker_id)
    assert await recover(world) == 1
    task = (await world.tasks(run_id))["a"]
    assert (task.state, (task.error or {})["code"], task.worker_losses) == ("failed", "poison", 3)
    assert (await world.run(run_id)).state == "failed"
    assert await world.finish(a) is False


async def test_losses_are_counted_across_retries_and_hand_backs(world: World) -> None:
    run_id = await started(world, {"a": {"retry": {"attempts": 9, "delay": "0s"}}})
    for outcome in (failure(), HandedBack()):
        await claim_and_lose(world)
        await recover(world)
        (claimed,) = await world.claim()
        await world.finish(claimed, outcome)
        await wake(world)
    await claim_and_lose(world)
    await recover(world)
    assert ((await world.tasks(run_id))["a"].error or {})["code"] == "poison"


async def test_on_worker_loss_fail_never_starts_the_task_twice(world: World) -> None:
    run_id = await started(world, {"a": {"on_worker_loss": "fail", "retry": 5}})
    await claim_and_lose(world)
    assert await recover(world) == 1
    task = (await world.tasks(run_id))["a"]
    assert (task.state, (task.error or {})["code"], task.claim_no) == ("failed", "worker_lost", 1)
    assert await world.claim() == []


async def test_a_worker_that_left_is_recovered_at_once(world: World) -> None:
    run_id = await started(world)
    await world.claim()
    await world.leave_worker.execute(world.worker_id)
    assert await recover(world) == 1
    await world.new_worker()
    assert await world.work() == ["a"]
    assert (await world.run(run_id)).state == "succeeded"


async def test_a_lease_that_ran_out_cannot_be_renewed_and_claims_nothing(world: World) -> None:
    await started(world)
    worker_id = await world.new_worker()
    await lose(world, worker_id)
    answer = await world.heartbeat.execute(worker_id)
    assert (answer.alive, answer.draining) == (False, True)
    hints = [(row["id"], row["claim_no"]) for row in await world.rows("select id, claim_no from task_runs")]
    assert await world.claim_tasks.execute(worker_id, hints) == []
    await recover(world)
    assert (await world.heartbeat.execute(worker_id)).alive is False
    (view,) = [worker for worker in await world.reader.workers() if worker.id == worker_id]
    assert view.state == "lost"


async def test_a_heartbeat_keeps_the_lease(world: World) -> None:
    await started(world)
    await world.claim()
    for _ in range(5):
        world.clock.advance(10)
        assert (await world.heartbeat.execute(world.worker_id)).alive
        assert await recover(world) == 0


async def test_more_than_a_page_of_task_runs_is_taken_over_at_once(world: World) -> None:
    await started(world, " ".join(f"t{i}" for i in range(700)))
    claimed = await world.claim()
    assert len(claimed) == 700
    await lose(world, world.worker_id)
    assert await recover(world) == 700
    assert len(await world.claim()) == 700


async def test_workers_lost_together_are_recovered_together(world: World) -> None:
    run_id = await started(world, "a b c")
    rows = await world.rows("select id, claim_no from task_runs order by id")
    for row in rows:
        worker_id = await world.new_worker()
        assert len(await world.claim_tasks.execute(worker_id, [(row["id"], row["claim_no"])])) == 1
        await lose(world, worker_id)
    assert await recover(world) == 3
    await world.new_worker()
    assert sorted(await world.work()) == ["a", "b", "c"]
    assert (await world.run(run_id)).state == "succeeded"


async def test_an_item_whose_worker_is_lost_keeps_its_item(world: World) -> None:
    each = {"needs": ["make"], "for_each": "${{ tasks.make.output }}", "env": {"ITEM": "${{ item }}"}}
    await started(world, {"make": {}, "each": each})
    (make,) = await world.claim()
    await world.finish(make, Succeeded(["x", "y"]))
    await claim_and_lose(world)
    await recover(world)
    assert [task.scope["item"] for task in await world.claim()] == ["x", "y"]


async def test_a_claim_that_commits_after_its_worker_was_declared_lost_is_found_by_the_next_pass(world: World) -> None:
    await started(world)
    (claimed,) = await world.claim()
    await world.write("update workers set state = 'lost'")
    assert await recover(world) == 1
    assert await world.finish(claimed) is False


@pytest.mark.parametrize("state", ["lost", "gone"])
async def test_a_worker_that_is_gone_does_not_come_back(world: World, state: str) -> None:
    worker_id = await world.new_worker()
    await world.write("update workers set state = $1", state)
    assert (await world.heartbeat.execute(worker_id)).alive is False
    await world.leave_worker.execute(worker_id)
    assert (await world.rows("select state from workers"))[0]["state"] == state

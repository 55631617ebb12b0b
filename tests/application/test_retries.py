"""Failed attempts that are tried again: how often, when, and after which failures."""

from typing import Any

import pytest

from scheduler_domain.run.outcome import Failed, HandedBack, Outcome, TaskError, TimedOut
from tests.support.flows import failure, flow, wake
from tests.support.world import World


async def one(world: World, retry: Any) -> str:
    await world.deploy(flow({"a": {"retry": retry}}))
    return (await world.start("flow")).run_id


async def attempt(world: World, outcome: Outcome | None = None) -> None:
    (claimed,) = await world.claim()
    await world.finish(claimed, outcome)


async def test_an_attempt_that_failed_is_tried_again_after_its_pause_and_not_before(world: World) -> None:
    run_id = await one(world, {"attempts": 2, "delay": "10s", "jitter": False})
    await attempt(world, failure())
    task = (await world.tasks(run_id))["a"]
    assert task.wake_at is not None
    assert (task.state, (task.wake_at - world.clock.now()).total_seconds()) == ("retrying", 10)
    assert await world.claim() == []
    assert await wake(world, 9.9) == 0
    assert await wake(world, 0.1) == 1
    await attempt(world)
    task = (await world.tasks(run_id))["a"]
    assert (task.state, task.attempt, task.claim_no) == ("succeeded", 2, 2)


@pytest.mark.parametrize(
    ("retry", "pauses"),
    [
        ({"backoff": "constant", "delay": "7s", "jitter": False}, [7, 7, 7, 7]),
        ({"delay": "10s", "max_delay": "35s", "jitter": False}, [10, 20, 35, 35]),
        ({"delay": "10s", "max_delay": "35s"}, [5, 10, 17.5, 17.5]),
    ],
)
async def test_pauses_grow_as_the_policy_says(world: World, retry: dict[str, Any], pauses: list[float]) -> None:
    run_id = await one(world, {"attempts": 5, **retry})
    seen = []
    for _ in pauses:
        before = world.clock.now()
        await attempt(world, failure())
        wake_at = (await world.tasks(run_id))["a"].wake_at
        assert wake_at is not None
        seen.append((wake_at - before).total_seconds())
        await wake(world, seen[-1])
    assert seen == pauses
    await attempt(world, failure())
    assert (await world.run(run_id)).state == "failed"


async def test_the_last_attempts_error_is_the_tasks_and_the_others_are_kept(world: World) -> None:
    run_id = await one(world, {"attempts": 3, "delay": "0s"})
    for code in (1, 2, 3):
        await attempt(world, failure(code))
        await wake(world)
    task = await world.reader.task_run("00000000-0000-7000-8000-000000000001", (await world.tasks(run_id))["a"].id)
    assert task is not None
    assert task.attempts is not None
    assert [(past.attempt, (past.error or {})["exit_code"], past.outcome) for past in task.attempts] == [
        (1, 1, "failed"),
        (2, 2, "failed"),
        (3, 3, "failed"),
    ]
    assert (task.error or {})["exit_code"] == 3


@pytest.mark.parametrize(
    ("on", "outcome", "state"),
    [
        ({"exit_codes": [75]}, failure(75), "retrying"),
        ({"exit_codes": [75]}, failure(1), "failed"),
        ({"exit_codes": [75]}, TimedOut(3), "timed_out"),
        ({"timeout": True}, TimedOut(3), "retrying"),
        ({"timeout": True}, failure(75), "failed"),
    ],
)
async def test_only_what_the_policy_names_is_tried_again(
    world: World, on: dict[str, Any], outcome: Outcome, state: str
) -> None:
    run_id = await one(world, {"attempts": 3, "on": on})
    await attempt(world, outcome)
    assert await world.states(run_id) == {"a": state}


async def test_only_the_named_statuses_of_an_http_task_are_tried_again(world: World) -> None:
    retry = {"attempts": 3, "on": {"http_statuses": [503]}}
    await world.deploy(flow({"a": {"http": "https://example.com/", "retry": retry}}))
    run_ids = [(await world.start("flow")).run_id for _ in range(2)]
    claimed = await world.claim()
    for task, status in zip(claimed, (503, 500), strict=True):
        await world.finish(task, Failed(TaskError("http_status", "refused", http_status=status)))
    assert [(await world.states(run_id))["a"] for run_id in run_ids] == ["retrying", "failed"]


async def test_what_cannot_be_cured_is_not_tried_again(world: World) -> None:
    run_id = await one(world, 5)
    await attempt(world, failure(retryable=False))
    assert (await world.run(run_id)).state == "failed"


async def test_timeouts_are_tried_again_unless_the_policy_says_otherwise(world: World) -> None:
    run_id = await one(world, 2)
    await attempt(world, TimedOut(5))
    assert await world.states(run_id) == {"a": "retrying"}
    await wake(world, 1)
    await attempt(world, TimedOut(5))
    assert await world.states(run_id) == {"a": "timed_out"}


async def test_a_hand_back_costs_no_attempt_and_grows_the_fence(world: World) -> None:
    run_id = await one(world, 2)
    for _ in range(5):
        await attempt(world, HandedBack())
    task = (await world.tasks(run_id))["a"]
    assert (task.state in ("ready", "queued"), task.attempt, task.claim_no) == (True, 1, 5)
    await attempt(world, failure())
    await wake(world, 1)
    await attempt(world)
    task = (await world.tasks(run_id))["a"]
    assert (task.state, task.attempt, task.claim_no) == ("succeeded", 2, 7)


async def test_many_retries_that_are_due_are_all_woken(world: World) -> None:
    await world.deploy(flow({f"t{i}": {"retry": {"attempts": 2, "delay": "5s"}} for i in range(600)}))
    await world.start("flow")
    for claimed in await world.claim():
        await world.finish(claimed, failure())
    assert await wake(world, 5) == 600
    assert len(await world.work()) == 600

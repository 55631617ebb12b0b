"""What an outcome sets free: needs, conditions, items, waits."""

from typing import Any

import pytest

from scheduler_application.run.claim import ClaimedTask
from scheduler_domain.run.outcome import Outcome, Succeeded, TimedOut
from tests.support.flows import chain, failure, flow, results, wake
from tests.support.world import World


async def play(world: World, document: dict[str, object], **outcomes: Outcome) -> tuple[str, dict[str, str]]:
    """Runs a workflow to its end; the run's state and the task runs'."""
    await world.deploy(document)
    run_id = (await world.start(str(document["workflow"]))).run_id
    await world.work(results(**outcomes))
    return (await world.run(run_id)).state, await world.states(run_id)


async def test_tasks_run_behind_all_that_they_need(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {}, "c": {"needs": ["a", "b"]}, "d": {"needs": ["c", "a"]}}))
    run_id = (await world.start("flow")).run_id
    a, b = await world.claim()
    await world.finish(a)
    assert (await world.states(run_id))["c"] == "blocked"
    await world.finish(b)
    assert await world.work() == ["c", "d"]
    assert (await world.run(run_id)).state == "succeeded"


async def test_what_runs_at_once_is_claimed_at_once(world: World) -> None:
    await world.deploy(flow({"a": {}, **{f"b{i}": {"needs": ["a"]} for i in range(20)}}))
    await world.start("flow")
    (first,) = await world.claim()
    await world.finish(first)
    assert len(await world.claim()) == 20


NEEDS: dict[str, Any] = {"x": {}, "y": {}}


@pytest.mark.parametrize(
    ("run_if", "neither", "one", "both"),
    [
        ("all_succeeded", "succeeded", "skipped", "skipped"),
        ("any_failed", "skipped", "succeeded", "succeeded"),
        ("all_done", "succeeded", "succeeded", "succeeded"),
        ("any_succeeded", "succeeded", "succeeded", "skipped"),
    ],
)
async def test_run_if_judges_failures(world: World, run_if: str, neither: str, one: str, both: str) -> None:
    document = flow({**NEEDS, "z": {"needs": ["x", "y"], "run_if": run_if}})
    states = [
        (await play(world, document, **failures))[1]["z"]
        for failures in ({}, {"x": failure()}, {"x": failure(), "y": TimedOut(1)})
    ]
    assert states == [neither, one, both]


@pytest.mark.parametrize(
    ("run_if", "one", "both"),
    [
        ("all_succeeded", "skipped", "skipped"),
        ("any_failed", "skipped", "skipped"),
        ("all_done", "succeeded", "succeeded"),
        ("any_succeeded", "succeeded", "skipped"),
    ],
)
async def test_run_if_judges_skipped_needs(world: World, run_if: str, one: str, both: str) -> None:
    last = {"needs": ["x", "y"], "run_if": run_if}
    never = {"when": "${{ 1 > 2 }}"}
    _, some = await play(world, flow({"x": {}, "y": never, "z": last}, name="some"))
    state, all_of_them = await play(world, flow({"x": never, "y": never, "z": last}, name="all"))
    assert [some["z"], all_of_them["z"]] == [one, both]
    assert state == "succeeded"


async def test_a_skip_cascades_and_ends_the_run_without_a_worker(world: World) -> None:
    state, states = await play(world, flow({**chain("a", "b", "c"), "a": {"when": "${{ false }}"}}))
    assert (state, set(states.values())) == ("succeeded", {"skipped"})


async def test_a_failure_skips_what_follows_and_fails_the_run_although_a_cleanup_ran(world: World) -> None:
    tasks = {**chain("a", "b", "c"), "tidy": {"needs": ["c"], "run_if": "all_done"}}
    state, states = await play(world, flow(tasks), a=failure())
    assert states == {"a": "failed", "b": "skipped", "c": "skipped", "tidy": "succeeded"}
    assert state == "failed"


async def test_a_skipped_task_says_which_rule_it_was(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}, "c": {"when": "${{ false }}"}}))
    run_id = (await world.start("flow")).run_id
    await world.work(results(a=failure()))
    tasks = await world.tasks(run_id)
    assert [(tasks[name].error or {})["message"] for name in ("b", "c")] == ["run_if:all_succeeded", "when"]


async def test_when_sees_inputs_outputs_and_states(world: World) -> None:
    tasks = {
        "a": {},
        "b": {"needs": ["a"], "when": "${{ tasks.a.output.rows > inputs.least }}"},
        "c": {"needs": ["a"], "when": "${{ tasks.a.output.rows <= inputs.least }}"},
        "d": {"needs": ["b", "c"], "run_if": "all_done", "when": "${{ tasks.c.state == 'skipped' }}"},
    }
    document = flow(tasks, inputs={"least": {"type": "integer", "default": 10}})
    _, states = await play(world, document, a=Succeeded({"rows": 11}))
    assert states == {"a": "succeeded", "b": "succeeded", "c": "skipped", "d": "succeeded"}


@pytest.mark.parametrize(
    "when", ["${{ tasks.a.output.missing }}", "${{ tasks.a.output }}", "${{ 1 / tasks.a.output }}"]
)
async def test_a_condition_that_cannot_be_judged_fails_its_task(world: World, when: str) -> None:
    document = flow({"a": {}, "b": {"needs": ["a"], "when": when}})
    state, states = await play(world, document, a=Succeeded(0))
    assert (state, states["b"]) == ("failed", "failed")


async def test_nested_outputs_are_passed_on(world: World) -> None:
    tasks = {
        "a": {},
        "b": {"needs": ["a"], "python": {"call": "m:f", "args": {"deep": "${{ tasks.a.output.x.y[1].z }}"}}},
    }
    await world.deploy(flow(tasks))
    await world.start("flow")
    (a,) = await world.claim()
    await world.finish(a, Succeeded({"x": {"y": [0, {"z": ["ä", None, 1.5, {"k": True}]}]}}))
    (b,) = await world.claim()
    assert b.task.settings.render(b.scope)["args"] == {"deep": ["ä", None, 1.5, {"k": True}]}
    await world.finish(b)


# for_each -------------------------------------------------------------------------------------------------------------


def fan_out(**body: object) -> dict[str, object]:
    """``make`` gives the items of ``each``; ``last`` runs whatever came of them."""
    each = {"needs": ["make"], "for_each": "${{ tasks.make.output }}", **body}
    return flow({"make": {}, "each": each, "last": {"needs": ["each"], "run_if": "all_done"}})


async def made(world: World, document: dict[str, object], output: object) -> str:
    """Starts a workflow and ends its first task, ``make``, with ``output``; the run's id."""
    await world.deploy(document)
    run_id = (await world.start(str(document["workflow"]))).run_id
    (make,) = await world.claim()
    await world.finish(make, Succeeded(output))
    return run_id


def doubled(claimed: ClaimedTask) -> Outcome:
    return Succeeded(claimed.scope["item"] * 2 if "item" in claimed.scope else None)


async def test_each_item_is_a_task_run_of_its_own_and_outputs_keep_their_order(world: World) -> None:
    run_id = await made(world, fan_out(), [5, 6, 7])
    claimed = await world.claim()
    assert [(task.scope["item"], task.scope["index"]) for task in claimed] == [(5, 0), (6, 1), (7, 2)]
    for task in reversed(claimed):
        await world.finish(task, doubled(task))
    await world.work()
    tasks = await world.tasks(run_id)
    assert tasks["each"].output == [10, 12, 14]
    assert set(await world.states(run_id)) == {"each", "each[0]", "each[1]", "each[2]", "make", "last"}
    assert (await world.run(run_id)).tasks_total == 3


async def test_max_parallel_bounds_the_items_that_run_at_once(world: World) -> None:
    run_id = await made(world, fan_out(max_parallel=2), list(range(7)))
    running = await world.claim()
    seen = []
    while running:
        assert len(running) <= 2
        seen.append(running[0].scope["item"])
        await world.finish(running.pop(0), Succeeded())
        running += [task for task in await world.claim() if task.row.task == "each"]
    assert seen == list(range(7))
    assert (await world.run(run_id)).state == "running"


async def test_an_item_that_is_tried_again_keeps_its_place(world: World) -> None:
    run_id = await made(
        world, fan_out(max_parallel=1, retry={"attempts": 2, "delay": "5s", "jitter": False}), [1, 2, 3]
    )
    (first,) = await world.claim()
    await world.finish(first, failure())
    assert await world.claim() == []
    await wake(world, 5)
    assert await world.work() == ["each", "each", "each", "last"]
    assert (await world.run(run_id)).state == "succeeded"


async def test_a_list_without_items_succeeds_with_no_output_items(world: World) -> None:
    run_id = await made(world, fan_out(), [])
    assert await world.work() == ["last"]
    assert (await world.tasks(run_id))["each"].output == []


@pytest.mark.parametrize("items", [3, "abc", {"a": 1}, None, True])
async def test_what_is_no_list_fails_the_task(world: World, items: object) -> None:
    run_id = await made(world, fan_out(), items)
    assert await world.work() == ["last"]
    each = (await world.tasks(run_id))["each"]
    assert (each.state, (each.error or {})["code"]) == ("failed", "expression_failed")


async def test_too_many_items_fail_the_task_and_make_no_rows(world: World) -> None:
    run_id = await made(world, fan_out(), [0] * 10_001)
    each = (await world.tasks(run_id))["each"]
    assert (each.state, (each.error or {})["code"]) == ("failed", "fanout_too_large")
    assert len(await world.rows("select id from task_runs")) == 3


async def test_items_that_fail_fail_the_task_after_all_have_ended(world: World) -> None:
    run_id = await made(world, fan_out(), [1, 2, 3])
    first, second, third = await world.claim()
    await world.finish(first, failure())
    await world.finish(second, Succeeded("two"))
    assert (await world.states(run_id))["each"] == "waiting"
    await world.finish(third, TimedOut(2))
    each = (await world.tasks(run_id))["each"]
    assert (each.state, (each.error or {})["message"]) == ("failed", "2 of its items did not succeed")
    assert each.output == [None, "two", None]
    assert await world.work() == ["last"]
    run = await world.run(run_id)
    assert (run.state, run.tasks_failed) == ("failed", 1)


async def test_items_may_wait_without_a_worker(world: World) -> None:
    run_id = await made(world, fan_out(wait={"for": "10s"}, max_parallel=2), [1, 2, 3])
    assert [(await wake(world, after)) for after in (9, 1, 9, 1)] == [0, 2, 0, 1]
    assert await world.work() == ["last"]
    assert (await world.run(run_id)).state == "succeeded"


async def test_items_whose_outputs_are_too_long_together_fail_the_task(world: World) -> None:
    run_id = await made(world, fan_out(), list(range(17)))
    await world.work(lambda claimed: Succeeded("x" * 65_000))
    each = (await world.tasks(run_id))["each"]
    assert (each.state, (each.error or {})["code"], each.output) == ("failed", "output_too_large", None)


# wait -----------------------------------------------------------------------------------------------------------------


async def test_a_wait_ends_when_its_time_has_come_and_not_before(world: World) -> None:
    await world.deploy(flow({"pause": {"wait": {"for": "10m"}}, "then": {"needs": ["pause"]}}))
    run_id = (await world.start("flow")).run_id
    assert await world.states(run_id) == {"pause": "waiting", "then": "blocked"}
    assert await wake(world, 599) == 0
    assert await wake(world, 1) == 1
    assert await world.work() == ["then"]


async def test_a_wait_may_name_an_instant_from_an_output(world: World) -> None:
    await world.deploy(flow({"a": {}, "pause": {"needs": ["a"], "wait": {"until": "${{ tasks.a.output }}"}}}))
    run_id = (await world.start("flow")).run_id
    await world.work(results(a=Succeeded("2026-11-02T10:00:30+01:00")))
    assert await wake(world, 29) == 0
    assert await wake(world, 1) == 1
    assert (await world.run(run_id)).state == "succeeded"


async def test_an_instant_that_is_past_ends_the_wait_at_the_next_look(world: World) -> None:
    await world.deploy(flow({"pause": {"wait": {"until": "2020-01-01T00:00:00Z"}}}))
    run_id = (await world.start("flow")).run_id
    assert await wake(world) == 1
    assert (await world.run(run_id)).state == "succeeded"


@pytest.mark.parametrize("until", ["soon", "2026-11-02T10:00:00", "2031-01-01T00:00:00Z", 5, None, "x" * 1000])
async def test_what_is_no_instant_to_wait_for_fails_the_task(world: World, until: object) -> None:
    document = flow({"make": {}, "pause": {"needs": ["make"], "wait": {"until": "${{ tasks.make.output }}"}}})
    run_id = await made(world, document, until)
    assert ((await world.states(run_id))["pause"], (await world.run(run_id)).state) == ("failed", "failed")


async def test_the_next_due_moment_is_the_earliest_of_all_that_wait(world: World) -> None:
    await world.deploy(flow({"a": {"wait": {"for": "20s"}}, "b": {"wait": {"for": "10s"}}}, timeout="15s"))
    now = world.clock.now()
    await world.start("flow")
    seconds = []
    for after in (0, 10):
        await wake(world, after)
        due = await world.next_due.execute()
        assert due is not None
        seconds.append((due - now).total_seconds())
    assert seconds == [10, 15]


async def test_a_runs_time_limit_ends_it(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}, "w": {"wait": {"for": "1h"}}}, timeout="60s"))
    run_id = (await world.start("flow")).run_id
    (a,) = await world.claim()
    world.clock.advance(59)
    assert await world.enforce_run_deadlines.execute(await world.lead()) == 0
    world.clock.advance(1)
    assert await world.enforce_run_deadlines.execute(await world.lead()) == 1
    assert await world.states(run_id) == {"a": "running", "b": "cancelled", "w": "cancelled"}
    await world.finish(a, Succeeded())
    assert (await world.run(run_id)).state == "timed_out"

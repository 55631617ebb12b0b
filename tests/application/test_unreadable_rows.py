"""A stored row that cannot be read any more stops nobody but itself: its run fails with the reason, others go on."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scheduler_application.errors import Conflict, NotFound
from scheduler_application.paging import PageRequest
from scheduler_application.ports.reading import RunFilter
from scheduler_application.run.control import RerunCommand
from scheduler_domain.run.outcome import Succeeded
from tests.support.flows import chain, failure, flow, lose, recover, slots, wake
from tests.support.world import ACTOR, World

CONTENTS = (
    "{",
    "5",
    '{"workflow": 5}',
    '{"workflow": "bad", "tasks": {"other": {"shell": "true"}}}',
    '{"workflow": "bad", "tasks": {"a": {"shell": "true", "needs": ["b"]}, "b": {"shell": "true", "needs": ["a"]}}}',
    '{"workflow": "bad", "tasks": {"a": {"shell": "true", "needs": ["nobody"]}}}',
)
"""What a version's content was made into: no JSON, no object, a wrong field, another workflow's tasks, a circle, a
need that does not exist."""

RETRIED = {"a": {"retry": {"attempts": 2, "delay": "5s"}}, "b": {"needs": ["a"]}}


@pytest.fixture
async def spoil(world: World) -> Any:
    """Spoils the live version of a workflow; mended again at the end, for what looks over the world after each test
    reads every version."""
    spoiled: list[tuple[str, str]] = []

    async def spoil_version(workflow: str, content: str) -> None:
        (row,) = await world.rows(
            "select v.id, v.content from versions v join workflows w on w.live_version_id = v.id where w.name = $1",
            workflow,
        )
        spoiled.append((row["content"], row["id"]))
        await world.write("update versions set content = $1 where id = $2", content, row["id"])
        # What a process read before it keeps for ever: the spoiled row is met by one that starts now.
        world.definitions.forget()

    yield spoil_version
    for content, version_id in spoiled:
        await world.write("update versions set content = $1 where id = $2", content, version_id)


async def two_runs(world: World, tasks: Any, **more: Any) -> tuple[str, str]:
    """A run that is going to be spoiled, and one of another workflow."""
    await world.deploy(flow(tasks, name="bad", **more))
    await world.deploy(flow(tasks, name="good", **more))
    return (await world.start("bad")).run_id, (await world.start("good")).run_id


async def failed_for(world: World, run_id: str) -> str:
    run = await world.run(run_id)
    assert run.state == "failed"
    return str((run.error or {})["code"])


@pytest.mark.parametrize("content", CONTENTS)
async def test_a_lost_worker_of_a_spoiled_run_is_recovered_with_all_others(
    world: World, spoil: Callable[[str, str], Awaitable[None]], content: str
) -> None:
    bad, good = await two_runs(world, RETRIED)
    assert len(await world.claim()) == 2
    await spoil("bad", content)
    await lose(world, world.worker_id)
    assert await recover(world) == 2
    assert await failed_for(world, bad) == "version_unreadable"
    assert await world.work() == ["a", "b"]
    assert (await world.run(good)).state == "succeeded"
    assert await recover(world) == 0


@pytest.mark.parametrize("content", CONTENTS)
async def test_a_retry_of_a_spoiled_run_keeps_no_other_from_waking(
    world: World, spoil: Callable[[str, str], Awaitable[None]], content: str
) -> None:
    bad, good = await two_runs(world, RETRIED)
    for claimed in await world.claim():
        await world.finish(claimed, failure())
    await spoil("bad", content)
    assert await wake(world, 10) == 2
    assert await failed_for(world, bad) == "version_unreadable"
    await world.work()
    assert (await world.run(good)).state == "succeeded"


@pytest.mark.parametrize("content", CONTENTS)
async def test_a_result_of_a_spoiled_run_is_recorded_with_all_others(
    world: World, spoil: Callable[[str, str], Awaitable[None]], content: str
) -> None:
    bad, good = await two_runs(world, chain("a", "b"))
    claimed = await world.claim()
    await spoil("bad", content)
    for one in claimed:
        assert await world.finish(one, Succeeded({"n": 1}))
    assert await failed_for(world, bad) == "version_unreadable"
    assert await world.states(bad) == {"a": "succeeded", "b": "cancelled"}
    await world.work()
    assert (await world.run(good)).state == "succeeded"


@pytest.mark.parametrize("content", CONTENTS)
async def test_a_task_of_a_spoiled_run_is_claimed_to_be_refused(
    world: World, spoil: Callable[[str, str], Awaitable[None]], content: str
) -> None:
    bad, good = await two_runs(world, "a")
    await spoil("bad", content)
    claimed = {one.row.run_id: one for one in await world.claim()}
    assert set(claimed) == {bad, good}
    assert claimed[good].refusal is None
    refusal = claimed[bad].refusal
    assert refusal is not None
    assert refusal.code == "version_unreadable"
    await world.finish(claimed[bad], failure())
    await world.finish(claimed[good])
    assert await failed_for(world, bad) == "version_unreadable"
    assert (await world.run(good)).state == "succeeded"


async def test_a_spoiled_run_frees_its_slot_and_the_runs_behind_it_fail_too(
    world: World, spoil: Callable[[str, str], Awaitable[None]]
) -> None:
    bad, good = await two_runs(world, "a", concurrency={"limit": 1})
    waiting = (await world.start("bad")).run_id
    assert len(await world.claim()) == 2
    await spoil("bad", "{")
    await lose(world, world.worker_id)
    await recover(world)
    assert [await failed_for(world, run_id) for run_id in (bad, waiting)] == ["version_unreadable"] * 2
    await world.work()
    assert (await world.run(good)).state == "succeeded"
    assert await slots(world) == {"": 0}


async def test_a_spoiled_run_can_be_cancelled(world: World, spoil: Callable[[str, str], Awaitable[None]]) -> None:
    bad, _ = await two_runs(world, "a")
    await spoil("bad", "{")
    assert (await world.cancel(bad)).state in ("cancelled", "failed")
    await world.work()


async def test_a_child_of_a_spoiled_parent_ends_it(world: World, spoil: Callable[[str, str], Awaitable[None]]) -> None:
    await world.deploy(flow("c", name="child"))
    bad, good = await two_runs(world, {"a": {"workflow": {"name": "child"}}, "b": {"needs": ["a"]}})
    await spoil("bad", "{")
    assert await world.work() == ["c", "c", "b"]
    assert await failed_for(world, bad) == "version_unreadable"
    assert (await world.run(good)).state == "succeeded"


@pytest.mark.parametrize("content", CONTENTS[:3] + CONTENTS[4:])
async def test_nothing_starts_of_a_workflow_that_is_spoiled(
    world: World, spoil: Callable[[str, str], Awaitable[None]], content: str
) -> None:
    bad, _ = await two_runs(world, "a")
    await world.work()
    await spoil("bad", content)
    with pytest.raises(Conflict) as refused:
        await world.start("bad")
    assert refused.value.code == "version_unreadable"
    with pytest.raises(Conflict):
        await world.rerun_run.execute(RerunCommand(bad), ACTOR)
    assert (await world.start("good")).state == "running"
    await world.work()


async def test_a_version_that_is_gone_is_met_like_one_that_cannot_be_read(world: World) -> None:
    """No use case deletes one; whoever does it by hand meets the constraint of a real database."""
    with pytest.raises(NotFound):
        await world.store.transact(lambda tx: world.definitions.get(tx, world.ids.new()))


@pytest.mark.parametrize("column", ["inputs", "output", "item"])
async def test_a_value_that_cannot_be_read_fails_the_task_that_needs_it(world: World, column: str) -> None:
    tasks = {
        "a": {},
        "each": {"shell": "echo $V", "for_each": "${{ [1, 2] }}", "needs": ["a"], "env": {"V": "${{ item }}"}},
        "c": {
            "shell": "echo $V",
            "needs": ["each"],
            "run_if": "all_done",
            "env": {"V": "${{ tasks.a.output }}-${{ inputs.n }}"},
        },
    }
    inputs = {"n": {"type": "integer", "default": 1}}
    bad, good = await two_runs(world, tasks, inputs=inputs)
    for claimed in await world.claim():
        await world.finish(claimed, Succeeded({"n": 1}))
    if column == "inputs":
        await world.write("update runs set inputs = $1 where id = $2", "{", bad)
    else:
        which = "and task = 'a'" if column == "output" else "and item_index = 0"
        await world.write(f"update task_runs set {column} = $1 where run_id = $2 {which}", "{", bad)
    refused = []
    while claimed_now := await world.claim():
        for one in claimed_now:
            refused += [one.row.run_id] if one.refusal is not None else []
            await world.finish(one, failure() if one.refusal is not None else None)
    assert set(refused) == {bad}
    assert (await world.run(bad)).state == "failed"
    assert (await world.run(good)).state == "succeeded"


@pytest.mark.parametrize("expression", ["when", "for_each"])
async def test_a_control_expression_over_a_value_that_cannot_be_read_fails_its_task(
    world: World, expression: str
) -> None:
    value = "${{ tasks.a.output.ok }}"
    bad, good = await two_runs(world, {"a": {}, "b": {"needs": ["a"], expression: value}})
    ok: Any = True if expression == "when" else [1]
    pending = await world.claim()
    await world.write("update runs set inputs = $1 where id = $2", "{", bad)
    for claimed in pending:
        await world.finish(claimed, Succeeded({"ok": ok}))
    assert ((await world.tasks(bad))["b"].error or {})["code"] == "unreadable"
    await world.work()
    assert (await world.run(bad)).state == "failed"
    assert (await world.run(good)).state == "succeeded"


async def test_the_outputs_of_items_and_of_child_runs_that_cannot_be_read_fail_who_waits_for_them(
    world: World,
) -> None:
    await world.deploy(flow("c", name="child"))
    tasks = {"each": {"for_each": "${{ [1, 2] }}"}, "child": {"workflow": {"name": "child"}}}
    bad, good = await two_runs(world, tasks)
    # A claim answers in any order, and the last item to end is the one that asks for the outputs of the others.
    for claimed in sorted(await world.claim(), key=lambda claimed: claimed.row.item_index):
        await world.finish(claimed, Succeeded(1))
        of = claimed.row
        if of.run_id == bad and of.item_index == 0:
            await world.write("update task_runs set output = $1 where id = $2", "{", of.id)
    assert ((await world.tasks(bad))["each"].error or {})["code"] == "unreadable"
    assert (await world.run(bad)).state == "failed"
    assert (await world.run(good)).state == "succeeded"


async def test_a_page_of_runs_shows_all_when_one_cannot_be_read(world: World) -> None:
    bad, good = await two_runs(world, "a")
    await world.write("update runs set inputs = $1 where id = $2", "{", bad)
    page = await world.reader.runs(ACTOR.project, RunFilter(), PageRequest(10))
    shown = {run.id: run.inputs for run in page.items}
    assert set(shown) == {bad, good}
    assert "unreadable" in shown[bad]
    await world.cancel(bad)
    with pytest.raises(Conflict) as refused:
        await world.rerun_run.execute(RerunCommand(bad), ACTOR)
    assert refused.value.code == "unreadable"

"""Starting runs: what is accepted is there, what is refused leaves nothing behind."""

import asyncio

import pytest

from scheduler_application.errors import Conflict, Forbidden, NotFound, Rejected
from scheduler_application.run.control import RerunCommand, RunCommand
from scheduler_application.run.start import StartedRun, StartRunCommand
from scheduler_application.workflow.authoring import WorkflowCommand
from scheduler_domain.errors import InvalidDefinition
from tests.support.flows import failure, flow, results
from tests.support.world import ACTOR, World


async def test_a_started_run_is_there_with_its_tasks(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}}))
    started = await world.start("flow")
    await world.announcer.idle()
    assert started.state == "running"
    assert await world.states(started.run_id) == {"a": "queued", "b": "blocked"}


async def test_a_run_may_be_started_by_the_workflows_id(world: World) -> None:
    deployment = await world.deploy(flow())
    started = await world.start(deployment.workflow_id)
    assert (await world.run(started.run_id)).workflow == "flow"


@pytest.mark.parametrize("priority", ["critical", "low"])
async def test_a_priority_of_the_start_is_that_of_all_its_tasks(world: World, priority: str) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"], "priority": "high"}}))
    started = await world.start_run.execute(StartRunCommand("flow", {}, priority=priority), ACTOR)
    await world.work()
    assert {task.priority for task in (await world.tasks(started.run_id)).values()} == {priority}


async def _refused(world: World, command: StartRunCommand) -> str:
    with pytest.raises((NotFound, Conflict, Rejected, Forbidden)) as refusal:
        await world.start_run.execute(command, ACTOR)
    return refusal.value.code


async def test_what_cannot_start_is_refused_by_name_and_leaves_nothing(world: World) -> None:
    await world.deploy(flow(triggers=[{"manual": {"confirm": True}}]))
    assert await _refused(world, StartRunCommand("other", {})) == "not_found"
    assert await _refused(world, StartRunCommand("flow", {}, priority="urgent")) == "unknown_priority"
    assert await _refused(world, StartRunCommand("flow", {}, trigger="manual")) == "confirmation_required"
    await world.disable_workflow.execute(WorkflowCommand("flow"), ACTOR)
    assert await _refused(world, StartRunCommand("flow", {})) == "disabled"
    await world.undeploy_workflow.execute(WorkflowCommand("flow"), ACTOR)
    assert await _refused(world, StartRunCommand("flow", {})) == "not_deployed"
    assert await world.rows("select id from runs") == []
    assert await world.rows("select id from task_runs") == []


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 10_000, "../flow", "FLOW"])
async def test_what_cannot_be_a_name_is_not_found(world: World, name: str) -> None:
    await world.deploy(flow())
    assert await _refused(world, StartRunCommand(name, {})) == "not_found"
    with pytest.raises(NotFound):
        await world.undeploy_workflow.execute(WorkflowCommand(name), ACTOR)


async def test_wrong_inputs_start_nothing(world: World) -> None:
    await world.deploy(flow(inputs={"n": {"type": "integer"}}))
    for inputs in ({}, {"n": "many"}, {"n": 1, "m": 2}):
        with pytest.raises(InvalidDefinition):
            await world.start("flow", **inputs)
    assert await world.rows("select id from runs") == []


async def test_one_refusal_of_a_batch_is_nobody_elses(world: World) -> None:
    concurrency = {"limit": 9, "key": "${{ 10 / inputs.n }}"}
    await world.deploy(flow(inputs={"n": {"type": "integer"}}, concurrency=concurrency))
    commands = [StartRunCommand("flow", {"n": n}) for n in (1, 0, 2)] + [StartRunCommand("nothing", {})]
    answers = await world.start_runs.execute(commands, ACTOR)
    assert [type(answer).__name__ for answer in answers] == ["StartedRun", "ExpressionError", "StartedRun", "NotFound"]
    assert len(await world.rows("select id from runs")) == 2


async def test_runs_that_start_together_share_commits_and_each_gets_its_own_answer(world: World) -> None:
    await world.deploy(flow())
    answers = await asyncio.gather(*(world.start("flow") for _ in range(200)))
    assert len({answer.run_id for answer in answers}) == 200
    assert len(await world.rows("select id from runs where state = 'running'")) == 200


async def test_a_batch_over_the_bound_is_refused_whole(world: World) -> None:
    await world.deploy(flow())
    with pytest.raises(Rejected, match="at most 1000"):
        await world.start_runs.execute([StartRunCommand("flow", {})] * 1_001, ACTOR)


async def test_a_rerun_is_a_new_run_of_the_same_version_with_the_same_inputs(world: World) -> None:
    document = flow(inputs={"n": {"type": "integer"}})
    await world.deploy(document)
    first = await world.start_run.execute(StartRunCommand("flow", {"n": 7}, priority="high"), ACTOR)
    await world.work()
    await world.deploy({**document, "description": "the second version"})
    second = await world.rerun_run.execute(RerunCommand(first.run_id.upper()), ACTOR)
    view = await world.run(second.run_id)
    assert (view.version, view.inputs, view.rerun_of, view.priority) == (1, {"n": 7}, first.run_id, "high")
    await world.work()
    assert (await world.run(second.run_id)).state == "succeeded"


async def test_a_rerun_from_failed_keeps_what_succeeded(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}, "c": {"needs": ["b"]}}))
    first = await world.start("flow")
    await world.work(results(b=failure()))
    second = await world.rerun_run.execute(RerunCommand(first.run_id, from_failed=True), ACTOR)
    assert await world.work() == ["b", "c"]
    assert await world.states(second.run_id) == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}
    assert (await world.run(second.run_id)).state == "succeeded"


async def test_what_follows_a_task_that_runs_again_runs_again_too(world: World) -> None:
    """A handler of a failure succeeded; whether it has anything to do this time shows when its need has ended."""
    tasks = {
        "kept": {},
        "a": {"needs": ["kept"]},
        "handler": {"needs": ["a"], "run_if": "any_failed"},
        "report": {"needs": ["handler"], "run_if": "all_done"},
    }
    await world.deploy(flow(tasks))
    first = await world.start("flow")
    assert await world.work(results(a=failure())) == ["kept", "a", "handler", "report"]
    second = await world.rerun_run.execute(RerunCommand(first.run_id, from_failed=True), ACTOR)
    assert await world.work() == ["a", "report"]
    assert (await world.states(second.run_id))["handler"] == "skipped"
    assert (await world.run(second.run_id)).state == "succeeded"


async def test_a_rerun_of_which_nothing_is_left_to_do_ends_at_once(world: World) -> None:
    """A run may be cancelled although all its tasks succeed: the last was already running."""
    await world.deploy(flow())
    first = await world.start("flow")
    (claimed,) = await world.claim()
    await world.cancel(first.run_id)
    await world.finish(claimed)
    assert (await world.run(first.run_id)).state == "cancelled"
    second = await world.rerun_run.execute(RerunCommand(first.run_id, from_failed=True), ACTOR)
    assert (await world.run(second.run_id)).state == "succeeded"


async def test_reruns_of_what_runs_or_succeeded_are_refused(world: World) -> None:
    await world.deploy(flow())
    run = await world.start("flow")
    with pytest.raises(Conflict) as running:
        await world.rerun_run.execute(RerunCommand(run.run_id), ACTOR)
    await world.work()
    with pytest.raises(Conflict) as succeeded:
        await world.rerun_run.execute(RerunCommand(run.run_id, from_failed=True), ACTOR)
    assert (running.value.code, succeeded.value.code) == ("still_running", "nothing_failed")


@pytest.mark.parametrize("run_id", ["nonsense", "", "01234567-89ab-7def-8123-456789abcdef", "a\0b"])
async def test_a_run_that_does_not_exist_is_not_found(world: World, run_id: str) -> None:
    with pytest.raises(NotFound):
        await world.cancel_run.execute(RunCommand(run_id), ACTOR)


async def test_an_answer_says_what_became_of_the_run_at_once(world: World) -> None:
    await world.deploy(flow({"a": {"when": "${{ false }}"}}))
    started = await world.start("flow")
    assert isinstance(started, StartedRun)
    assert (await world.run(started.run_id)).state == "succeeded"
    assert await world.states(started.run_id) == {"a": "skipped"}

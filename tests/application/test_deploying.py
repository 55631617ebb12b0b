"""The life of a definition: drafts, versions, and what becomes of runs and triggers meanwhile."""

import asyncio
from typing import Any

import msgspec
import pytest

from scheduler_application.errors import Conflict, NotFound, Rejected
from scheduler_application.paging import PageRequest
from scheduler_application.workflow.authoring import (
    DeployCommand,
    EditTaskCommand,
    SaveDraftCommand,
    WorkflowCommand,
)
from scheduler_domain.errors import InvalidDefinition
from tests.support.flows import flow
from tests.support.world import ACTOR, World

FLOW = WorkflowCommand("flow")


async def save(world: World, document: dict[str, Any], **more: Any) -> Any:
    command = SaveDraftCommand(msgspec.json.encode(document), "json", **more)
    return await world.save_draft.execute(command, ACTOR)


async def versions(world: World) -> list[tuple[int, bool]]:
    """(number, whether it is live), the newest first."""
    view = await world.reader.workflow(ACTOR.project, "flow")
    assert view is not None
    page = await world.reader.versions(ACTOR.project, view.id, PageRequest())
    return [(version.number, version.live) for version in page.items]


async def test_each_content_is_a_version_and_the_same_content_is_the_same_version(world: World) -> None:
    first = await world.deploy(flow())
    again = await world.deploy(flow())
    second = await world.deploy(flow("a b"))
    back = await world.deploy(flow())
    assert [(one.version, one.created) for one in (first, again, second, back)] == [
        (1, True),
        (1, False),
        (2, True),
        (1, False),
    ]
    assert await versions(world) == [(2, False), (1, True)]


async def test_other_code_is_another_version(world: World) -> None:
    first = await world.deploy(flow(), source="/one")
    second = await world.deploy(flow(), source="/two")
    assert (first.version, second.version) == (1, 2)


async def test_a_run_stays_on_the_version_that_it_started_with(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}}))
    old = (await world.start("flow")).run_id
    await world.deploy(flow({"a": {}, "c": {"needs": ["a"]}}))
    new = (await world.start("flow")).run_id
    await world.work()
    assert set(await world.states(old)) == {"a", "b"}
    assert set(await world.states(new)) == {"a", "c"}
    assert [(await world.run(run_id)).version for run_id in (old, new)] == [1, 2]


async def test_a_draft_changes_nothing_that_runs(world: World) -> None:
    await world.deploy(flow())
    view = await save(world, flow("x y"))
    assert list(view.draft["tasks"]) == ["x", "y"]
    assert view.live_version == 1
    run_id = (await world.start("flow")).run_id
    assert set(await world.states(run_id)) == {"a"}
    deployment = await world.deploy_workflow.execute(DeployCommand("flow"), ACTOR)
    assert (deployment.version, deployment.created) == (2, True)
    await world.stop_workflow.execute("flow", ACTOR)


async def test_what_was_never_deployed_cannot_be_started(world: World) -> None:
    await save(world, flow())
    with pytest.raises(Conflict) as refusal:
        await world.start("flow")
    assert refusal.value.code == "not_deployed"


async def test_a_new_draft_does_not_replace_one_where_it_must_be_new(world: World) -> None:
    await save(world, flow(), must_be_new=True)
    with pytest.raises(Conflict) as refusal:
        await save(world, flow("x"), must_be_new=True)
    assert refusal.value.code == "already_exists"
    with pytest.raises(Rejected) as mismatch:
        await save(world, flow(), expected_name="other")
    assert mismatch.value.code == "name_mismatch"


async def test_a_wrong_document_changes_nothing(world: World) -> None:
    await world.deploy(flow())
    before = await world.rows("select * from workflows")
    with pytest.raises(InvalidDefinition):
        await world.deploy(flow({"a": {"needs": ["a"]}}))
    assert await world.rows("select * from workflows") == before
    assert await versions(world) == [(1, True)]


async def test_tasks_of_the_draft_are_added_changed_and_taken_away(world: World) -> None:
    await world.deploy(flow())
    edit = world.edit_task.execute
    await edit(EditTaskCommand("flow", "b", {"shell": "true", "needs": ["a"]}, create=True), ACTOR)
    view = await edit(EditTaskCommand("flow", "b", {"shell": "false", "needs": ["a"]}), ACTOR)
    assert view.draft is not None
    assert view.draft["tasks"]["b"] == {"shell": "false", "needs": ["a"]}
    for command in (EditTaskCommand("flow", "a", None), EditTaskCommand("flow", "c", {"shell": 5}, create=True)):
        with pytest.raises(InvalidDefinition):
            await edit(command, ACTOR)
    with pytest.raises(Conflict):
        await edit(EditTaskCommand("flow", "a", {"shell": "true"}, create=True), ACTOR)
    with pytest.raises(NotFound):
        await edit(EditTaskCommand("flow", "x", {"shell": "true"}), ACTOR)
    view = await edit(EditTaskCommand("flow", "b", None), ACTOR)
    assert view.draft is not None
    assert list(view.draft["tasks"]) == ["a"]


async def test_undeploying_lets_runs_go_on_and_keeps_history(world: World) -> None:
    await world.deploy(flow(triggers=[{"every": "1h"}]))
    run_id = (await world.start("flow")).run_id
    view = await world.undeploy_workflow.execute(FLOW, ACTOR)
    assert view.live_version is None
    await world.undeploy_workflow.execute(FLOW, ACTOR)
    await world.work()
    run = await world.run(run_id)
    assert (run.state, run.version, run.workflow) == ("succeeded", 1, "flow")
    assert (await world.deploy(flow(triggers=[{"every": "1h"}]))).version == 1


async def test_a_workflow_in_use_is_not_deleted(world: World) -> None:
    await world.deploy(flow(triggers=[{"every": "1h"}]))
    run_id = (await world.start("flow")).run_id
    with pytest.raises(Conflict, match="1 active triggers and 1 live runs") as refusal:
        await world.delete_workflow.execute(FLOW, ACTOR)
    assert refusal.value.code == "in_use"
    await world.undeploy_workflow.execute(FLOW, ACTOR)
    with pytest.raises(Conflict, match="0 active triggers and 1 live runs"):
        await world.delete_workflow.execute(FLOW, ACTOR)
    await world.cancel(run_id)
    await world.delete_workflow.execute(FLOW, ACTOR)
    with pytest.raises(NotFound):
        await world.delete_workflow.execute(FLOW, ACTOR)


async def test_a_deleted_workflow_leaves_its_history_and_its_name(world: World) -> None:
    await world.deploy(flow())
    run_id = (await world.start("flow")).run_id
    await world.work()
    await world.undeploy_workflow.execute(FLOW, ACTOR)
    await world.delete_workflow.execute(FLOW, ACTOR)
    assert await world.reader.workflow(ACTOR.project, "flow") is None
    assert (await world.run(run_id)).workflow == "flow"
    deployment = await world.deploy(flow())
    assert deployment.version == 1
    page = await world.reader.workflows(ACTOR.project, PageRequest())
    assert [view.id for view in page.items] == [deployment.workflow_id]


async def test_a_version_that_is_undeployed_or_deleted_still_serves_its_runs_in_a_new_process(world: World) -> None:
    """Definitions are cached; a process that starts later reads them from the store."""
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}}))
    run_id = (await world.start("flow")).run_id
    await world.deploy(flow("x"))
    await world.undeploy_workflow.execute(FLOW, ACTOR)
    world.engine.definitions._kept.clear()
    assert await world.work() == ["a", "b"]
    assert (await world.run(run_id)).state == "succeeded"


async def test_deploys_of_one_new_workflow_at_once_are_one_workflow(world: World) -> None:
    deployments = await asyncio.gather(*(world.deploy(flow(description=f"{i % 3}")) for i in range(9)))
    assert len({one.workflow_id for one in deployments}) == 1
    assert sorted({one.version for one in deployments}) == [1, 2, 3]
    live = [number for number, is_live in await versions(world) if is_live]
    assert len(live) == 1


async def test_drafts_of_one_new_workflow_at_once_are_one_winner(world: World) -> None:
    answers = await asyncio.gather(*(save(world, flow(), must_be_new=True) for _ in range(6)), return_exceptions=True)
    conflicts = [answer for answer in answers if isinstance(answer, Conflict)]
    assert len(conflicts) == 5


async def test_two_versions_never_share_a_number(world: World) -> None:
    await world.deploy(flow())
    await asyncio.gather(*(world.deploy(flow(description=str(i))) for i in range(12)))
    assert [number for number, _ in await versions(world)] == list(range(13, 0, -1))

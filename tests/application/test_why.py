"""Why something ran, did not run, or waits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler_application.errors import NotFound, Rejected
from scheduler_application.schedule.freeze import FreezeCommand
from scheduler_application.schedule.manage import PauseCommand
from scheduler_application.why import WhyCommand
from scheduler_application.why_due import RULES
from scheduler_application.workflow.authoring import WorkflowCommand
from scheduler_domain.run.outcome import Succeeded
from scheduler_domain.schedule.dst import CLOCK_CHANGE, DST_SKIP
from scheduler_domain.schedule.fire_policy import MisfirePolicy
from scheduler_domain.schedule.policies import ON_TIME, TOO_LATE
from tests.support.flows import failure, flow, lose, recover, results
from tests.support.world import ACTOR, World

TEN = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)


async def why(world: World, **about: Any) -> list[tuple[str, str]]:
    """(code, text) of every fact; the summary is the first."""
    explanation = await world.explain.execute(WhyCommand(**about), ACTOR)
    assert explanation.facts == [] or explanation.summary == explanation.facts[0]["text"]
    return [(fact["code"], fact["text"]) for fact in explanation.facts]


async def codes(world: World, **about: Any) -> list[str]:
    return [code for code, _ in await why(world, **about)]


async def fire(world: World, after: float) -> None:
    world.clock.advance(after)
    await world.fire_due_schedules.execute(await world.lead())


async def test_one_thing_is_asked_about_and_it_must_exist(world: World) -> None:
    for about in ({}, {"workflow": "flow", "run_id": "x"}):
        with pytest.raises(Rejected):
            await why(world, **about)
    for about in ({"workflow": "flow"}, {"run_id": "x"}, {"run_id": world.ids.new()}):
        with pytest.raises(NotFound):
            await why(world, **about)


async def test_a_moment_is_explained_by_its_ledger_row(world: World) -> None:
    await world.deploy(flow(triggers=[{"schedule": "0 * * * *", "name": "hourly"}]))
    await fire(world, 3_600)
    (run,) = await world.rows("select id from runs")
    text = f"hourly was due at 2026-11-02T10:00:00+00:00: fired as run {run['id']} (on_time: it was decided in time)"
    assert await why(world, workflow="flow", at=TEN) == [("fired", text)]
    assert await codes(world, workflow="flow", at=TEN + timedelta(minutes=30)) == ["not_due"]
    assert await codes(world, workflow="flow", at=TEN + timedelta(hours=1)) == ["ahead"]
    world.clock.advance(3_600)
    assert await codes(world, workflow="flow", at=TEN + timedelta(hours=1)) == ["undecided"]
    assert await codes(world, workflow="flow", at=TEN - timedelta(hours=1)) == ["not_deployed_then"]


async def test_a_moment_that_was_missed_skipped_or_paused_says_by_which_rule(world: World) -> None:
    await world.deploy(flow(triggers=[{"schedule": "0 * * * *", "name": "hourly"}]))
    await fire(world, 3 * 3_600)
    assert await why(world, workflow="flow", at=TEN) == [
        (
            "missed",
            f"hourly was due at 2026-11-02T10:00:00+00:00: missed (misfire:fire_once: {RULES['misfire:fire_once']})",
        )
    ]


async def test_a_missed_deadline_is_named_until_one_is_met(world: World) -> None:
    await world.deploy(flow(expect={"by": "0 * * * *", "name": "hourly"}))
    assert await codes(world, workflow="flow") == []
    world.clock.advance(3_600)
    await world.judge_deadlines.execute(await world.lead())
    text = "hourly was missed: no run of flow had succeeded by 2026-11-02T10:00:00+00:00"
    assert await why(world, workflow="flow") == [("expectation_missed", text)]
    await world.start("flow")
    world.clock.advance(60)
    await world.work()
    world.clock.advance(3_540)
    await world.judge_deadlines.execute(await world.lead())
    assert await codes(world, workflow="flow") == []
    await world.write("update expectations set timezone = 'Gone/Zone'")
    world.clock.advance(3_600)
    await world.judge_deadlines.execute(await world.lead())
    assert await codes(world, workflow="flow") == ["expectation_quarantined"]


@pytest.mark.parametrize("standing", ["next", "paused", "quarantined", "disabled", "not_deployed", "late"])
async def test_a_workflow_is_explained_as_it_stands(world: World, standing: str) -> None:
    await world.deploy(flow(triggers=[{"schedule": "0 * * * *", "name": "hourly"}]))
    match standing:
        case "paused":
            await world.pause_triggers.execute(PauseCommand("flow"), ACTOR)
        case "quarantined":
            await world.write("update triggers set expression = 'nonsense'")
            await fire(world, 3_600)
        case "disabled":
            await world.disable_workflow.execute(WorkflowCommand("flow"), ACTOR)
        case "not_deployed":
            await world.undeploy_workflow.execute(WorkflowCommand("flow"), ACTOR)
        case "late":
            world.clock.advance(4_000)
    assert (await codes(world, workflow="flow"))[0] == standing


async def test_a_workflow_without_triggers_says_that_nothing_is_known(world: World) -> None:
    await world.deploy(flow())
    explanation = await world.explain.execute(WhyCommand(workflow="flow"), ACTOR)
    assert explanation.summary == "nothing is known of flow: it has no trigger and was never due"


async def test_a_run_says_where_it_came_from(world: World) -> None:
    await world.deploy(flow(name="child"))
    await world.deploy(flow({"call": {"workflow": {"name": "child"}}}, triggers=[{"schedule": "0 * * * *"}]))
    by_hand = (await world.start("flow")).run_id
    child = (await world.tasks(by_hand))["call"].child_run_id
    await fire(world, 3_600)
    (fired,) = await world.rows("select id from runs where due_at is not null")
    origins = [(await codes(world, run_id=run_id))[0] for run_id in (by_hand, child, fired["id"])]
    assert origins == ["started", "child", "fired"]


async def test_open_tasks_say_what_they_wait_for(world: World) -> None:
    await world.deploy(flow(name="child"))
    tasks = {
        "ready": {},
        "blocked": {"needs": ["ready"]},
        "pause": {"wait": {"for": "1h"}},
        "call": {"workflow": {"name": "child"}},
        "again": {"retry": {"attempts": 2, "delay": "1m"}},
        "lonely": {"queue": "nowhere"},
        "busy": {},
    }
    await world.deploy(flow(tasks))
    run_id = (await world.start("flow")).run_id
    claimed = {task.row.task: task for task in await world.claim() if task.row.run_id == run_id}
    await world.finish(claimed["again"], failure(7))
    await world.write("update task_runs set state = 'queued' where task in ('ready', 'lonely') and run_id = $1", run_id)
    found = await why(world, run_id=run_id)
    texts = {text.split()[0]: text for _, text in found[1:]}
    assert "no live worker serves the queue nowhere" in texts["lonely"]
    assert "waits for a worker of the queue default" in texts["ready"]
    assert texts["blocked"] == "blocked waits for ready (queued)"
    assert "waits until 2026-11-02" in texts["pause"]
    assert "waits for the run" in texts["call"]
    assert "is tried again at" in texts["again"]
    assert "exit code 7" in texts["again"]
    assert f"runs on worker {world.worker_id}" in texts["busy"]
    assert [code for code, _ in await why(world, run_id=run_id, task="pause")] == ["task_waiting"]
    with pytest.raises(NotFound):
        await why(world, run_id=run_id, task="other")


async def test_a_failed_run_names_what_failed_and_one_task_what_skipped_it(world: World) -> None:
    await world.deploy(flow({"a": {}, "b": {"needs": ["a"]}}))
    run_id = (await world.start("flow")).run_id
    await world.work(results(a=failure(9)))
    assert (await why(world, run_id=run_id))[1:] == [("task_failed", "a failed: it ended with exit code 9")]
    assert await why(world, run_id=run_id, task="b") == [("task_skipped", "b was skipped by run_if:all_succeeded")]


async def test_poison_says_what_it_is(world: World) -> None:
    await world.deploy(flow())
    run_id = (await world.start("flow")).run_id
    for _ in range(3):
        await world.claim()
        await lose(world, world.worker_id)
        await recover(world)
    assert (await why(world, run_id=run_id))[1:] == [
        ("task_failed", "a failed: its worker was lost 3 times; not started again")
    ]


async def test_a_pending_run_waits_for_a_slot(world: World) -> None:
    await world.deploy(flow(concurrency={"limit": 1}))
    await world.start("flow")
    run_id = (await world.start("flow")).run_id
    assert await codes(world, run_id=run_id) == ["started", "slot", "task_blocked"]


async def test_items_are_told_apart(world: World) -> None:
    await world.deploy(flow({"make": {}, "each": {"needs": ["make"], "for_each": "${{ tasks.make.output }}"}}))
    run_id = (await world.start("flow")).run_id
    (make,) = await world.claim()
    await world.finish(make, Succeeded([1, 2]))
    await world.claim()
    labels = {text.split()[0] for _, text in await why(world, run_id=run_id, task="each")}
    assert labels == {"each", "each[0]", "each[1]"}


async def test_a_run_that_waits_names_the_run_that_holds_its_slot(world: World) -> None:
    await world.deploy(flow(triggers=[{"every": "1m", "overlap": "queue", "name": "each"}]))
    await fire(world, 60)
    await fire(world, 60)
    first, second = [row["id"] for row in await world.rows("select id from runs order by id")]
    assert (await why(world, run_id=second))[1] == ("slot", f"it waits for a slot of flow, held by run {first}")


async def test_a_frozen_trigger_says_until_when_and_why(world: World) -> None:
    await world.deploy(flow(triggers=[{"schedule": "0 * * * *", "name": "hourly"}], labels=["pay"]))
    ends_at = TEN + timedelta(hours=5)
    await world.freeze_schedules.execute(FreezeCommand("stock-taking", ends_at, label="pay"), ACTOR)
    await fire(world, 3_600)
    held = (
        f"workflows labelled pay are frozen until {ends_at.isoformat()} (stock-taking); then the misfire policy decides"
    )
    assert await why(world, workflow="flow") == [("frozen", f"hourly has been due since {TEN.isoformat()}: {held}")]
    assert await why(world, workflow="flow", at=TEN) == [("frozen", f"hourly is due at {TEN.isoformat()}: {held}")]
    await fire(world, 5 * 3_600)
    assert await codes(world, workflow="flow", at=TEN) == ["missed"]


def test_every_rule_of_the_ledger_has_words() -> None:
    domain = {ON_TIME, CLOCK_CHANGE, DST_SKIP, TOO_LATE, *(policy.rule for policy in MisfirePolicy)}
    assert domain <= RULES.keys()

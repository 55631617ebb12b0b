"""Firing: every due time is decided once, and says why."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from scheduler_application.leading import Campaign
from scheduler_application.schedule.manage import PauseCommand
from scheduler_application.workflow.authoring import WorkflowCommand
from scheduler_infrastructure.persistence.tables import triggers, workflows
from tests.support.flows import flow
from tests.support.world import ACTOR, World

NINE = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
MINUTE, HOUR = 60, 3_600


def timed(*triggers: dict[str, Any], name: str = "flow", **more: Any) -> dict[str, Any]:
    return flow(name=name, triggers=list(triggers), **more)


async def fire(world: World, after: float = 0.0) -> int:
    """Turns the clock and lets the leader fire; how many due times were decided."""
    world.clock.advance(after)
    return await world.fire_due_schedules.execute(await world.lead())


async def ledger(world: World) -> list[tuple[str, str, str]]:
    """(due time, outcome, rule) of every due time, the earliest first."""
    rows = await world.rows("select due_at, outcome, rule from ledger order by due_at, trigger_id")
    return [(row["due_at"].strftime("%H:%M:%S"), row["outcome"], row["rule"]) for row in rows]


async def trigger(world: World, workflow: str = "flow") -> Any:
    view = await world.reader.workflow(ACTOR.project, workflow)
    assert view is not None
    (found,) = await world.reader.triggers(ACTOR.project, view.id)
    return found


async def test_a_due_time_starts_one_run_and_leaves_one_row(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *", "timezone": "Europe/Berlin"}))
    assert await fire(world, HOUR - 1) == 0
    assert await fire(world, 1) == 1
    (run,) = await world.rows("select * from runs")
    (row,) = await world.rows("select * from ledger")
    assert (row["run_id"], row["due_at"], row["outcome"], row["rule"]) == (
        run["id"],
        NINE + timedelta(hours=1),
        "fired",
        "on_time",
    )
    assert (run["due_at"], run["scheduled_for"]) == (row["due_at"], "2026-11-02T11:00:00+01:00")
    assert run["started_by"].startswith("trigger:schedule-")
    assert await fire(world) == 0


async def test_the_due_time_is_what_expressions_see(world: World) -> None:
    inputs = {"day": {"type": "string", "default": "${{ run.scheduled_for }}"}, "n": {"type": "integer"}}
    await world.deploy(timed({"schedule": "0 * * * *", "inputs": {"n": 5}}, inputs=inputs))
    await fire(world, HOUR)
    (run,) = await world.rows("select id from runs")
    assert (await world.run(run["id"])).inputs == {"day": "2026-11-02T10:00:00+00:00", "n": 5}


async def test_an_interval_keeps_its_phase_and_an_instant_fires_once(world: World) -> None:
    await world.deploy(timed({"every": "10m"}, {"at": "2026-11-02T09:25:00Z"}))
    for _ in range(6):
        await fire(world, 10 * MINUTE)
    times = [time for time, _, _ in await ledger(world)]
    assert len(times) == 7
    assert "09:25:00" in times
    phases = {int(time[3:5]) % 10 for time in times if time != "09:25:00"}
    assert len(phases) == 1


async def test_a_due_time_is_decided_once_however_many_leaders_try(world: World) -> None:
    await world.deploy(timed({"every": "1m"}))
    world.clock.advance(MINUTE)
    term = await world.lead()
    decided = await asyncio.gather(*(world.fire_due_schedules.execute(term) for _ in range(4)))
    assert sum(decided) == 1
    assert len(await world.rows("select id from runs")) == 1


async def test_a_trigger_that_is_set_back_fires_nothing_twice(world: World) -> None:
    """As a clock that is set back, or a restored backup, would do."""
    await world.deploy(timed({"schedule": "* * * * *"}))
    await fire(world, MINUTE)
    await fire(world, MINUTE)
    await world.write("update triggers set due_at = $1, next_at = $1", NINE + timedelta(minutes=1))
    assert await fire(world) == 2
    assert await ledger(world) == [("09:01:00", "fired", "on_time"), ("09:02:00", "fired", "on_time")]
    assert len(await world.rows("select id from runs")) == 2
    assert all(row["run_id"] for row in await world.rows("select run_id from ledger"))


async def test_a_trigger_that_is_set_back_cancels_nothing(world: World) -> None:
    await world.deploy(timed({"schedule": "* * * * *"}, concurrency={"limit": 1, "on_conflict": "cancel_running"}))
    await fire(world, MINUTE)
    await world.write("update triggers set due_at = $1, next_at = $1", NINE + timedelta(minutes=1))
    await fire(world)
    assert [row["state"] for row in await world.rows("select state from runs")] == ["running"]


@pytest.mark.parametrize(
    ("misfire", "outcomes"),
    [
        ("skip", ["missed", "missed", "missed", "fired"]),
        ("fire_once", ["missed", "missed", "fired", "fired"]),
        ("fire_all", ["fired", "fired", "fired", "fired"]),
    ],
)
async def test_missed_due_times_follow_the_policy_and_every_one_has_a_row(
    world: World, misfire: str, outcomes: list[str]
) -> None:
    await world.deploy(timed({"schedule": "0 * * * *", "misfire": misfire}))
    assert await fire(world, 4 * HOUR) == 4
    assert [outcome for _, outcome, _ in await ledger(world)] == outcomes
    rules = [rule for _, _, rule in await ledger(world)]
    assert rules == [f"misfire:{misfire}"] * 3 + ["on_time"]
    assert len(await world.rows("select id from runs")) == outcomes.count("fired")


async def test_a_long_outage_is_caught_up_in_bounded_transactions(world: World) -> None:
    await world.deploy(timed({"schedule": "* * * * *", "misfire": "fire_all"}))
    assert await fire(world, 3_000 * MINUTE) == 3_000
    counts = await world.rows("select outcome, count(*) as number from ledger group by outcome")
    # The grace of a minute lets one due time more be on time.
    assert {row["outcome"]: row["number"] for row in counts} == {"missed": 2_898, "fired": 102}
    found = (await trigger(world)).next_at
    assert found == NINE + timedelta(minutes=3_001)


async def test_an_outage_of_many_frequent_triggers_is_caught_up(world: World) -> None:
    for number in range(30):
        await world.deploy(timed({"schedule": "* * * * *", "misfire": "skip"}, name=f"flow-{number}"))
    assert await fire(world, 300 * MINUTE) == 9_000
    assert len(await world.rows("select id from runs where id is not null")) == 30 * 2


async def test_a_pause_is_recorded_when_it_is_over(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *"}))
    pause = PauseCommand("flow")
    await world.pause_triggers.execute(pause, ACTOR)
    assert await fire(world, 3 * HOUR) == 0
    assert await ledger(world) == []
    world.clock.advance(60)
    await world.resume_triggers.execute(pause, ACTOR)
    await world.resume_triggers.execute(pause, ACTOR)
    assert await fire(world) == 3
    assert await ledger(world) == [(f"{hour}:00:00", "skipped", "paused") for hour in (10, 11, 12)]
    assert await world.rows("select id from runs") == []
    assert await fire(world, HOUR) == 1
    assert (await ledger(world))[-1][1] == "fired"


async def test_pausing_one_trigger_leaves_the_others(world: World) -> None:
    await world.deploy(timed({"every": "1h", "name": "one"}, {"every": "1h", "name": "two"}))
    views = await world.pause_triggers.execute(PauseCommand("flow", "one"), ACTOR)
    assert {view.name: view.paused for view in views} == {"one": True, "two": False}
    assert await fire(world, 2 * HOUR) == 2
    assert {run["started_by"] for run in await world.rows("select started_by from runs")} == {"trigger:two"}


async def test_a_disabled_workflow_starts_nothing_and_says_so(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *"}))
    await world.disable_workflow.execute(WorkflowCommand("flow"), ACTOR)
    await fire(world, HOUR)
    await world.enable_workflow.execute(WorkflowCommand("flow"), ACTOR)
    await fire(world, HOUR)
    assert await ledger(world) == [("10:00:00", "skipped", "disabled"), ("11:00:00", "fired", "on_time")]


async def test_an_undeployed_workflow_is_due_no_more(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *"}))
    await world.undeploy_workflow.execute(WorkflowCommand("flow"), ACTOR)
    assert await fire(world, HOUR) == 0
    assert await world.next_due.execute() is None


async def test_a_due_time_that_the_concurrency_skips_says_so(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *"}, concurrency={"limit": 1, "on_conflict": "skip"}))
    await fire(world, HOUR)
    await fire(world, HOUR)
    assert await ledger(world) == [("10:00:00", "fired", "on_time"), ("11:00:00", "skipped", "concurrency:skip")]
    rows = await world.rows("select run_id from ledger order by due_at")
    assert [row["run_id"] is None for row in rows] == [False, True]


BAD_ROWS = {
    "expression": "update triggers set expression = 'nonsense' where name = 'bad'",
    "timezone": "update triggers set timezone = 'Mars/Olympus' where name = 'bad'",
    "policy": "update triggers set policy = '{\"misfire\": \"perhaps\"}' where name = 'bad'",
    "policy without a member": "update triggers set policy = '{}' where name = 'bad'",
    "policy of another shape": "update triggers set policy = '[]' where name = 'bad'",
    "kind": "update triggers set kind = 'moon' where name = 'bad'",
    "never": "update triggers set expression = '0 0 30 2 *' where name = 'bad'",
    "unknown to the version": "update triggers set name = 'renamed' where name = 'bad'",
}


@pytest.mark.parametrize("fault", BAD_ROWS)
async def test_a_row_that_cannot_be_evaluated_is_put_aside_and_stops_nobody(world: World, fault: str) -> None:
    await world.deploy(timed({"schedule": "0 * * * *", "name": "bad"}, name="first"))
    await world.deploy(timed({"schedule": "0 * * * *", "name": "good"}, name="second"))
    await world.write(BAD_ROWS[fault])
    assert await fire(world, HOUR) == 1
    assert [row["started_by"] for row in await world.rows("select started_by from runs")] == ["trigger:good"]
    bad = await trigger(world, "first")
    assert bad.next_at is None
    assert bad.error
    assert await fire(world, HOUR) == 1


@pytest.mark.parametrize("content", ['{"workflow": 5}', "{"])
async def test_a_version_that_cannot_be_read_any_more_stops_nobody(world: World, content: str) -> None:
    await world.deploy(timed({"schedule": "0 * * * *", "name": "bad"}, name="first"))
    await world.deploy(timed({"schedule": "0 * * * *", "name": "good"}, name="second"))
    (version,) = await world.rows(
        "select v.id, v.content from versions v join triggers t on t.workflow_id = v.workflow_id where t.name = 'bad'"
    )
    await world.write("update versions set content = $1 where id = $2", content, version["id"])
    assert await fire(world, HOUR) == 1
    assert [row["started_by"] for row in await world.rows("select started_by from runs")] == ["trigger:good"]
    assert (await trigger(world, "first")).error
    # What looks over the world after each test reads every version.
    await world.write("update versions set content = $1 where id = $2", version["content"], version["id"])


async def test_a_concurrency_key_that_cannot_be_evaluated_stops_nobody(world: World) -> None:
    key = "${{ 1 / inputs.n }}"
    wrong = timed({"schedule": "0 * * * *"}, name="bad", inputs={"n": {"type": "integer", "default": 0}})
    await world.deploy({**wrong, "concurrency": {"limit": 1, "key": key}})
    await world.deploy(timed({"schedule": "0 * * * *"}, name="good"))
    assert await fire(world, HOUR) == 1
    assert len(await world.rows("select id from runs")) == 1
    assert "ExpressionError" in str((await trigger(world, "bad")).error)


async def test_a_deploy_takes_a_trigger_that_was_put_aside_up_again(world: World) -> None:
    document = timed({"schedule": "0 * * * *", "name": "bad"})
    await world.deploy(document)
    await world.write("update triggers set expression = 'nonsense'")
    await fire(world, HOUR)
    await world.deploy(document)
    found = await trigger(world)
    assert (found.error, found.next_at) == (None, NINE + timedelta(hours=2))
    assert await fire(world, HOUR) == 1


async def test_a_deploy_keeps_identity_pause_phase_and_what_is_due(world: World) -> None:
    document = timed({"every": "90m"})
    await world.deploy(document)
    before = await trigger(world)
    world.clock.advance(100 * MINUTE)
    await world.pause_triggers.execute(PauseCommand("flow"), ACTOR)
    await world.deploy({**document, "description": "a new version"})
    after = await trigger(world)
    assert (after.id, after.next_at, after.anchor_at, after.paused) == (
        before.id,
        before.next_at,
        before.anchor_at,
        True,
    )
    await world.resume_triggers.execute(PauseCommand("flow"), ACTOR)
    await fire(world)
    (row,) = await world.rows("select trigger_id, due_at, rule from ledger")
    assert (row["trigger_id"], row["due_at"], row["rule"]) == (before.id, before.next_at, "paused")


async def test_a_due_time_fires_the_version_that_is_live_when_it_is_decided(world: World) -> None:
    document = timed({"schedule": "0 * * * *"})
    await world.deploy(document)
    world.clock.advance(HOUR)
    await world.deploy({**document, "description": "two"})
    await fire(world)
    (run,) = await world.rows("select id from runs")
    assert (await world.run(run["id"])).version == 2


async def test_a_trigger_whose_times_change_forgets_what_was_not_due_yet(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *", "name": "t"}))
    world.clock.advance(HOUR / 2)
    await world.deploy(timed({"schedule": "45 * * * *", "name": "t"}))
    assert (await trigger(world)).next_at == NINE + timedelta(minutes=45)


async def test_a_trigger_that_comes_back_is_the_same_trigger(world: World) -> None:
    document = timed({"every": "1h"})
    await world.deploy(document)
    before = await trigger(world)
    await world.deploy(flow())
    assert await fire(world, 5 * HOUR) == 0
    await world.deploy(document)
    after = await trigger(world)
    assert (after.id, after.anchor_at) == (before.id, before.anchor_at)
    assert after.next_at > world.clock.now()
    assert (after.next_at - before.next_at).total_seconds() % HOUR == 0


async def test_ten_thousand_due_triggers_fire_in_one_pass(world: World) -> None:
    # A lease that outlasts a machine on which many other tests run.
    world.campaign = Campaign(
        world.store,
        world.clock,
        world.metrics,
        world.ids.new(),
        lease_seconds=120.0,
        margin_seconds=1.5,
        settle_seconds=15.0,
    )
    names = [f"t{number}" for number in range(100)]
    await world.deploy(timed(*({"schedule": "0 * * * *", "name": name} for name in names)))
    await _copy_workflow(world, 99)
    assert await fire(world, HOUR) == 10_000
    assert (await world.rows("select count(*) as number from runs"))[0]["number"] == 10_000
    assert (await world.rows("select count(*) as number from ledger where outcome = 'fired'"))[0]["number"] == 10_000


async def _copy_workflow(world: World, times: int) -> None:
    """More workflows with the same live version, and with its triggers."""
    (workflow,) = await world.rows("select * from workflows")
    columns = [column.name for column in triggers.c if column.name not in ("id", "workflow_id")]
    originals = [{name: row[name] for name in columns} for row in await world.rows("select * from triggers")]
    for number in range(times):
        own = {"id": world.ids.new(), "name": f"copy-{number}"}
        rows = [{**row, "id": world.ids.new(), "workflow_id": own["id"]} for row in originals]
        async with world.database.transaction() as connection:
            await connection.run(insert(workflows).values({**workflow, **own}))
            await connection.run(insert(triggers).values(rows))

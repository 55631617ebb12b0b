"""What a trigger's policies make of its due times: overlap, lateness, shadow, freezes."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from scheduler_application.errors import NotFound, Rejected
from scheduler_application.ports.reading import FreezeView
from scheduler_application.run.claim import ClaimedTask
from scheduler_application.schedule.freeze import FreezeCommand
from scheduler_domain.run.outcome import Succeeded
from tests.application.test_firing import HOUR, MINUTE, NINE, fire, ledger, timed, trigger
from tests.support.world import ACTOR, World


async def run_states(world: World) -> list[tuple[str, str]]:
    rows = await world.rows("select due_at, state from runs order by due_at")
    return [(row["due_at"].strftime("%H:%M"), row["state"]) for row in rows]


async def work_off(world: World) -> None:
    for claimed in await world.claim():
        await world.finish(claimed)


async def test_an_overlapping_due_time_may_be_skipped(world: World) -> None:
    await world.deploy(timed({"every": "1m", "overlap": "skip"}))
    await world.new_worker()
    await fire(world, MINUTE)
    await fire(world, MINUTE)
    await work_off(world)
    await fire(world, MINUTE)
    assert await ledger(world) == [
        ("09:01:00", "fired", "on_time"),
        ("09:02:00", "skipped", "overlap:skip"),
        ("09:03:00", "fired", "on_time"),
    ]
    assert await run_states(world) == [("09:01", "succeeded"), ("09:03", "running")]


async def test_of_several_due_times_in_one_pass_the_first_runs_and_the_others_overlap_it(world: World) -> None:
    await world.deploy(timed({"every": "1h", "overlap": "skip", "misfire": "fire_all"}))
    await fire(world, 3 * HOUR)
    assert [(outcome, rule) for _, outcome, rule in await ledger(world)] == [
        ("fired", "misfire:fire_all"),
        ("skipped", "overlap:skip"),
        ("skipped", "overlap:skip"),
    ]


async def test_overlapping_runs_may_queue_and_run_one_after_the_other(world: World) -> None:
    await world.deploy(timed({"every": "1m", "overlap": "queue"}))
    await world.new_worker()
    for _ in range(3):
        await fire(world, MINUTE)
    assert await run_states(world) == [("09:01", "running"), ("09:02", "pending"), ("09:03", "pending")]
    await work_off(world)
    assert await run_states(world) == [("09:01", "succeeded"), ("09:02", "running"), ("09:03", "pending")]
    await work_off(world)
    await work_off(world)
    assert await run_states(world) == [("09:01", "succeeded"), ("09:02", "succeeded"), ("09:03", "succeeded")]
    assert {outcome for _, outcome, _ in await ledger(world)} == {"fired"}


async def test_a_queue_of_overlapping_runs_is_bounded(world: World) -> None:
    await world.deploy(timed({"every": "1m", "overlap": "queue"}))
    for _ in range(102):
        await fire(world, MINUTE)
    rules = [rule for _, _, rule in await ledger(world)]
    assert rules == ["on_time"] * 100 + ["overlap:queue_full"] * 2


async def test_an_overlapping_due_time_may_end_the_run_before_it(world: World) -> None:
    await world.deploy(timed({"every": "1m", "overlap": "cancel_running"}))
    await fire(world, MINUTE)
    await fire(world, MINUTE)
    assert await run_states(world) == [("09:01", "cancelled"), ("09:02", "running")]


async def test_runs_that_people_start_do_not_overlap_with_a_triggers(world: World) -> None:
    await world.deploy(timed({"every": "1m", "overlap": "skip"}))
    await world.start("flow")
    await fire(world, MINUTE)
    assert await ledger(world) == [("09:01:00", "fired", "on_time")]


@pytest.mark.parametrize("overlap", ["queue", "cancel_running"])
async def test_a_deploy_that_lets_runs_overlap_again_strands_none(world: World, overlap: str) -> None:
    await world.deploy(timed({"every": "1m", "overlap": overlap, "name": "each"}))
    worker_had: list[ClaimedTask] = []
    await world.new_worker()
    await fire(world, MINUTE)
    worker_had += await world.claim()
    await fire(world, MINUTE)
    await world.deploy(timed({"every": "1m", "name": "each"}))
    await fire(world, MINUTE)
    for claimed in worker_had:
        await world.finish(claimed, Succeeded())
    for _ in range(3):
        await work_off(world)
    states = {state for _, state in await run_states(world)}
    assert states <= {"succeeded", "cancelled"}


async def test_what_is_too_late_is_dropped(world: World) -> None:
    await world.deploy(timed({"every": "1h", "misfire": "fire_all", "max_lateness": "90m"}))
    await fire(world, 4 * HOUR)
    assert await ledger(world) == [
        ("10:00:00", "missed", "max_lateness"),
        ("11:00:00", "missed", "max_lateness"),
        ("12:00:00", "fired", "misfire:fire_all"),
        ("13:00:00", "fired", "on_time"),
    ]


async def test_the_latest_that_is_not_too_late_fires_once(world: World) -> None:
    await world.deploy(timed({"every": "1h", "max_lateness": "30s"}))
    await fire(world, 4 * HOUR + 45)
    assert {(outcome, rule) for _, outcome, rule in await ledger(world)} == {("missed", "max_lateness")}


async def test_a_shadow_only_records_what_it_would_have_started(world: World) -> None:
    await world.deploy(timed({"every": "1m", "shadow": True}))
    await fire(world, MINUTE)
    assert await ledger(world) == [("09:01:00", "skipped", "shadow")]
    assert await world.rows("select id from runs") == []


def described(trigger_view: Any) -> dict[str, Any]:
    policy: dict[str, Any] = trigger_view.policy
    return policy


async def test_a_trigger_says_what_its_policies_are(world: World) -> None:
    await world.deploy(timed({"every": "1h", "overlap": "skip", "jitter": "5m", "max_lateness": "10m"}))
    assert described(await trigger(world)) == {
        "misfire": "fire_once",
        "overlap": "skip",
        "jitter": 300.0,
        "max_lateness": 600.0,
    }


async def freeze(world: World, seconds: float, **changes: Any) -> FreezeView:
    ends_at = world.clock.now() + timedelta(seconds=seconds)
    return await world.freeze_schedules.execute(FreezeCommand("stock-taking", ends_at, **changes), ACTOR)


@pytest.mark.parametrize(
    ("misfire", "outcomes"),
    [
        ("skip", ["missed", "missed", "missed"]),
        ("fire_once", ["missed", "missed", "fired"]),
        ("fire_all", ["fired", "fired", "fired"]),
    ],
)
async def test_what_a_freeze_held_is_decided_by_the_misfire_policy_when_it_ends(
    world: World, misfire: str, outcomes: list[str]
) -> None:
    await world.deploy(timed({"every": "1h", "misfire": misfire}))
    await freeze(world, 3 * HOUR + 30 * MINUTE)
    for _ in range(3):
        assert await fire(world, HOUR) == 0
    assert await world.rows("select * from runs") == []
    await fire(world, 30 * MINUTE)
    rows = await ledger(world)
    assert [(outcome, rule) for _, outcome, rule in rows] == [(each, f"freeze:{misfire}") for each in outcomes]
    await fire(world, 30 * MINUTE)
    assert (await ledger(world))[-1] == ("13:00:00", "fired", "on_time")


async def test_a_freeze_costs_one_look_however_often_a_trigger_is_due_meanwhile(world: World) -> None:
    await world.deploy(timed({"every": "1m"}))
    made = await freeze(world, 2 * HOUR)
    await fire(world, MINUTE)
    held = await trigger(world)
    assert (held.next_at, held.frozen_by) == (made.ends_at, made.id)
    assert held.due_at == made.starts_at + timedelta(minutes=1)
    seen = await world.reader.freeze(ACTOR.project, made.id)
    assert seen is not None
    assert seen.held == 1


async def test_a_freeze_may_be_of_a_label(world: World) -> None:
    await world.deploy(timed({"every": "1m"}, name="paying", labels=["payroll", "eu"]))
    await world.deploy(timed({"every": "1m"}, name="other", labels=["pay"]))
    await freeze(world, HOUR, label="payroll")
    assert await fire(world, MINUTE) == 1
    assert [
        row["name"] for row in await world.rows("select w.name from runs r join workflows w on w.id = r.workflow_id")
    ] == ["other"]


async def test_a_freeze_that_is_ahead_holds_nothing_before_it_starts(world: World) -> None:
    await world.deploy(timed({"every": "1h"}))
    start = world.clock.now() + timedelta(hours=1, minutes=30)
    await freeze(world, 3 * HOUR, starts_at=start)
    assert await fire(world, HOUR) == 1
    assert await fire(world, HOUR) == 0


async def test_lifting_a_freeze_lets_the_next_pass_decide(world: World) -> None:
    await world.deploy(timed({"every": "1h"}))
    made = await freeze(world, 10 * HOUR)
    await fire(world, 2 * HOUR + 30 * MINUTE)
    lifted = await world.lift_freeze.execute(made.id, ACTOR)
    assert lifted.lifted_at == world.clock.now()
    assert await fire(world) == 2
    assert await ledger(world) == [
        ("10:00:00", "missed", "freeze:fire_once"),
        ("11:00:00", "fired", "freeze:fire_once"),
    ]
    assert (await world.lift_freeze.execute(made.id, ACTOR)).lifted_at == lifted.lifted_at
    with pytest.raises(NotFound):
        await world.lift_freeze.execute(str(uuid4()), ACTOR)


async def test_a_person_may_start_what_is_frozen(world: World) -> None:
    await world.deploy(timed({"every": "1h"}))
    await freeze(world, HOUR)
    await world.start("flow")
    assert len(await world.rows("select id from runs")) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"reason": "  "}, "missing_reason"),
        ({"reason": "x" * 501}, "missing_reason"),
        ({"label": "no label"}, "invalid_label"),
        ({"ends_at": NINE}, "invalid_window"),
        ({"starts_at": NINE + timedelta(hours=2)}, "invalid_window"),
        ({"ends_at": NINE + timedelta(days=400)}, "invalid_window"),
    ],
)
async def test_a_wrong_freeze_is_refused(world: World, changes: dict[str, Any], code: str) -> None:
    values = {"reason": "stock-taking", "ends_at": NINE + timedelta(hours=1), **changes}
    with pytest.raises(Rejected) as refused:
        await world.freeze_schedules.execute(FreezeCommand(**values), ACTOR)
    assert refused.value.code == code
    assert await world.rows("select id from freezes") == []


async def test_a_jittered_trigger_starts_later_but_is_due_when_it_says(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *", "jitter": "10m"}))
    due = await trigger(world)
    spread = due.next_at - due.due_at
    assert timedelta(0) < spread < timedelta(minutes=10)
    assert await fire(world, HOUR + spread.total_seconds() - 0.001) == 0
    assert await fire(world, 0.001) == 1
    assert await ledger(world) == [("10:00:00", "fired", "on_time")]
    (run,) = await world.rows("select due_at, scheduled_for from runs")
    assert (run["due_at"], run["scheduled_for"]) == (NINE + timedelta(hours=1), "2026-11-02T10:00:00+00:00")
    after = await trigger(world)
    assert after.next_at - after.due_at == spread
    await world.deploy(timed({"schedule": "0 * * * *", "jitter": "10m"}, description="the same times"))
    assert (await trigger(world)).next_at == after.next_at


async def test_what_a_schedule_says_about_clock_changes_holds_when_it_fires(world: World) -> None:
    night = {"schedule": "30 2 * * *", "timezone": "Europe/Berlin", "misfire": "fire_all"}
    await world.deploy(timed({**night, "dst": {"gap": "skip"}}))
    await fire(world, (datetime(2027, 3, 29, 12, tzinfo=UTC) - NINE).total_seconds())
    rows = await world.rows("select due_at, outcome, rule from ledger order by due_at desc limit 3")
    assert [(row["due_at"].strftime("%m-%d %H:%M"), row["outcome"], row["rule"]) for row in rows] == [
        ("03-29 00:30", "fired", "misfire:fire_all"),
        ("03-28 00:59", "skipped", "dst:skip"),
        ("03-27 01:30", "fired", "misfire:fire_all"),
    ]

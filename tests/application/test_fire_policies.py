"""What a trigger's policies make of its due times: overlap, lateness, shadow, freezes."""

from typing import Any

import pytest

from scheduler_application.run.claim import ClaimedTask
from scheduler_domain.run.outcome import Succeeded
from tests.application.test_firing import HOUR, MINUTE, fire, ledger, timed, trigger
from tests.support.world import World


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

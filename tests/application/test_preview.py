"""The next due times of a workflow, with what clock changes, jitter and freezes do to each."""

from datetime import timedelta
from typing import Any

from scheduler_application.schedule.freeze import FreezeCommand
from scheduler_application.schedule.preview import NextCommand
from tests.application.test_firing import HOUR, NINE, timed, trigger
from tests.support.world import ACTOR, World


async def notes(world: World, count: int = 3, **about: Any) -> list[str | None]:
    ((_, fires),) = await world.next_fires.execute(NextCommand("flow", count, **about), ACTOR)
    return [fire.note for fire in fires]


async def test_a_plain_schedule_has_nothing_to_note(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *"}))
    assert await notes(world) == [None, None, None]


async def test_jitter_says_when_each_due_time_starts(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *", "jitter": "30m"}))
    due = await trigger(world)
    assert (await notes(world))[0] == f"starts at {due.next_at:%H:%M:%S} UTC (jitter)"


async def test_a_freeze_says_what_it_holds(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *", "misfire": "skip"}, labels=["pay"]))
    for label, reason in (("pay", "stock-taking"), ("other", "not ours")):
        command = FreezeCommand(reason, NINE + timedelta(hours=2), NINE + timedelta(minutes=30), label)
        await world.freeze_schedules.execute(command, ACTOR)
    held = "held by a freeze until 2026-11-02T11:00:00+00:00 (stock-taking), then misfire: skip"
    assert await notes(world) == [held, None, None]
    world.clock.advance(2 * HOUR)
    assert await notes(world) == [None, None, None]


async def test_a_shadow_says_that_it_only_records(world: World) -> None:
    await world.deploy(timed({"schedule": "0 * * * *", "shadow": True}))
    assert (await notes(world))[0] == "only recorded (shadow)"


async def test_what_a_schedule_says_about_clock_changes_shows(world: World) -> None:
    world.clock.advance(144 * 24 * HOUR)
    await world.deploy(timed({"schedule": "30 2 * * *", "timezone": "Europe/Berlin", "dst": {"gap": "skip"}}))
    assert "02:30 does not exist on 2027-03-28; skipped (dst:skip)" in await notes(world, 5)

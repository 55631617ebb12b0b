"""What calendars make of due times when a workflow is deployed, previewed and fired."""

from datetime import date, timedelta
from typing import Any

import pytest

from scheduler_application.schedule.calendars import SaveCalendarCommand
from scheduler_application.schedule.preview import NextCommand
from scheduler_domain.errors import InvalidDefinition
from tests.application.test_firing import HOUR, NINE, fire, timed, trigger
from tests.support.world import ACTOR, World

DAY = 24 * HOUR
TUESDAY, WEDNESDAY = date(2026, 11, 3), date(2026, 11, 4)


async def listed(world: World, name: str, days: list[date]) -> None:
    definition = {"kind": "dates", "dates": [day.isoformat() for day in days] or ["2001-01-01"]}
    await world.save_calendar.execute(SaveCalendarCommand(name, definition), ACTOR)


def noon(**more: Any) -> dict[str, Any]:
    return timed({"schedule": "0 12 * * *", **more})


async def ledger(world: World) -> list[tuple[str, str, str]]:
    rows = await world.rows("select due_at, outcome, rule from ledger order by due_at")
    return [(row["due_at"].strftime("%m-%d"), row["outcome"], row["rule"]) for row in rows]


async def pass_days(world: World, count: int) -> None:
    for _ in range(count):
        await fire(world, DAY)


async def test_a_day_of_the_calendar_is_skipped_and_recorded(world: World) -> None:
    await listed(world, "closed", [TUESDAY])
    await world.deploy(noon(calendar={"skip": "closed"}))
    await pass_days(world, 3)
    assert [row for row in await ledger(world) if row[1] == "skipped"] == [("11-03", "skipped", "calendar:closed")]
    assert [row["due_at"].day for row in await world.rows("select due_at from runs order by due_at")] == [2, 4]


async def test_only_the_days_of_the_calendar_fire(world: World) -> None:
    await listed(world, "paydays", [TUESDAY])
    await world.deploy(noon(calendar={"only": "paydays"}))
    await pass_days(world, 3)
    assert [row["due_at"].day for row in await world.rows("select due_at from runs")] == [3]


async def test_a_due_time_may_move_to_the_next_day(world: World) -> None:
    await listed(world, "closed", [TUESDAY])
    await world.deploy(noon(calendar={"skip": "closed", "shift": "next"}))
    await pass_days(world, 3)
    assert [row["due_at"].day for row in await world.rows("select due_at from runs order by due_at")] == [2, 4]


async def test_a_missed_time_on_a_day_that_is_left_out_does_not_count_for_the_misfire_policy(world: World) -> None:
    """The latest missed one that was not left out fires."""
    await listed(world, "closed", [TUESDAY, WEDNESDAY])
    await world.deploy(noon(calendar={"skip": "closed"}))
    await fire(world, 3 * DAY)
    assert await ledger(world) == [
        ("11-02", "fired", "misfire:fire_once"),
        ("11-03", "skipped", "calendar:closed"),
        ("11-04", "skipped", "calendar:closed"),
    ]


async def test_a_day_is_judged_in_the_zone_of_the_trigger(world: World) -> None:
    await listed(world, "closed", [TUESDAY])
    late = {"schedule": "30 23 * * *", "timezone": "America/New_York"}
    await world.deploy(timed({**late, "calendar": {"skip": "closed"}}))
    await pass_days(world, 3)
    rows = await world.rows("select due_at, rule from ledger order by due_at")
    # 23:30 of Tuesday in New York is 04:30 of Wednesday in UTC.
    assert [(row["due_at"].strftime("%d %H:%M"), row["rule"] == "calendar:closed") for row in rows] == [
        ("03 04:30", False),
        ("04 04:30", True),
        ("05 04:30", False),
    ]


@pytest.mark.parametrize(
    ("days", "use", "code"),
    [
        ([], {"only": "none"}, "never_fires"),
        ([NINE.date() + timedelta(days=n) for n in range(4_000)], {"skip": "none"}, "never_fires"),
        ([], {"skip": "other"}, "unknown_calendar"),
    ],
)
async def test_a_calendar_that_is_not_there_or_leaves_nothing_is_refused(
    world: World, days: list[date], use: dict[str, str], code: str
) -> None:
    await listed(world, "none", days)
    with pytest.raises(InvalidDefinition) as refused:
        await world.deploy(noon(calendar=use))
    (problem,) = refused.value.problems
    assert (problem.code, problem.loc) == (code, ("triggers", 0, "calendar"))
    assert await world.rows("select id from triggers") == []


async def test_a_calendar_that_vanished_puts_its_trigger_aside_and_stops_nobody(world: World) -> None:
    await listed(world, "closed", [])
    await world.deploy(noon(calendar={"skip": "closed"}))
    await world.deploy(timed({"schedule": "0 12 * * *"}, name="other"))
    await world.write("delete from calendars")
    assert await fire(world, DAY) == 1
    assert "closed" in str((await trigger(world)).error)


async def test_a_preview_says_what_the_calendar_does(world: World) -> None:
    await listed(world, "closed", [TUESDAY])
    await world.deploy(noon(calendar={"skip": "closed"}))
    ((_, fires),) = await world.next_fires.execute(NextCommand("flow", 2), ACTOR)
    assert fires[0].note is None
    assert "closed" in (fires[1].note or "")

"""The book of calendars over every store: what firing asks costs one small query, and what it answers is never old."""

from datetime import date
from typing import Any

import pytest

from scheduler_application.errors import NotFound
from scheduler_application.ports.rows import CalendarKey
from scheduler_application.schedule.calendars import CalendarCommand, SaveCalendarCommand
from scheduler_domain.schedule.calendar_days import DayCalendar
from tests.support.counting import Count, counting
from tests.support.world import ACTOR, World

XMAS: dict[str, Any] = {"kind": "dates", "dates": ["12-24/12-26"]}
OFFICE: dict[str, Any] = {"kind": "business_days", "except": ["closed", "holidays-de"]}
EVE, WEDNESDAY, NEW_YEAR = date(2026, 12, 24), date(2026, 12, 23), date(2027, 1, 1)


async def save(world: World, name: str, definition: dict[str, Any]) -> None:
    await world.save_calendar.execute(SaveCalendarCommand(name, definition), ACTOR)


async def look(world: World, *names: str) -> tuple[dict[str, DayCalendar], Count]:
    """The calendars by name, and what they asked of the store."""
    keys = [CalendarKey(ACTOR.project, name) for name in names]
    with counting(world) as count:
        found = await world.store.transact(lambda tx: world.calendars.calendars(tx, keys))
    return {key.name: calendar for key, calendar in found.items()}, count


async def test_a_pass_asks_once_for_all_its_names_and_reads_nothing_that_it_knows(world: World) -> None:
    await save(world, "closed", XMAS)
    await save(world, "office", OFFICE)
    names = ("office", "closed", "holidays-fr", "weekends")
    found, first = await look(world, *names)
    assert first.statements > 1
    again, second = await look(world, *names)
    assert second.statements == 1
    assert second.most_rows <= len(names) + 1
    for calendars in (found, again):
        assert calendars["office"].contains(WEDNESDAY)
        assert not calendars["office"].contains(EVE)
        assert not calendars["office"].contains(NEW_YEAR)
        assert calendars["holidays-fr"].contains(NEW_YEAR)
    # Years that were worked out stay so: it is the same calendar.
    assert again["closed"] is found["closed"]
    assert again["holidays-fr"] is found["holidays-fr"]


async def test_nothing_is_asked_for_no_names(world: World) -> None:
    found, count = await look(world)
    assert (found, count.statements) == ({}, 0)


async def test_a_change_is_seen_by_the_next_pass_also_where_another_calendar_is_made_from_it(world: World) -> None:
    await save(world, "closed", XMAS)
    await save(world, "office", OFFICE)
    before, _ = await look(world, "office")
    assert not before["office"].contains(EVE)
    await save(world, "closed", {"kind": "dates", "dates": ["12-23"]})
    after, _ = await look(world, "office")
    assert after["office"].contains(EVE)
    assert not after["office"].contains(WEDNESDAY)


async def test_a_calendar_that_was_deleted_and_made_again_is_the_new_one(world: World) -> None:
    await save(world, "closed", XMAS)
    await look(world, "closed")
    await world.delete_calendar.execute(CalendarCommand("closed"), ACTOR)
    assert (await look(world, "closed"))[0] == {}
    await save(world, "closed", {"kind": "dates", "dates": ["12-23"]})
    found, _ = await look(world, "closed")
    assert (found["closed"].contains(EVE), found["closed"].contains(WEDNESDAY)) == (False, True)


async def test_a_name_that_comes_to_shadow_a_built_in_one_wins_at_once(world: World) -> None:
    found, _ = await look(world, "holidays-de")
    assert found["holidays-de"].contains(NEW_YEAR)
    await save(world, "holidays-de", XMAS)
    found, _ = await look(world, "holidays-de")
    assert (found["holidays-de"].contains(NEW_YEAR), found["holidays-de"].contains(EVE)) == (False, True)


async def test_one_that_cannot_be_had_hinders_nobody_who_names_another(world: World) -> None:
    await save(world, "closed", XMAS)
    await save(world, "gone", {"kind": "holidays", "country": "DE"})
    await world.write("""update calendars set definition = '{"kind":"holidays","country":"XX"}' where name = 'gone'""")
    found, _ = await look(world, "closed", "gone", "unknown", "Not a name", "\0")
    assert set(found) == {"closed"}
    with pytest.raises(NotFound) as refused:
        await world.store.transact(lambda tx: world.calendars.calendar(tx, ACTOR.project, "unknown"))
    assert refused.value.code == "unknown_calendar"


async def test_calendars_of_the_same_name_in_two_projects_are_two(world: World) -> None:
    await save(world, "closed", XMAS)
    own, others = CalendarKey(ACTOR.project, "closed"), CalendarKey(world.ids.new(), "closed")
    found = await world.store.transact(lambda tx: world.calendars.calendars(tx, [own, others]))
    assert set(found) == {own}

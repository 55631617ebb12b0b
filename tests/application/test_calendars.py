"""A project's calendars: what may be kept, which days they have, who may take them away."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import pytest

from scheduler_application.actor import Actor
from scheduler_application.errors import Conflict, NotFound, Rejected
from scheduler_application.json_values import json_text, json_value
from scheduler_application.paging import PageRequest
from scheduler_application.ports.reading import CalendarView
from scheduler_application.schedule.calendar_definition import MAX_DAYS
from scheduler_application.schedule.calendars import (
    CalendarCommand,
    CalendarDaysCommand,
    SaveCalendarCommand,
)
from scheduler_application.workflow.authoring import WorkflowCommand
from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.ids import ProjectId
from tests.support.flows import flow
from tests.support.world import ACTOR, World

XMAS: dict[str, Any] = {"kind": "dates", "dates": ["12-24/12-26"]}
GERMANY: dict[str, Any] = {"kind": "holidays", "country": "DE"}
OFFICE: dict[str, Any] = {"kind": "business_days", "weekdays": "MON-FRI", "except": ["closed", "holidays-de"]}
ICS = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
BEGIN:VEVENT
UID:1
SUMMARY:Fair
DTSTART;VALUE=DATE:20260601
RRULE:FREQ=YEARLY
END:VEVENT
END:VCALENDAR
"""


async def save(world: World, name: str, definition: dict[str, Any], *, new: bool = False) -> CalendarView:
    return await world.save_calendar.execute(SaveCalendarCommand(name, definition, must_be_new=new), ACTOR)


async def days(world: World, name: str, first: str, last: str) -> list[str]:
    command = CalendarDaysCommand(name, date.fromisoformat(first), date.fromisoformat(last))
    found = await world.show_calendar_days.execute(command, ACTOR)
    return [f"{day.day:%m-%d} {day.name}".strip() for day in found.items]


async def problems(world: World, definition: Any, name: str = "some") -> list[Problem]:
    with pytest.raises(InvalidDefinition) as refused:
        await save(world, name, definition)
    assert await world.rows("select id from calendars where name = $1", name) == []
    return list(refused.value.problems)


async def test_each_kind_has_its_days(world: World) -> None:
    await save(world, "closed", XMAS)
    await save(world, "germany", GERMANY)
    await save(world, "office", OFFICE)
    await save(world, "fairs", {"kind": "ics", "content": ICS, "timezone": "Europe/Berlin"})
    week = ("2026-12-23", "2026-12-31")
    assert await days(world, "closed", *week) == ["12-24", "12-25", "12-26"]
    assert await days(world, "germany", *week) == ["12-25 Erster Weihnachtstag", "12-26 Zweiter Weihnachtstag"]
    assert await days(world, "office", *week) == ["12-23", "12-28", "12-29", "12-30", "12-31"]
    assert await days(world, "fairs", "2026-01-01", "2028-01-01") == ["06-01 Fair", "06-01 Fair"]


async def test_built_in_names_need_no_making_and_a_calendar_of_the_project_wins_over_them(world: World) -> None:
    week = ("2026-12-24", "2026-12-31")
    german = await days(world, "holidays-de", *week)
    assert german == ["12-25 Erster Weihnachtstag", "12-26 Zweiter Weihnachtstag"]
    assert (await world.show_calendar.execute(CalendarCommand("holidays-us-ca"), ACTOR)) == CalendarView(
        "holidays-us-ca", "holidays", {"kind": "holidays", "country": "US", "subdivision": "CA"}, built_in=True
    )
    await save(world, "holidays-de", {"kind": "dates", "dates": ["2026-12-31"]})
    assert await days(world, "holidays-de", *week) == ["12-31"]
    assert not (await world.show_calendar.execute(CalendarCommand("holidays-de"), ACTOR)).built_in
    await world.delete_calendar.execute(CalendarCommand("holidays-de"), ACTOR)
    assert await days(world, "holidays-de", *week) == german


async def test_replacing_a_calendar_changes_its_days_at_once_and_keeps_its_identity(world: World) -> None:
    made = await save(world, "closed", XMAS, new=True)
    world.clock.advance(60)
    await save(world, "closed", {"kind": "dates", "dates": ["2026-12-31"]})
    assert await days(world, "closed", "2026-12-01", "2026-12-31") == ["12-31"]
    (view,) = (await world.reader.calendars(ACTOR.project, PageRequest())).items
    assert (view.version, view.definition) == (made.version + 1, {"kind": "dates", "dates": ["2026-12-31"]})
    assert (view.created_at, view.updated_at) == (made.created_at, world.clock.now())
    with pytest.raises(Conflict) as refused:
        await save(world, "closed", XMAS, new=True)
    assert refused.value.code == "already_exists"


async def test_a_calendar_that_becomes_another_kind_keeps_nothing_of_the_old_one(world: World) -> None:
    await save(world, "closed", {"kind": "ics", "content": ICS})
    view = await save(world, "closed", XMAS)
    assert (view.kind, view.days_first, view.refresh_at) == ("dates", None, None)
    assert await days(world, "closed", "2026-06-01", "2026-12-31") == ["12-24", "12-25", "12-26"]


async def test_a_project_does_not_see_the_calendars_of_another(world: World) -> None:
    await save(world, "closed", XMAS)
    stranger = Actor("key:stranger", ProjectId(world.ids.new()))
    assert (await world.reader.calendars(stranger.project, PageRequest())).items == []
    for attempt in (
        world.show_calendar.execute(CalendarCommand("closed"), stranger),
        world.show_calendar_days.execute(CalendarDaysCommand("closed"), stranger),
        world.delete_calendar.execute(CalendarCommand("closed"), stranger),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert len((await world.reader.calendars(ACTOR.project, PageRequest())).items) == 1


@pytest.mark.parametrize(
    ("definition", "loc", "code", "says"),
    [
        ({"kind": "dates", "dates": ["2026-02-30"]}, ("dates", 0), "invalid_date", "2026-02-30"),
        ({"kind": "dates", "dates": ["12-24", 1]}, ("dates", 1), "string_expected", "number 1"),
        ({"kind": "dates", "dates": []}, ("dates",), "too_many_items", "1 to 10000"),
        ({"kind": "dates", "dates": ["12-24"] * 10_001}, ("dates",), "too_many_items", "10001"),
        ({"kind": "dates", "dates": ["1970-01-01/2199-12-31"]}, ("dates",), "too_many_items", "10000"),
        ({"kind": "dates"}, (), "missing_key", "'dates'"),
        ({"kind": "dates", "dates": ["12-24"], "country": "DE"}, ("country",), "unknown_key", "country"),
        ({"kind": "date", "dates": ["12-24"]}, ("kind",), "invalid_choice", "did you mean 'dates'"),
        ({"dates": ["12-24"]}, (), "missing_key", "'kind'"),
        (["12-24"], (), "object_expected", "a list"),
        ({"kind": "holidays", "country": "XX"}, ("country",), "unknown_country", "'XX'"),
        ({"kind": "holidays", "country": "Germany"}, ("country",), "unknown_country", "two-letter"),
        ({"kind": "holidays", "country": 49}, ("country",), "string_expected", "such as DE"),
        ({"kind": "holidays", "country": "DE", "subdivision": "XX"}, ("subdivision",), "unknown_subdivision", "BY"),
        ({"kind": "holidays", "country": "DE", "categories": ["x"]}, ("categories", 0), "invalid_choice", "public"),
        ({"kind": "holidays", "country": "DE", "categories": []}, ("categories",), "too_many_items", "0"),
        ({"kind": "business_days", "weekdays": "MON-FRY"}, ("weekdays",), "invalid_weekdays", "MON-FRI"),
        ({"kind": "business_days", "except": ["nowhere"]}, ("except", 0), "unknown_calendar", "nowhere"),
        ({"kind": "business_days", "except": ["Not A Name"]}, ("except", 0), "invalid_name", "Not A Name"),
        ({"kind": "ics"}, (), "exactly_one_of", "url"),
        ({"kind": "ics", "content": ICS, "timezone": "Mars"}, ("timezone",), "unknown_timezone", "Mars"),
        ({"kind": "ics", "content": "hello"}, ("content",), "invalid_ics", "iCalendar"),
        ({"kind": "ics", "content": ICS, "refresh": "1h"}, ("refresh",), "unknown_key", "refresh"),
        ({"kind": "ics", "url": "ftp://example.com/x.ics"}, ("url",), "unsupported_scheme", "http"),
        ({"kind": "ics", "url": "https://u:p@example.com/x.ics"}, ("url",), "invalid_url", "password"),
        (
            {"kind": "ics", "url": "http://example.com/", "refresh": "1s"},
            ("refresh",),
            "duration_out_of_range",
            "15m",
        ),
    ],
)
async def test_what_is_wrong_is_refused_with_its_place_and_what_is_accepted(
    world: World, definition: Any, loc: tuple[str | int, ...], code: str, says: str
) -> None:
    (problem,) = await problems(world, definition)
    assert (problem.loc, problem.code) == (loc, code)
    assert says in problem.message


async def test_everything_that_is_wrong_is_said_at_once(world: World) -> None:
    found = await problems(world, {"kind": "dates", "dates": ["02-30", "12-24", "x"], "more": 1})
    assert [problem.loc for problem in found] == [("more",), ("dates", 0), ("dates", 2)]


async def test_ten_thousand_days_are_taken(world: World) -> None:
    first = date(2000, 1, 1).toordinal()
    listed = [date.fromordinal(first + 7 * number).isoformat() for number in range(MAX_DAYS)]
    await save(world, "many", {"kind": "dates", "dates": listed})
    assert len(await days(world, "many", "2026-01-01", "2026-12-31")) == 52


async def test_a_name_is_a_name(world: World) -> None:
    for name in ("", "Closed", "a b", "-x", "x" * 101, "ü"):
        (problem,) = await problems(world, XMAS, name)
        assert (problem.loc, problem.code) == (("name",), "invalid_name")


async def test_a_range_of_days_to_show_is_bounded(world: World) -> None:
    for first, last in ((date(2026, 2, 1), date(2026, 1, 31)), (date(2000, 1, 1), date(2026, 1, 1))):
        with pytest.raises(Rejected) as refused:
            await world.show_calendar_days.execute(CalendarDaysCommand("weekends", first, last), ACTOR)
        assert refused.value.code == "invalid_window"
    shown = await world.show_calendar_days.execute(CalendarDaysCommand("weekends"), ACTOR)
    assert (shown.first, shown.last) == (date(2026, 11, 2), date(2027, 11, 2))
    with pytest.raises(NotFound) as unknown:
        await world.show_calendar_days.execute(CalendarDaysCommand("holidays-zz"), ACTOR)
    assert unknown.value.code == "unknown_calendar"


# Calendars made from calendars ---------------------------------------------------------------------------------------


def made_from(*names: str) -> dict[str, Any]:
    return {"kind": "business_days", "weekdays": "MON-SUN", "except": list(names)}


async def test_a_calendar_is_not_made_from_itself(world: World) -> None:
    await save(world, "a", XMAS)
    await save(world, "b", made_from("a"))
    await save(world, "c", made_from("b"))
    with pytest.raises(InvalidDefinition) as refused:
        await save(world, "a", made_from("c"))
    (problem,) = refused.value.problems
    assert problem.code == "cycle"
    assert "a → c → b → a" in problem.message
    with pytest.raises(InvalidDefinition):
        await save(world, "b", made_from("b"))
    assert await days(world, "c", "2026-12-23", "2026-12-27") == ["12-24", "12-25", "12-26"]


async def test_calendars_are_made_from_others_three_deep_and_no_deeper(world: World) -> None:
    await save(world, "a0", XMAS)
    for depth in (1, 2, 3):
        await save(world, f"a{depth}", made_from(f"a{depth - 1}"))
    assert await days(world, "a3", "2026-12-23", "2026-12-27") == ["12-23", "12-27"]
    with pytest.raises(InvalidDefinition) as refused:
        await save(world, "a4", made_from("a3"))
    assert refused.value.problems[0].code == "nested_too_deep"
    # Deeper from below counts as well.
    with pytest.raises(InvalidDefinition) as refused:
        await save(world, "a0", made_from("weekends"))
    assert refused.value.problems[0].code == "nested_too_deep"


async def test_a_cycle_that_two_people_made_at_once_hurts_nobody_else(world: World) -> None:
    await save(world, "a", XMAS)
    await save(world, "b", made_from("a"))
    cycle = '{"kind":"business_days","except":["b"]}'
    await world.write(
        "update calendars set kind = 'business_days', definition = $1, version = 9 where name = 'a'", cycle
    )
    with pytest.raises(Rejected) as refused:
        await days(world, "b", "2026-12-23", "2026-12-27")
    assert refused.value.code == "nested_too_deep"


# Who uses a calendar --------------------------------------------------------------------------------------------------


async def test_a_calendar_that_another_one_names_is_not_deleted(world: World) -> None:
    await save(world, "closed", XMAS)
    await save(world, "office", OFFICE)
    with pytest.raises(Conflict) as refused:
        await world.delete_calendar.execute(CalendarCommand("closed"), ACTOR)
    assert refused.value.code == "in_use"
    assert "calendar office" in str(refused.value)
    await world.delete_calendar.execute(CalendarCommand("office"), ACTOR)
    await world.delete_calendar.execute(CalendarCommand("closed"), ACTOR)
    with pytest.raises(NotFound):
        await world.delete_calendar.execute(CalendarCommand("closed"), ACTOR)


@pytest.mark.parametrize("rule", ["skip", "only"])
async def test_a_calendar_that_a_live_trigger_names_is_not_deleted(world: World, rule: str) -> None:
    await save(world, "closed", XMAS)
    await save(world, "other", XMAS)
    deployed = await world.deploy(flow(name="nightly", triggers=[{"manual": {}}, {"every": "1h"}]))
    (row,) = await world.rows("select content from versions")
    content = json_value(row["content"])
    content["triggers"][1]["calendar"] = {rule: "closed"}
    await world.write("update versions set content = $1", json_text(content))
    with pytest.raises(Conflict) as refused:
        await world.delete_calendar.execute(CalendarCommand("closed"), ACTOR)
    assert "trigger 2 of workflow nightly" in str(refused.value)
    await world.delete_calendar.execute(CalendarCommand("other"), ACTOR)
    await world.undeploy_workflow.execute(WorkflowCommand(deployed.workflow), ACTOR)
    await world.delete_calendar.execute(CalendarCommand("closed"), ACTOR)


async def test_saving_the_same_new_calendar_at_once_makes_one(world: World) -> None:
    results = await asyncio.gather(*(save(world, "closed", XMAS, new=True) for _ in range(5)), return_exceptions=True)
    assert [isinstance(result, CalendarView) for result in results].count(True) == 1
    assert {result.code for result in results if isinstance(result, Conflict)} == {"already_exists"}
    assert len(await world.rows("select id from calendars")) == 1


async def test_a_file_is_read_again_when_a_new_year_moves_its_window(world: World) -> None:
    view = await save(world, "fairs", {"kind": "ics", "content": ICS})
    assert (view.days_first, view.days_last) == (date(2024, 1, 1), date(2036, 12, 31))
    assert view.refresh_at == datetime(2027, 1, 2, tzinfo=UTC)
    assert view.definition == {"kind": "ics"}
    term = await world.lead()
    assert await world.refresh_due_calendars.execute(term) == 0
    world.clock.advance(80 * 86_400)
    assert await world.refresh_due_calendars.execute(await world.lead()) == 1
    (again,) = (await world.reader.calendars(ACTOR.project, PageRequest())).items
    assert (again.days_last, again.version) == (date(2037, 12, 31), view.version + 1)
    assert await days(world, "fairs", "2037-01-01", "2037-12-31") == ["06-01 Fair"]
    assert await world.refresh_due_calendars.execute(await world.lead()) == 0

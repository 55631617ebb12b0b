"""Calendars: days that a project keeps, and those that exist by their names."""

from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer, nothing
from scheduler_api.bodies import media_type, read_body, read_json_object, refuse_body
from scheduler_api.dependencies import CurrentActor, Reading, use
from scheduler_api.errors import refused
from scheduler_api.parsing import DOCUMENT_LIMITS
from scheduler_api.query import CURSOR, LIMIT, Query, day, page_of, text
from scheduler_api.routing import API_PREFIX, guarded_router
from scheduler_application.paging import Page
from scheduler_application.ports.reading import CalendarView
from scheduler_application.schedule.calendar_texts import RefreshCalendar, RefreshCalendarCommand
from scheduler_application.schedule.calendars import (
    CalendarCommand,
    CalendarDays,
    CalendarDaysCommand,
    DeleteCalendar,
    SaveCalendar,
    SaveCalendarCommand,
    ShowCalendar,
    ShowCalendarDays,
)
from scheduler_domain.errors import Problem

CALENDAR_TYPE = "text/calendar"

router = guarded_router("calendars")

_PAGE = Query(LIMIT, CURSOR)
_DAYS = Query(
    day("from", "the first day; today where it is not given"),
    day("to", "the last day; a year after the first where it is not given"),
)
_IMPORT = Query(text("timezone", "with text/calendar: whose days its instants have; UTC where it is not given"))
_DEFINITION = {"application/json": {"schema": {"type": "object"}}}
_NEW = {"requestBody": {"required": True, "content": _DEFINITION}}
_REPLACE = {
    "requestBody": {"required": True, "content": {**_DEFINITION, CALENDAR_TYPE: {"schema": {"type": "string"}}}}
}


@router.get("/calendars", response_model=Page[CalendarView], openapi_extra=_PAGE.openapi)
async def list_calendars(request: Request, actor: CurrentActor, reader: Reading) -> Response:
    """The project's own calendars, by name; built-in ones need no list."""
    return answer(await reader.calendars(actor.project, page_of(_PAGE.read(request))))


@router.post("/calendars", response_model=CalendarView, status_code=201, openapi_extra=_NEW)
async def create_calendar(
    request: Request, actor: CurrentActor, save: Annotated[SaveCalendar, use(lambda c: c.save_calendar)]
) -> Response:
    """Makes a calendar; the body is its definition with its ``name``."""
    definition = await read_json_object(request, limits=DOCUMENT_LIMITS)
    name = definition.pop("name", None)
    if not isinstance(name, str):
        raise refused([Problem(("body", "name"), "invalid_name", "name: the calendar's name is required, as text")])
    view = await save.execute(SaveCalendarCommand(name, definition, must_be_new=True), actor)
    return answer(view, 201, {"Location": f"{API_PREFIX}/calendars/{view.name}"})


@router.get("/calendars/{calendar}", response_model=CalendarView)
async def show_calendar(
    calendar: str, actor: CurrentActor, show: Annotated[ShowCalendar, use(lambda c: c.show_calendar)]
) -> Response:
    """A calendar of the project, or the built-in one of that name."""
    return answer(await show.execute(CalendarCommand(calendar), actor))


@router.put("/calendars/{calendar}", response_model=CalendarView, openapi_extra={**_IMPORT.openapi, **_REPLACE})
async def replace_calendar(
    calendar: str, request: Request, actor: CurrentActor, save: Annotated[SaveCalendar, use(lambda c: c.save_calendar)]
) -> Response:
    """Makes or replaces a calendar, from a definition or from an iCalendar file as it is."""
    timezone = _IMPORT.read(request)["timezone"]
    if media_type(request) == CALENDAR_TYPE:
        definition = {"kind": "ics", "content": _decoded(await read_body(request)), "timezone": timezone or "UTC"}
    elif timezone is not None:
        message = f"timezone: only together with Content-Type: {CALENDAR_TYPE}; else it is part of the definition"
        raise refused([Problem(("query", "timezone"), "unknown_parameter", message)])
    else:
        definition = await read_json_object(request, limits=DOCUMENT_LIMITS)
    return answer(await save.execute(SaveCalendarCommand(calendar, definition), actor))


@router.delete("/calendars/{calendar}", status_code=204)
async def delete_calendar(
    calendar: str,
    request: Request,
    actor: CurrentActor,
    delete: Annotated[DeleteCalendar, use(lambda c: c.delete_calendar)],
) -> Response:
    """Takes a calendar away; 409 while a live trigger or another calendar names it."""
    await refuse_body(request)
    await delete.execute(CalendarCommand(calendar), actor)
    return nothing()


@router.get("/calendars/{calendar}/days", response_model=CalendarDays, openapi_extra=_DAYS.openapi)
async def show_calendar_days(
    calendar: str,
    request: Request,
    actor: CurrentActor,
    show: Annotated[ShowCalendarDays, use(lambda c: c.show_calendar_days)],
) -> Response:
    """The days of a calendar, built-in ones too, in a range of at most ten years."""
    values = _DAYS.read(request)
    return answer(await show.execute(CalendarDaysCommand(calendar, values["from"], values["to"]), actor))


@router.post("/calendars/{calendar}/refresh", response_model=CalendarView)
async def refresh_calendar(
    calendar: str,
    request: Request,
    actor: CurrentActor,
    refresh: Annotated[RefreshCalendar, use(lambda c: c.refresh_calendar)],
) -> Response:
    """Fetches a subscribed calendar now; ``error`` says what failed, and then the last good days stay."""
    await refuse_body(request)
    return answer(await refresh.execute(RefreshCalendarCommand(calendar), actor))


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise refused([Problem(("body",), "invalid_unicode", "the calendar is not UTF-8 text")]) from None

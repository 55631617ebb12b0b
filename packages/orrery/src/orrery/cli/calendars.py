"""Calendars: list, show, set, import, subscribe, refresh, delete."""

import re
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from orrery import operations
from orrery.cli.documents import MAX_BYTES
from orrery.cli.failures import FAILED, OK, CommandFailed, UsageError
from orrery.cli.output import moment
from orrery.cli.problems import problem_lines
from orrery.cli.session import Flag, Here
from orrery.errors import Invalid
from orrery.models import Calendar
from orrery.operations import Call

_NOT_OF_A_NAME = re.compile(r"[^a-z0-9._-]+")

Name = Annotated[str | None, Parameter(name="--name")]
Several = Annotated[list[str] | None, Parameter(negative=(), consume_multiple=False)]


async def list_calendars(*, limit: int = 50, cursor: str | None = None, json: Flag = False, session: Here) -> None:
    """Lists the project's own calendars. Others need no making: holidays-de, business-days-us-ca, weekends, …

    Parameters
    ----------
    limit
        How many, from 1 to 200.
    cursor
        Goes on after the page before.
    json
        Print JSON.
    """
    async with session.client() as client:
        page = await client.list_calendars(limit, cursor)
    if json:
        return session.out.json(page)
    rows = [
        (item["name"], item["kind"], moment(item["updated_at"]), moment(item["fetched_at"]), item["error"])
        for item in page["items"]
    ]
    columns = ("calendar", "kind", "changed", "fetched", "error")
    session.out.table(columns, rows, empty="no calendars of this project; holidays-de and the like need no making")
    session.tell_more(page["next_cursor"])


async def show(
    name: str,
    /,
    *,
    first: Annotated[str | None, Parameter(name="--from")] = None,
    last: Annotated[str | None, Parameter(name="--to")] = None,
    json: Flag = False,
    session: Here,
) -> None:
    """Shows a calendar, also a built-in one, and its days.

    Parameters
    ----------
    name
        Name of the calendar, e.g. holidays-de.
    first
        The first day, e.g. 2026-12-01; today where none is given.
    last
        The last day; a year later where none is given.
    json
        Print JSON.
    """
    async with session.client() as client:
        calendar = await client.get_calendar(name)
        days = await client.list_calendar_days(name, first, last)
    if json:
        return session.out.json({**calendar, "days": days})
    _tell(calendar, session)
    session.out.line()
    rows = [(item["day"], item["name"]) for item in days["items"]]
    session.out.table(("day", "name"), rows, empty=f"no days from {days['first']} to {days['last']}")


async def set_calendar(
    name: str,
    /,
    *,
    day: Several = None,
    country: str | None = None,
    subdivision: str | None = None,
    category: Several = None,
    weekdays: str | None = None,
    except_: Annotated[list[str] | None, Parameter(name="--except", negative=(), consume_multiple=False)] = None,
    json: Flag = False,
    session: Here,
) -> int:
    """Makes or replaces a calendar: of days, of a country's holidays, or of business days.

    Parameters
    ----------
    name
        Name of the calendar.
    day
        A day or a range: 2026-12-24, 12-24 (every year), 2026-12-24/2027-01-01. May be given several times.
    country
        Two-letter code of a country whose holidays it has, e.g. DE.
    subdivision
        With --country: a part of it, e.g. BY.
    category
        With --country: a kind of its holidays, e.g. public or bank. May be given several times.
    weekdays
        Business days: the days of the week that are worked, e.g. MON-FRI.
    except_
        Business days: the name of a calendar whose days are not worked. May be given several times.
    json
        Print JSON.
    """
    given: dict[str, dict[str, Any]] = {
        "dates": {"dates": day},
        "holidays": {"country": country, "subdivision": subdivision, "categories": category},
        "business_days": {"weekdays": weekdays, "except": except_},
    }
    kinds = {kind: _given(members) for kind, members in given.items() if _given(members)}
    if len(kinds) != 1:
        raise UsageError("give exactly one of: --day …, --country CODE, --weekdays MON-FRI or --except CALENDAR")
    ((kind, members),) = kinds.items()
    return await _save(name, {"kind": kind, **members}, json, session)


async def import_calendar(
    file: Path, /, *, name: Name = None, timezone: str = "UTC", json: Flag = False, session: Here
) -> int:
    """Makes or replaces a calendar from an iCalendar file (.ics).

    Parameters
    ----------
    file
        The file.
    name
        Name of the calendar; that of the file where none is given.
    timezone
        Whose days instants in UTC have, e.g. Europe/Berlin. Events with a zone of their own keep it.
    json
        Print JSON.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise CommandFailed(f"{file} is larger than {MAX_BYTES} bytes")
    named = name or _NOT_OF_A_NAME.sub("-", file.stem.lower()).strip("._-")
    return await _send(str(file), operations.import_calendar(named, content, timezone), json, session)


async def subscribe(
    url: str,
    /,
    *,
    name: Annotated[str, Parameter(name="--name")],
    refresh: str = "6h",
    timezone: str = "UTC",
    json: Flag = False,
    session: Here,
) -> int:
    """Makes or replaces a calendar that is fetched from an address, now and then again and again.

    Parameters
    ----------
    url
        Address of an iCalendar text: https://…, http://… or webcal://….
    name
        Name of the calendar.
    refresh
        How often it is fetched, from 15m to 30d.
    timezone
        Whose days instants in UTC have, e.g. Europe/Berlin. Events with a zone of their own keep it.
    json
        Print JSON.
    """
    return await _save(name, {"kind": "ics", "url": url, "refresh": refresh, "timezone": timezone}, json, session)


async def refresh(name: str, /, *, json: Flag = False, session: Here) -> int:
    """Fetches a subscribed calendar now. Where that fails, its last good days stay.

    Parameters
    ----------
    name
        Name of the calendar.
    json
        Print JSON.
    """
    async with session.client() as client:
        calendar = await client.refresh_calendar(name)
    if json:
        session.out.json(calendar)
    if calendar["error"]:
        raise CommandFailed(f"{name}: {calendar['error']}; the days fetched {moment(calendar['fetched_at'])} stay")
    if not json:
        session.out.line(f"{name}: fetched {moment(calendar['fetched_at'])}, version {calendar['version']}")
    return OK


async def delete(name: str, /, *, session: Here) -> None:
    """Takes a calendar away that no live trigger and no other calendar names.

    Parameters
    ----------
    name
        Name of the calendar.
    """
    async with session.client() as client:
        await client.delete_calendar(name)
    session.out.line(f"{name}: deleted")


async def _save(name: str, definition: dict[str, Any], json: bool, session: Here) -> int:
    return await _send(name, operations.save_calendar(name, definition), json, session)


async def _send(label: str, call: Call[Calendar], json: bool, session: Here) -> int:
    async with session.client() as client:
        try:
            calendar = await client.send(call)
        except Invalid as error:
            if not error.problems:
                raise
            for line in problem_lines(label, error.problems):
                session.err.line(line)
            return FAILED
    if json:
        session.out.json(calendar)
    else:
        _tell(calendar, session)
    return OK


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in members.items() if value}


def _tell(calendar: Calendar, session: Here) -> None:
    definition = {key: value for key, value in calendar["definition"].items() if key != "kind"}
    known = f"{calendar['days_first']} to {calendar['days_last']}" if calendar["days_first"] else None
    session.out.record(
        [
            ("calendar", calendar["name"]),
            ("kind", calendar["kind"] + (" (built in)" if calendar["built_in"] else "")),
            *definition.items(),
            ("days known", known),
            ("version", None if calendar["built_in"] else calendar["version"]),
            ("changed", moment(calendar["updated_at"])),
            ("fetched", moment(calendar["fetched_at"])),
            ("error", calendar["error"]),
        ]
    )

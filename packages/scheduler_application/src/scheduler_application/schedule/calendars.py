"""The calendars of a project: kept, shown, deleted."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.errors import Conflict, NotFound, Rejected
from scheduler_application.json_values import json_text, json_value
from scheduler_application.ports.calendars import CalendarFeeds, HolidaySource
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.reading import CalendarView, Reader
from scheduler_application.ports.time import Clock, Ids
from scheduler_application.schedule.builtin_calendars import builtin_definition
from scheduler_application.schedule.calendar_book import CalendarBook
from scheduler_application.schedule.calendar_definition import (
    MAX_DEPTH,
    Dates,
    Definition,
    Events,
    Holidays,
    WorkingWeek,
    plain,
    read_definition,
)
from scheduler_application.schedule.calendar_texts import CalendarTexts
from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.naming import NAME, NAME_RULE, nearest, shown

MAX_CALENDARS = 1_000
"""Of one project."""

MAX_SHOWN_DAYS = 3_660
SHOWN_BY_DEFAULT = timedelta(days=365)

_KINDS: Mapping[type[Any], str] = {
    Dates: "dates",
    Holidays: "holidays",
    WorkingWeek: "business_days",
    Events: "ics",
}


@dataclass(frozen=True, slots=True)
class CalendarCommand:
    name: str


@dataclass(frozen=True, slots=True)
class SaveCalendarCommand:
    """``definition`` as in `calendar_definition`; ``must_be_new`` refuses to replace a calendar."""

    name: str
    definition: dict[str, Any]
    must_be_new: bool = False


@dataclass(frozen=True, slots=True)
class CalendarDaysCommand:
    """From ``first`` (today where it is absent) to ``last`` (a year later), both included; at most `MAX_SHOWN_DAYS`."""

    name: str
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """``name`` is empty where nobody gave the day one."""

    day: date
    name: str


@dataclass(frozen=True, slots=True)
class CalendarDays:
    calendar: str
    first: date
    last: date
    items: list[CalendarDay]


class SaveCalendar:
    """Makes or replaces a calendar. A subscribed one is fetched at once, so that none is ever without its days: what
    cannot be fetched or read is not kept."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        clock: Clock,
        ids: Ids,
        holidays: HolidaySource,
        feeds: CalendarFeeds,
        texts: CalendarTexts,
    ) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._ids = ids
        self._holidays = holidays
        self._feeds = feeds
        self._texts = texts

    async def execute(self, command: SaveCalendarCommand, actor: Actor) -> CalendarView:
        """Raises `InvalidDefinition` with every problem, `Conflict` (``already_exists``, ``too_many_calendars``), and
        `Rejected` for a text that cannot be fetched."""
        _check_name(command.name)
        definition = await asyncio.to_thread(read_definition, command.definition, self._holidays, self._feeds)
        now = self._clock.now()
        values: dict[str, Any] = {
            "kind": _KINDS[type(definition)],
            "definition": json_text(plain(command.definition)),
            "updated_at": now,
            **dict.fromkeys(("source", "days", "days_first", "days_last", "etag", "last_modified")),
            **dict.fromkeys(("fetched_at", "refresh_at", "error")),
        }
        if isinstance(definition, Events):
            values |= await self._texts.first(definition, now)
        calendar_id = self._ids.new()
        await self._store.transact(lambda tx: self._save(tx, command, definition, values, calendar_id, actor))
        return await self._seen(command.name, actor)

    async def _save(
        self,
        tx: Transaction,
        command: SaveCalendarCommand,
        definition: Definition,
        values: dict[str, Any],
        calendar_id: str,
        actor: Actor,
    ) -> None:
        known = await tx.calendars.find(actor.project, command.name, lock=True)
        if known is None:
            identity = {"id": calendar_id, "project_id": actor.project, "name": command.name, "version": 1}
            others = await tx.calendars.definitions(actor.project)
            if len(others) >= MAX_CALENDARS:
                raise Conflict(f"a project has at most {MAX_CALENDARS} calendars", code="too_many_calendars")
            await self._check_parts(tx, command.name, definition, actor)
            if await tx.calendars.insert({**identity, **values, "created_at": values["updated_at"]}):
                return
            # Somebody else made it between the two statements.
            known = await kept(tx, command.name, actor, lock=True)
        # It is its own where an earlier try was committed and its answer lost.
        if command.must_be_new and known["id"] != calendar_id:
            raise Conflict(f"there is a calendar '{command.name}' already", code="already_exists")
        await self._check_parts(tx, command.name, definition, actor)
        await tx.calendars.update(known["id"], {**values, "version": known["version"] + 1})

    async def _check_parts(self, tx: Transaction, name: str, definition: Definition, actor: Actor) -> None:
        """Refuses names of calendars that do not exist, and what would be made from itself or too deep."""
        stored = await tx.calendars.definitions(actor.project)
        parts = {other: _except(json_value(text)) for other, text in stored.items()}
        parts[name] = definition.closed if isinstance(definition, WorkingWeek) else ()
        problems = []
        for place, part in enumerate(parts[name]):
            if part not in parts and await asyncio.to_thread(builtin_definition, part, self._holidays) is None:
                message = f"there is no calendar '{shown(part)}'{nearest(part, parts)}"
                problems.append(Problem(("except", place), "unknown_calendar", message))
        if not problems and (chain := _too_deep_chain(parts)):
            problems = [_too_deep(chain)]
        if problems:
            raise InvalidDefinition(problems)

    async def _seen(self, name: str, actor: Actor) -> CalendarView:
        view = await self._reader.calendar(actor.project, name)
        if view is None:
            raise unknown(name)
        return view


class ShowCalendar:
    """A calendar of the project, or a built-in one where the project has none of that name."""

    def __init__(self, reader: Reader, holidays: HolidaySource) -> None:
        self._reader = reader
        self._holidays = holidays

    async def execute(self, command: CalendarCommand, actor: Actor) -> CalendarView:
        """Raises `NotFound`."""
        view = await self._reader.calendar(actor.project, command.name)
        if view is not None:
            return view
        definition = await asyncio.to_thread(builtin_definition, command.name, self._holidays)
        if definition is None:
            raise unknown(command.name)
        return CalendarView(command.name, definition["kind"], definition, built_in=True)


class ShowCalendarDays:
    """The days of a calendar, built-in ones too, in a range."""

    def __init__(self, store: Store, book: CalendarBook, clock: Clock) -> None:
        self._store = store
        self._book = book
        self._clock = clock

    async def execute(self, command: CalendarDaysCommand, actor: Actor) -> CalendarDays:
        """Raises `NotFound`, and `Rejected` (``invalid_window``) for a range that is too long or ends before it
        begins."""
        first = command.first or self._clock.now().date()
        last = command.last or first + SHOWN_BY_DEFAULT
        if not first <= last <= first + timedelta(days=MAX_SHOWN_DAYS):
            message = f"the range must end after it begins and have at most {MAX_SHOWN_DAYS} days: {first} to {last}"
            raise Rejected(message, code="invalid_window")
        book = self._book
        calendar = await self._store.transact(lambda tx: book.calendar(tx, actor.project, command.name))
        # Each year of a country takes its library some milliseconds.
        days = await asyncio.to_thread(
            lambda: [CalendarDay(day, calendar.label(day)) for day in calendar.days(first, last)]
        )
        return CalendarDays(command.name, first, last, days)


class DeleteCalendar:
    """Deletes a calendar that no live trigger and no other calendar names."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def execute(self, command: CalendarCommand, actor: Actor) -> None:
        """Raises `NotFound`, and `Conflict` (``in_use``) with who names it."""

        async def delete(tx: Transaction) -> None:
            row = await kept(tx, command.name, actor, lock=True)
            users = await calendars_in_use(tx, actor.project, command.name)
            if users:
                more = f" and {len(users) - 3} more" if len(users) > 3 else ""
                message = f"the calendar '{command.name}' is in use: {', '.join(users[:3])}{more}"
                raise Conflict(message, code="in_use")
            await tx.calendars.delete(row["id"])

        await self._store.transact(delete)


async def calendars_in_use(tx: Transaction, project: str, name: str) -> list[str]:
    """Who names a calendar: triggers of live versions (``trigger 1 of nightly``) and calendars of the project."""
    users = []
    for workflow, content in await tx.workflows.live_documents(project, f'"{name}"'):
        try:
            numbers = [
                number
                for number, trigger in enumerate(json_value(content).get("triggers") or (), 1)
                if name in ((rule := trigger.get("calendar") or {}).get("skip"), rule.get("only"))
            ]
        except (ValueError, TypeError, AttributeError):
            # It has the calendar's name in it, and whether as a calendar's cannot be told any more.
            users.append(f"workflow {workflow}, whose live version cannot be read")
            continue
        users += [f"trigger {number} of workflow {workflow}" for number in numbers]
    definitions = await tx.calendars.definitions(project)
    users += [f"calendar {other}" for other, text in definitions.items() if name in _except(json_value(text))]
    return users


async def kept(tx: Transaction, name: str, actor: Actor, *, lock: bool = False) -> dict[str, Any]:
    """The row of one of the project's own calendars; raises `NotFound`."""
    row = await tx.calendars.find(actor.project, name, lock=lock)
    if row is None:
        raise unknown(name)
    return row


def unknown(name: str) -> NotFound:
    return NotFound(f"there is no calendar '{shown(name)}'")


def _check_name(name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise InvalidDefinition([Problem(("name",), "invalid_name", f"'{shown(name)}' is not a name: {NAME_RULE}")])


def _except(definition: Mapping[str, Any]) -> Sequence[str]:
    """What a stored definition names."""
    named: Sequence[str] = definition.get("except", ())
    return named


def _too_deep_chain(parts: Mapping[str, Sequence[str]]) -> list[str]:
    """A chain of calendars, each made from the next, that is longer than `MAX_DEPTH` allows; empty where there is
    none. A calendar that is made from itself begins an endless one."""
    names = parts.keys() | {part for made_from in parts.values() for part in made_from}
    levels: list[set[str]] = [set(names)]
    for _ in range(MAX_DEPTH + 1):
        levels.append({name for name, made_from in parts.items() if not levels[-1].isdisjoint(made_from)})
    if not levels.pop():
        return []
    chain = [min(name for name, made_from in parts.items() if not levels[-1].isdisjoint(made_from))]
    for level in reversed(levels):
        chain.append(next(part for part in parts[chain[-1]] if part in level))
    return chain


def _too_deep(chain: Sequence[str]) -> Problem:
    shown_chain = " → ".join(chain)
    if len(set(chain)) < len(chain):
        return Problem(("except",), "cycle", f"a calendar would be made from itself: {shown_chain}")
    message = f"calendars are made from others at most {MAX_DEPTH} deep: {shown_chain}"
    return Problem(("except",), "nested_too_deep", message)

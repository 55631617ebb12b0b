"""Calendars as firing asks them: by project and name, remembered per process as long as their rows stay as they are."""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial

from scheduler_application.errors import ApplicationError, NotFound, Rejected
from scheduler_application.json_values import json_value
from scheduler_application.ports.calendars import CalendarFeeds, HolidaySource
from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.rows import CalendarKey, CalendarRevision, CalendarRow
from scheduler_application.schedule.builtin_calendars import builtin_calendar
from scheduler_application.schedule.calendar_definition import (
    MAX_DEPTH,
    Dates,
    Holidays,
    WorkingWeek,
    days_in,
    days_of_text,
    read_definition,
)
from scheduler_domain.errors import DomainError, InvalidDefinition
from scheduler_domain.naming import shown
from scheduler_domain.schedule.calendar_days import BusinessDays, DayCalendar, ListedDays, YearlyDays

MAX_KNOWN = 10_000
"""How many calendars a process remembers; over that it forgets them and reads again."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A row of a certain revision, evaluated. A working week is put together from what it names when it is asked for;
    what cannot be read any more keeps its error."""

    revision: CalendarRevision
    days: DayCalendar | WorkingWeek | InvalidDefinition


class CalendarBook:
    """One per process. A call is one small query for all its names together, and reads in full only what has changed
    since; built-in names cost nothing more."""

    def __init__(self, holidays: HolidaySource, feeds: CalendarFeeds) -> None:
        self._holidays = holidays
        self._feeds = feeds
        self._known: dict[CalendarKey, _Known] = {}
        self._builtin: dict[str, DayCalendar] = {}

    async def calendar(self, tx: Transaction, project: str, name: str) -> DayCalendar:
        """Raises `NotFound` (``unknown_calendar``), `Rejected` (``nested_too_deep``), or `InvalidDefinition` where the
        calendar cannot be read any more (its country is gone, say)."""
        key = CalendarKey(project, name)
        await self._refresh(tx, [key])
        return self._put_together(key)

    async def calendars(self, tx: Transaction, keys: Collection[CalendarKey]) -> dict[CalendarKey, DayCalendar]:
        """Many at once. One that `calendar` would refuse is absent, so that it hinders nobody who names another."""
        await self._refresh(tx, keys)
        found: dict[CalendarKey, DayCalendar] = {}
        for key in keys:
            try:
                found[key] = self._put_together(key)
            except (ApplicationError, DomainError):
                continue
        return found

    async def _refresh(self, tx: Transaction, keys: Iterable[CalendarKey]) -> None:
        """Reads what has changed, of ``keys`` and of all that they are made from."""
        if len(self._known) + len(self._builtin) > MAX_KNOWN:
            self._known.clear()
            self._builtin.clear()
        asked: set[CalendarKey] = set()
        while wanted := self._with_parts(keys) - asked:
            asked |= wanted
            revisions = await tx.calendars.revisions(sorted(wanted))
            changed = [key for key in revisions if not self._is_current(key, revisions[key])]
            for key, row in (await tx.calendars.load(changed)).items() if changed else ():
                self._known[key] = await self._evaluated(row)
            for key in wanted - revisions.keys():
                self._known.pop(key, None)
                await self._prepare_builtin(key.name)

    def _is_current(self, key: CalendarKey, revision: CalendarRevision) -> bool:
        return key in self._known and self._known[key].revision == revision

    def _with_parts(self, keys: Iterable[CalendarKey]) -> set[CalendarKey]:
        """``keys`` and, as far as it is known, all that they are made from."""
        found: set[CalendarKey] = set()
        left = list(keys)
        while left:
            key = left.pop()
            if key in found:
                continue
            found.add(key)
            days = self._known[key].days if key in self._known else None
            if isinstance(days, WorkingWeek):
                left += [CalendarKey(key.project_id, name) for name in days.closed]
        return found

    async def _evaluated(self, row: CalendarRow) -> _Known:
        try:
            # The first look at a country imports a library, and thousands of dates take some milliseconds.
            return _Known(row.revision, await asyncio.to_thread(self._evaluate, row))
        except InvalidDefinition as error:
            return _Known(row.revision, error)

    def _evaluate(self, row: CalendarRow) -> DayCalendar | WorkingWeek:
        if row.days is not None:
            return ListedDays(days_of_text(row.days))
        definition = read_definition(json_value(row.definition), self._holidays, self._feeds)
        if isinstance(definition, Dates):
            return YearlyDays(partial(days_in, definition.spans))
        if isinstance(definition, Holidays):
            return YearlyDays(partial(self._holidays.holidays, definition.place))
        if isinstance(definition, WorkingWeek):
            return definition
        raise TypeError("an iCalendar text is stored with its days")

    async def _prepare_builtin(self, name: str) -> None:
        if name not in self._builtin:
            calendar = await asyncio.to_thread(builtin_calendar, name, self._holidays)
            if calendar is not None:
                self._builtin[name] = calendar

    def _put_together(self, key: CalendarKey, depth: int = 0) -> DayCalendar:
        if depth > MAX_DEPTH:
            message = f"a calendar is made from others more than {MAX_DEPTH} deep, or from itself: '{shown(key.name)}'"
            raise Rejected(message, code="nested_too_deep")
        known = self._known.get(key)
        if known is None:
            return self._builtin_named(key.name)
        if isinstance(known.days, InvalidDefinition):
            raise known.days
        if isinstance(known.days, WorkingWeek):
            parts = [CalendarKey(key.project_id, name) for name in known.days.closed]
            return BusinessDays(known.days.weekdays, [self._put_together(part, depth + 1) for part in parts])
        return known.days

    def _builtin_named(self, name: str) -> DayCalendar:
        if name not in self._builtin:
            raise NotFound(f"there is no calendar '{shown(name)}'", code="unknown_calendar")
        return self._builtin[name]

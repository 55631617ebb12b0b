"""iCalendar texts: fetched, turned into days, and read again: by the leader when it is time, by a person at once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.errors import ApplicationError, NotFound, Rejected
from scheduler_application.json_values import json_value
from scheduler_application.leading import Leadership
from scheduler_application.ports.calendars import CalendarFeeds, EventReader, FetchedText, Validators
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.reading import CalendarView, Reader
from scheduler_application.ports.time import Clock
from scheduler_application.schedule.calendar_definition import DEFAULT_REFRESH, Events, text_of_days
from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.naming import shown
from scheduler_domain.workflow.durations import parse_duration

TAKEN = timedelta(minutes=1)
"""How long a calendar is left to who reads it again: longer than a fetch and a reading may take."""

TRY_AGAIN = timedelta(minutes=15)
"""The longest pause after a failure."""

_MAX_ERROR = 500


@dataclass(frozen=True, slots=True)
class RefreshCalendarCommand:
    name: str


class CalendarTexts:
    """From an iCalendar text, given or fetched, to the columns of its calendar."""

    def __init__(self, feeds: CalendarFeeds, events: EventReader) -> None:
        self._feeds = feeds
        self._events = events

    async def first(self, definition: Events, now: datetime) -> dict[str, Any]:
        """The columns of a new text. Raises `InvalidDefinition` and `Rejected`."""
        if definition.url is None:
            content = (definition.content or "").encode(errors="replace")
            return {**await self._days(content, definition.timezone, now), "refresh_at": _new_year(now)}
        fetched = await self._feeds.fetch(definition.url, Validators())
        if fetched is None:
            raise Rejected("the calendar's address answered that nothing has changed", code="feed_status")
        values = {**await self._days(fetched.content, definition.timezone, now), **_validated(fetched, now)}
        return {**values, "refresh_at": now + timedelta(seconds=definition.refresh)}

    async def again(self, row: dict[str, Any], now: datetime) -> dict[str, Any]:
        """What reading a stored calendar again changes in its row. A failure changes only the error and when to try
        again: the last good days stay."""
        definition = json_value(row["definition"])
        every = timedelta(seconds=parse_duration(definition.get("refresh", DEFAULT_REFRESH)) or 0)
        try:
            values = await self._read_again(row, definition, now)
        except (InvalidDefinition, ApplicationError) as error:
            return _failure(str(error), now + min(every, TRY_AGAIN))
        refresh_at = now + every if "url" in definition else _new_year(now)
        return {"error": None, "refresh_at": refresh_at, **values}

    async def _read_again(self, row: dict[str, Any], definition: dict[str, Any], now: datetime) -> dict[str, Any]:
        zone = definition.get("timezone", "UTC")
        values: dict[str, Any] = {}
        if "url" in definition:
            fetched = await self._feeds.fetch(definition["url"], Validators(row["etag"], row["last_modified"]))
            values = {"fetched_at": now} if fetched is None else _validated(fetched, now)
            if fetched is not None and _text(fetched.content) != row["source"]:
                values |= await self._days(fetched.content, zone, now)
        first, last = self._events.window(now.date())
        if "days" not in values and (row["days_first"], row["days_last"]) != (first.isoformat(), last.isoformat()):
            values |= await self._days(row["source"].encode(), zone, now)
        return {**values, "version": row["version"] + 1} if "days" in values else values

    async def _days(self, content: bytes, zone: str, now: datetime) -> dict[str, Any]:
        found = await self._events.read(content, zone, now.date())
        return {
            "source": _text(content),
            "days": text_of_days(found.days),
            "days_first": found.first.isoformat(),
            "days_last": found.last.isoformat(),
        }


class RefreshCalendar:
    """Fetches a subscribed calendar now. What fails is in the calendar's ``error``, and its last good days stay."""

    def __init__(self, store: Store, reader: Reader, clock: Clock, texts: CalendarTexts) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._texts = texts

    async def execute(self, command: RefreshCalendarCommand, actor: Actor) -> CalendarView:
        """Raises `NotFound`, and `Rejected` (``not_subscribed``) for a calendar without an address."""
        row = await self._store.transact(lambda tx: tx.calendars.find(actor.project, command.name))
        if row is None:
            raise NotFound(f"the project has no calendar '{shown(command.name)}'")
        if "url" not in json_value(row["definition"]):
            raise Rejected(f"the calendar '{command.name}' has no address to fetch it from", code="not_subscribed")
        values = await self._texts.again(row, self._clock.now())
        await self._store.transact(lambda tx: tx.calendars.renew(row["id"], row["version"], values))
        view = await self._reader.calendar(actor.project, command.name)
        if view is None:
            raise NotFound(f"the project has no calendar '{shown(command.name)}'")
        return view


class RefreshDueCalendars:
    """Reads again the calendar that has waited longest, where one is due: a subscribed one from its address, any other
    when a new year moves the window of its days. For the leader."""

    def __init__(self, store: Store, clock: Clock, texts: CalendarTexts) -> None:
        self._store = store
        self._clock = clock
        self._texts = texts

    async def execute(self, leadership: Leadership) -> int:
        """How many were read, 0 or 1: one fetch and one reading is what a pass may last. Raises `LeadershipLost`,
        `Unavailable`."""
        now = self._clock.now()

        async def take(tx: Transaction) -> dict[str, Any] | None:
            await leadership.check(tx)
            return await tx.calendars.take_due(now, now + TAKEN)

        row = await self._store.transact(take)
        if row is None:
            return 0
        values = await self._texts.again(row, now)

        async def keep(tx: Transaction) -> None:
            await leadership.check(tx)
            await tx.calendars.renew(row["id"], row["version"], values)

        await self._store.transact(keep)
        return 1


def _validated(fetched: FetchedText, now: datetime) -> dict[str, Any]:
    validators = fetched.validators
    return {"etag": validators.etag, "last_modified": validators.last_modified, "fetched_at": now}


def _failure(error: str, try_at: datetime) -> dict[str, Any]:
    return {"error": error[:_MAX_ERROR], "refresh_at": try_at}


def _text(content: bytes) -> str:
    """As the store keeps it, which takes no NUL. What could be read is UTF-8."""
    return content.decode("utf-8-sig", "replace").replace("\0", "\ufffd")


def _new_year(now: datetime) -> datetime:
    """When the window of days moves on: a day after the year's end everywhere."""
    return datetime(now.year + 1, 1, 2, tzinfo=UTC)

"""The calendars of projects as triggers use them, and where their days come from: a library of holidays, iCalendar
texts, and servers that publish those."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

from scheduler_application.ports.persistence import Transaction
from scheduler_domain.schedule.calendar import Calendar


class Calendars(Protocol):
    """Calendars by name; those that come with Orrery are everybody's, others belong to a project."""

    async def calendar(self, tx: Transaction, project: str, name: str) -> Calendar:
        """Raises `NotFound`, and what says why a calendar cannot be read any more."""
        ...


class HolidayPlace(NamedTuple):
    """A country (ISO 3166-1, two capitals), perhaps a part of it, and the kinds of its holidays that count."""

    country: str
    subdivision: str | None = None
    categories: tuple[str, ...] = ("public",)


@dataclass(frozen=True, slots=True)
class Country:
    """What is known of a country: the codes of its parts and the categories of its holidays."""

    code: str
    subdivisions: Sequence[str]
    categories: Sequence[str]


class HolidaySource(Protocol):
    """Pure facts, without I/O; the first question in a process may take half a second, so ask it off the event loop."""

    def country(self, code: str) -> Country | None:
        """``code`` in any case; ``None`` for what is no country here."""
        ...

    def codes(self) -> Sequence[str]:
        """The codes of all countries."""
        ...

    def holidays(self, place: HolidayPlace, year: int) -> Mapping[date, str]:
        """The holidays of a year with their names in the country's own language; none for a year that is not known.
        ``place`` must be one that `country` knows."""
        ...

    def working_days(self, place: HolidayPlace, year: int) -> Mapping[date, str]:
        """Days (without labels) that are worked: not of the country's weekend, no holidays, and the days of a weekend
        that are worked in exchange."""
        ...


@dataclass(frozen=True, slots=True)
class EventDays:
    """The days of the events in an iCalendar text, with their summaries, from ``first`` to ``last``."""

    first: date
    last: date
    days: Mapping[date, str]


class EventReader(Protocol):
    def window(self, today: date) -> tuple[date, date]:
        """The first and the last day that `read` looks at: from two years back to ten years on, whole years."""
        ...

    async def read(self, content: bytes, timezone: str, today: date) -> EventDays:
        """The days in the window around ``today`` on which an event of ``content`` lasts.

        An event with a time zone of its own, or with none, has the days that it names; an instant in UTC has its day in
        ``timezone``. Raises `InvalidDefinition` (``invalid_ics``, ``too_complex``, ``too_many_items``). Bounded in time
        and memory, whatever ``content`` is.
        """
        ...


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server said about a text, to be sent back when it is asked whether the text has changed."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class FetchedText:
    content: bytes
    validators: Validators


class CalendarFeeds(Protocol):
    def check(self, url: str) -> None:
        """Raises `InvalidDefinition` for what is no address of a calendar."""
        ...

    async def fetch(self, url: str, known: Validators) -> FetchedText | None:
        """The text at ``url``; ``None`` where it is the one that ``known`` describes (never where that says nothing).

        Raises `Rejected`: ``address_not_allowed``, ``feed_unreachable``, ``feed_status``, ``feed_too_large``. Bounded
        in time and size.
        """
        ...

"""What a project's calendar is: read strictly from plain data, all that is wrong at once.

``{"kind": "dates", "dates": ["2026-12-24", "12-31"]}``
``{"kind": "holidays", "country": "DE", "subdivision": "BY", "categories": ["public"]}``
``{"kind": "business_days", "weekdays": "MON-FRI", "except": ["holidays-de"]}``
``{"kind": "ics", "url": "https://…", "refresh": "6h", "timezone": "Europe/Berlin"}``, or ``content`` instead of ``url``
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, TypeVar

from scheduler_application.json_values import json_text, json_value
from scheduler_application.ports.calendars import CalendarFeeds, Country, HolidayPlace, HolidaySource
from scheduler_application.workflow import fields
from scheduler_application.workflow.fields import Loc, Reading
from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.naming import NAME, NAME_RULE, nearest, shown
from scheduler_domain.schedule.calendar_dates import DATE_FORMS, WEEKDAY_FORMS, Span, parse_span, parse_weekdays
from scheduler_domain.schedule.zones import zone_named

T = TypeVar("T")

MAX_DAYS = 10_000
MAX_EXCEPT = 20
MAX_DEPTH = 3
"""How deep working weeks may be made from working weeks: with `MAX_EXCEPT` this bounds what one day costs."""
MAX_ICS_BYTES = 1024 * 1024
MAX_URL = 2_048
LEAST_REFRESH = 15 * 60
MOST_REFRESH = 30 * 86_400
DEFAULT_REFRESH = "6h"

_ROOT: Loc = ()


class CalendarKind(StrEnum):
    DATES = "dates"
    HOLIDAYS = "holidays"
    BUSINESS_DAYS = "business_days"
    ICS = "ics"


@dataclass(frozen=True, slots=True)
class Dates:
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Holidays:
    place: HolidayPlace


@dataclass(frozen=True, slots=True)
class WorkingWeek:
    """``closed`` names other calendars, the days of which are no business days."""

    weekdays: frozenset[int]
    closed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Events:
    """An iCalendar text: ``content`` as it was given, or what ``url`` has, asked for every ``refresh`` seconds."""

    timezone: str
    content: str | None = None
    url: str | None = None
    refresh: float = 0.0


Definition = Dates | Holidays | WorkingWeek | Events


def read_definition(value: Any, holidays: HolidaySource, feeds: CalendarFeeds) -> Definition:
    """Raises `InvalidDefinition` with every problem. The first call may take half a second: call it off the loop."""
    reading = Reading()
    definition = _read(reading, value, holidays, feeds)
    if reading.problems:
        raise InvalidDefinition(reading.problems)
    return definition


def _read(reading: Reading, value: Any, holidays: HolidaySource, feeds: CalendarFeeds) -> Definition:
    match _kind(reading, value):
        case CalendarKind.DATES:
            return _dates(reading, value)
        case CalendarKind.HOLIDAYS:
            return _holidays(reading, value, holidays)
        case CalendarKind.BUSINESS_DAYS:
            return _working_week(reading, value)
        case CalendarKind.ICS:
            return _events(reading, value, feeds)
        case None:
            return Dates(())


def _kind(reading: Reading, value: Any) -> CalendarKind | None:
    kinds = tuple(kind.value for kind in CalendarKind)
    if not isinstance(value, dict):
        fields.expect(reading, _ROOT, "object", value, "with kind")
        return None
    if "kind" not in value:
        reading.note(_ROOT, "missing_key", f"'kind' is missing (accepted: {', '.join(kinds)})")
        return None
    kind = CalendarKind(fields.choice(reading, value["kind"], ("kind",), kinds))
    return None if reading.problems else kind


def _dates(reading: Reading, value: Any) -> Dates:
    written = fields.mapping(reading, value, _ROOT, ("kind", "dates"), required=("dates",))
    listed = fields.sequence(reading, written.get("dates", [""]), ("dates",), f"such as {DATE_FORMS}", MAX_DAYS, 1)
    spans: list[Span] = []
    for place, text in enumerate(listed if "dates" in written else ()):
        if not isinstance(text, str):
            fields.expect(reading, ("dates", place), "string", text, f"such as {DATE_FORMS}")
        elif (span := _tried(reading, ("dates", place), parse_span, text)) is not None:
            spans.append(span)
    total = sum(span.size for span in spans)
    if total > MAX_DAYS:
        reading.note(("dates",), "too_many_items", f"has {total} days in all; at most {MAX_DAYS} are accepted")
    return Dates(tuple(spans))


def _holidays(reading: Reading, value: Any, source: HolidaySource) -> Holidays:
    accepted = ("kind", "country", "subdivision", "categories")
    written = fields.mapping(reading, value, _ROOT, accepted, required=("country",))
    code = fields.text(reading, written["country"], ("country",), "such as DE", most=50) if "country" in written else ""
    country = source.country(code) if code else None
    if country is None:
        if code:
            near = nearest(code.upper(), source.codes())
            message = f"no holidays are known of '{shown(code)}'{near}; accepted: a two-letter country code such as DE"
            reading.note(("country",), "unknown_country", message)
        return Holidays(HolidayPlace(""))
    place = HolidayPlace(country.code)
    if written.get("subdivision") is not None:
        place = place._replace(subdivision=_subdivision(reading, written["subdivision"], country))
    if "categories" in written:
        place = place._replace(categories=_categories(reading, written["categories"], country))
    return Holidays(place)


def _subdivision(reading: Reading, value: Any, country: Country) -> str | None:
    text = fields.text(reading, value, ("subdivision",), "such as BY", most=50)
    by_code = {code.casefold(): code for code in country.subdivisions}
    if text and text.casefold() not in by_code:
        accepted = f"accepted: {', '.join(country.subdivisions)}" if country.subdivisions else "none is accepted"
        message = f"{country.code} has no part '{shown(text)}'; {accepted}"
        reading.note(("subdivision",), "unknown_subdivision", message)
    return by_code.get(text.casefold())


def _categories(reading: Reading, value: Any, country: Country) -> tuple[str, ...]:
    listed = fields.sequence(reading, value, ("categories",), "of kinds of holidays", len(country.categories), 1)
    return tuple(
        fields.choice(reading, each, ("categories", place), country.categories) for place, each in enumerate(listed)
    )


def _working_week(reading: Reading, value: Any) -> WorkingWeek:
    written = fields.mapping(reading, value, _ROOT, ("kind", "weekdays", "except"))
    text = fields.text(reading, written.get("weekdays", "MON-FRI"), ("weekdays",), f"of {WEEKDAY_FORMS}", most=100)
    weekdays = _tried(reading, ("weekdays",), parse_weekdays, text) if text.strip() else None
    listed = fields.sequence(reading, written.get("except", []), ("except",), "of names of calendars", MAX_EXCEPT)
    closed = [fields.name(reading, each, ("except", place), NAME, NAME_RULE) for place, each in enumerate(listed)]
    return WorkingWeek(weekdays or frozenset(), tuple(closed))


def _events(reading: Reading, value: Any, feeds: CalendarFeeds) -> Events:
    accepted = ("kind", "url", "refresh", "timezone") if "url" in value else ("kind", "content", "timezone")
    written = fields.mapping(reading, value, _ROOT, accepted)
    if ("url" in value) == ("content" in value):
        reading.note(_ROOT, "exactly_one_of", "give exactly one of: url (to subscribe to), content (of an .ics file)")
    zone = fields.text(reading, written.get("timezone", "UTC"), ("timezone",), "such as Europe/Berlin", most=100)
    if zone:
        _tried(reading, ("timezone",), zone_named, zone)
    if "url" not in written:
        content = fields.text(reading, written.get("content", "-"), ("content",), "(an .ics file)", most=MAX_ICS_BYTES)
        if len(content.encode(errors="replace")) > MAX_ICS_BYTES:
            reading.note(("content",), "too_long", f"is larger than {MAX_ICS_BYTES} bytes")
        return Events(zone, content=content)
    url = fields.text(reading, written["url"], ("url",), "such as https://example.com/holidays.ics", most=MAX_URL)
    if url:
        _tried(reading, ("url",), feeds.check, url)
    given = written.get("refresh", DEFAULT_REFRESH)
    return Events(zone, url=url, refresh=fields.duration(reading, given, ("refresh",), LEAST_REFRESH, MOST_REFRESH))


def _tried(reading: Reading, loc: Loc, parse: Callable[[str], T], text: str) -> T | None:
    """What ``parse`` makes of ``text``; what it refuses is noted at ``loc``."""
    try:
        return parse(text)
    except InvalidDefinition as error:
        for problem in error.problems:
            reading.note(loc, problem.code, problem.message)
    return None


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """A definition as it is shown and stored: without the text of a file, which is stored beside it."""
    return {key: member for key, member in value.items() if key != "content"}


def days_in(spans: Iterable[Span], year: int) -> dict[date, str]:
    """The days of ``spans`` in a year, without labels."""
    return {day: "" for span in spans for day in span.in_year(year)}


def text_of_days(days: Mapping[date, str]) -> str:
    """Days with their labels, as the store keeps them."""
    return json_text({day.isoformat(): label for day, label in days.items()})


def days_of_text(text: str) -> dict[date, str]:
    return {date.fromisoformat(day): label for day, label in json_value(text).items()}

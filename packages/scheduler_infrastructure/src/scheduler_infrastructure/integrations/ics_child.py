"""Reads one iCalendar text from standard input and writes the days of its events as JSON to standard output.

A process of its own, because a text of a hundred bytes can ask for more time and memory than there is (a rule with
``INTERVAL=0`` never ends): its parent ends it, and it limits itself. Arguments: the calendar's time zone, the first and
the last day. Output: ``{"days": {"2026-12-25": "Christmas"}}`` or ``{"problem": [code, message]}``.
"""

import json
import resource
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Calendar
from recurring_ical_events import of

MAX_MEMORY = 256 * 1024 * 1024
"""Ten thousand events take 100 MB; a pod of a dispatcher has 384."""
MAX_CPU_SECONDS = 10
MAX_EVENTS = 10_000
MAX_OCCURRENCES = 100_000
MAX_LABEL = 100
MAX_SHOWN = 120

_DECISIVE = frozenset({"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID"})
"""Properties that decide on days. A fault in another one changes no day and is let pass."""


class _Refused(Exception):
    """``code`` and message of a problem."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def main(arguments: Sequence[str]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    zone, first, last = arguments
    try:
        days = days_of(sys.stdin.buffer.read(), ZoneInfo(zone), date.fromisoformat(first), date.fromisoformat(last))
        answer: dict[str, Any] = {"days": {day.isoformat(): label for day, label in sorted(days.items())}}
    except _Refused as error:
        answer = {"problem": [error.code, str(error)]}
    except MemoryError:
        answer = {"problem": ["too_complex", "needs more memory than a calendar may"]}
    json.dump(answer, sys.stdout)


def days_of(content: bytes, zone: ZoneInfo, first: date, last: date) -> dict[date, str]:
    found: dict[date, str] = {}
    for calendar in _calendars(content):
        for event in _occurrences(calendar, first, last):
            begin, end = _span(event, zone)
            label = " ".join(str(event.get("SUMMARY", "")).split())[:MAX_LABEL]
            for ordinal in range(max(begin, first).toordinal(), min(end, last).toordinal() + 1):
                day = date.fromordinal(ordinal)
                if not found.get(day):
                    found[day] = label
    return found


def _calendars(content: bytes) -> list[Any]:
    try:
        components = Calendar.from_ical(content.decode("utf-8-sig"), multiple=True)
    except UnicodeDecodeError:
        raise _Refused("invalid_ics", "is not UTF-8 text") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _Refused("invalid_ics", f"is not an iCalendar text: {_shown(error)}") from None
    if not components or any(component.name != "VCALENDAR" for component in components):
        raise _Refused("invalid_ics", "is not an iCalendar text: it must begin with BEGIN:VCALENDAR and be whole")
    events = [event for component in components for event in component.walk("VEVENT")]
    if len(events) > MAX_EVENTS:
        raise _Refused("too_many_items", f"has {len(events)} events; at most {MAX_EVENTS} are accepted")
    for number, event in enumerate(events, 1):
        _check(event, number)
    return list(components)


def _check(event: Any, number: int) -> None:
    for name, fault in event.errors:
        if name in _DECISIVE:
            raise _Refused("invalid_ics", f"{_called(event, number)}: {name}: {_shown(fault)}")
    if "DTSTART" not in event:
        raise _Refused("invalid_ics", f"{_called(event, number)}: DTSTART is missing")
    for name in ("DTSTART", "DTEND", "DURATION"):
        if isinstance(event.get(name), list):
            raise _Refused("invalid_ics", f"{_called(event, number)}: {name} is given more than once")


def _occurrences(calendar: Any, first: date, last: date) -> Iterator[Any]:
    """Occurrences that touch the days from ``first`` to ``last``, year by year; one over the turn of a year comes
    twice. A day's margin, because the library compares moments of different zones."""
    count = 0
    try:
        query = of(calendar, components=["VEVENT"])
        for year in range(first.year, last.year + 1):
            begin, end = date(year, 1, 1) - timedelta(days=1), date(year, 12, 31) + timedelta(days=2)
            for event in query.between(begin, end):
                count += 1
                if count > MAX_OCCURRENCES:
                    raise _Refused("too_complex", f"has more than {MAX_OCCURRENCES} occurrences from {first} to {last}")
                if str(event.get("STATUS", "")).upper() != "CANCELLED":
                    yield event
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise _Refused("invalid_ics", f"has events that cannot be worked out: {_shown(error)}") from None


def _span(event: Any, zone: ZoneInfo) -> tuple[date, date]:
    """The first and the last day of an occurrence: an end at midnight belongs to the day before."""
    start = event["DTSTART"].dt
    end = event["DTEND"].dt if "DTEND" in event else start
    if not isinstance(start, datetime):
        return start, max(start, _day(end) - timedelta(days=1))
    if start.utcoffset() is not None and start.tzname() == UTC.tzname(None):
        # An instant in UTC has no place of its own: its day is that of the calendar's zone.
        start, end = start.astimezone(zone), end.astimezone(zone)
    return start.date(), (end - timedelta(microseconds=1)).date() if end > start else start.date()


def _day(moment: Any) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _called(event: Any, number: int) -> str:
    summary = " ".join(str(event.get("SUMMARY", "")).split())[:MAX_LABEL]
    return f"event {number} ({summary!r})" if summary else f"event {number}"


def _shown(error: object) -> str:
    """An error's first line, cut: the library puts the whole text into some."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:MAX_SHOWN]


if __name__ == "__main__":
    main(sys.argv[1:])

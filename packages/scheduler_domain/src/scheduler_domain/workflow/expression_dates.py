"""Dates in expressions: ISO 8601 text in, text out; no clock and no locale."""

import re
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from scheduler_domain.workflow.expression_values import Fault, checked_text, type_name

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_DIRECTIVES = "YmdHMSyjGVuz%"


def parse_date(text: str) -> date | None:
    """The date that ``YYYY-MM-DD`` names, or ``None``."""
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def parse_instant(text: str) -> datetime | None:
    """The instant that ISO 8601 text with an offset names (seconds may be left out), or ``None``."""
    if not _INSTANT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _moment(value: Any) -> date | datetime:
    if not isinstance(value, str):
        raise Fault(f"takes a date or an instant as text, not {type_name(value)}")
    moment = parse_date(value) or parse_instant(value)
    if moment is None:
        raise Fault(f"'{value[:40]}' is neither a date (2026-11-20) nor an instant (2026-11-20T02:30:00+01:00)")
    return moment


def date_of(value: Any) -> str:
    moment = _moment(value)
    return (moment.date() if isinstance(moment, datetime) else moment).isoformat()


def add_days(value: Any, days: Any) -> str:
    if type(days) is not int:
        raise Fault(f"takes a whole number of days, not {type_name(days)}")
    try:
        return (_moment(value) + timedelta(days=days)).isoformat()
    except OverflowError:
        raise Fault("the date is out of range (years 1 to 9999)") from None


def format_date(value: Any, pattern: Any, zone: Any = None) -> str:
    moment = _moment(value)
    if not isinstance(pattern, str):
        raise Fault(f"the pattern is a string, not {type_name(pattern)}")
    for directive in re.findall(r"%(.?)", pattern, re.DOTALL):
        if not directive or directive not in _DIRECTIVES:
            raise Fault(f"'%{directive}' is not accepted; accepted: " + " ".join(f"%{each}" for each in _DIRECTIVES))
    if zone is not None:
        moment = _in_zone(moment, zone)
    return checked_text(re.sub(r"%(.)", lambda found: _part(moment, found[1]), pattern))


def _part(moment: date | datetime, directive: str) -> str:
    if directive == "Y":
        return f"{moment.year:04}"
    return moment.strftime(f"%{directive}")


def _in_zone(moment: date | datetime, zone: Any) -> datetime:
    if not isinstance(moment, datetime):
        raise Fault("a date has no zone; give an instant")
    try:
        return moment.astimezone(ZoneInfo(zone))
    except (KeyError, ValueError, TypeError, OSError):
        raise Fault(f"unknown time zone '{str(zone)[:40]}'") from None
    except OverflowError:
        raise Fault("the date is out of range (years 1 to 9999)") from None

"""Calendars that exist under a name without anybody making them.

``weekends``, ``weekdays``, ``holidays-<country>[-<part>]`` and ``business-days-<country>[-<part>]``, in small letters,
a space of a part's code as ``-``: ``holidays-de``, ``holidays-us-ca``, ``business-days-de-by``.
"""

from functools import partial
from typing import Any

from scheduler_application.ports.calendars import Country, HolidayPlace, HolidaySource
from scheduler_domain.schedule.calendar_days import BusinessDays, DayCalendar, YearlyDays

_HOLIDAYS = "holidays-"
_BUSINESS_DAYS = "business-days-"
_WEEK: dict[str, tuple[str, frozenset[int]]] = {
    "weekdays": ("MON-FRI", frozenset(range(5))),
    "weekends": ("SAT-SUN", frozenset({5, 6})),
}


def builtin_definition(name: str, holidays: HolidaySource) -> dict[str, Any] | None:
    """What ``name`` stands for, in the form of a calendar's definition; ``None`` where it is no built-in name."""
    if name in _WEEK:
        return {"kind": "business_days", "weekdays": _WEEK[name][0]}
    place = _place(name, holidays)
    if place is None:
        return None
    kind = "holidays" if name.startswith(_HOLIDAYS) else "business_days"
    part = {} if place.subdivision is None else {"subdivision": place.subdivision}
    return {"kind": kind, "country": place.country, **part}


def builtin_calendar(name: str, holidays: HolidaySource) -> DayCalendar | None:
    """The calendar that ``name`` stands for, as in `builtin_definition`. The first call may take half a second."""
    if name in _WEEK:
        return BusinessDays(_WEEK[name][1])
    place = _place(name, holidays)
    if place is None:
        return None
    return YearlyDays(partial(holidays.holidays if name.startswith(_HOLIDAYS) else holidays.working_days, place))


def _place(name: str, holidays: HolidaySource) -> HolidayPlace | None:
    for prefix in (_HOLIDAYS, _BUSINESS_DAYS):
        if name.startswith(prefix):
            code, dash, part = name.removeprefix(prefix).partition("-")
            country = holidays.country(code)
            if country is None:
                return None
            subdivision = _subdivision(country, part)
            return HolidayPlace(country.code, subdivision) if (subdivision is not None) == bool(dash) else None
    return None


def _subdivision(country: Country, part: str) -> str | None:
    return next((code for code in country.subdivisions if code.lower().replace(" ", "-") == part), None)

"""Holidays by country, from the library `holidays`, which takes 0.2 s to import: it is imported when it is asked."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

from scheduler_application.ports.calendars import Country, HolidayPlace
from scheduler_domain.schedule.calendar_days import each_day

if TYPE_CHECKING:
    from holidays import HolidayBase

_CODE_LENGTH = 2


class HolidayLibrary:
    """`HolidaySource`."""

    def __init__(self) -> None:
        self._countries: dict[str, Country | None] = {}

    def country(self, code: str) -> Country | None:
        wanted = code.upper()
        if wanted not in self.codes():
            return None
        if wanted not in self._countries:
            found = _of(HolidayPlace(wanted, categories=()), ())
            self._countries[wanted] = Country(wanted, found.subdivisions, found.supported_categories)
        return self._countries[wanted]

    def codes(self) -> Sequence[str]:
        return self._codes

    @cached_property
    def _codes(self) -> Sequence[str]:
        # Its own list of countries imports every one of them, which takes another 0.3 s.
        from holidays.registry import COUNTRIES  # noqa: PLC0415 - see the module's docstring

        return sorted({code for _, *codes in COUNTRIES.values() for code in codes if len(code) == _CODE_LENGTH})

    def holidays(self, place: HolidayPlace, year: int) -> Mapping[date, str]:
        found = _of(place, (year,))
        return {day: name for day, name in sorted(found.items()) if day.year == year}

    def working_days(self, place: HolidayPlace, year: int) -> Mapping[date, str]:
        found = _of(place, (year,))
        return {day: "" for day in each_day(date(year, 1, 1), date(year, 12, 31)) if found.is_working_day(day)}


def _of(place: HolidayPlace, years: Sequence[int]) -> "HolidayBase":
    from holidays import country_holidays  # noqa: PLC0415 - see the module's docstring

    country, subdivision, categories = place
    known = country_holidays(country, subdivision, expand=False)
    # Without a language the names would be in that of this machine.
    return country_holidays(
        country,
        subdivision,
        years=years,
        expand=False,
        language=known.default_language,
        categories=categories or None,
    )

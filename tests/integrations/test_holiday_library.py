"""Holidays by country: every country there is, and days that everybody can look up."""

import subprocess
import sys
from datetime import date

import pytest

from scheduler_application.ports.calendars import HolidayPlace
from scheduler_application.schedule.builtin_calendars import builtin_calendar, builtin_definition
from scheduler_infrastructure.integrations.holiday_library import HolidayLibrary

LIBRARY = HolidayLibrary()


def test_every_country_and_each_of_its_parts_has_a_calendar_of_holidays_and_one_of_business_days() -> None:
    places = 0
    for code in LIBRARY.codes():
        country = LIBRARY.country(code)
        assert country is not None
        for part in (None, *country.subdivisions):
            place = HolidayPlace(country.code, part)
            holidays = LIBRARY.holidays(place, 2026)
            working = LIBRARY.working_days(place, 2026)
            assert all(day.year == 2026 for day in (*holidays, *working))
            # Even where a weekend is a single day and every feast is kept, half of a year is worked.
            assert 200 < len(working) < 320, place
            assert len(holidays) < 60, place
            places += 1
    assert len(LIBRARY.codes()) > 200
    assert places > 800


@pytest.mark.parametrize(
    ("calendar", "day", "name"),
    [
        ("holidays-de", date(2026, 10, 3), "Tag der Deutschen Einheit"),
        ("holidays-de", date(2026, 4, 3), "Karfreitag"),
        ("holidays-de-by", date(2026, 1, 6), "Heilige Drei Könige"),
        ("holidays-fr", date(2026, 7, 14), "Fête nationale"),
        ("holidays-us", date(2026, 11, 26), "Thanksgiving Day"),
        ("holidays-us", date(2026, 7, 3), "Independence Day (observed)"),
        ("holidays-us-ca", date(2026, 3, 31), "Cesar Chavez Day"),
        ("holidays-gb-sct", date(2026, 11, 30), "Saint Andrew's Day"),
        ("holidays-jp", date(2026, 4, 29), "昭和の日"),
        ("holidays-in", date(2026, 1, 26), "Republic Day"),
        ("holidays-br", date(2026, 9, 7), "Independência do Brasil"),
        ("holidays-au-nsw-western", date(2026, 1, 26), "Australia Day"),
    ],
)
def test_a_known_holiday_is_there_by_its_own_name(calendar: str, day: date, name: str) -> None:
    found = builtin_calendar(calendar, LIBRARY)
    assert found is not None
    assert found.contains(day)
    assert name in found.label(day)


@pytest.mark.parametrize(
    ("calendar", "closed", "open_day"),
    [
        ("business-days-de", date(2026, 12, 25), date(2026, 12, 28)),
        ("business-days-de-by", date(2026, 1, 6), date(2026, 1, 7)),
        # Its weekend is Friday and Saturday.
        ("business-days-il", date(2026, 7, 3), date(2026, 7, 5)),
        # The Sunday before the spring festival of 2025 was worked in exchange for a day of it.
        ("business-days-cn", date(2025, 1, 29), date(2025, 1, 26)),
        ("weekdays", date(2026, 12, 26), date(2026, 12, 25)),
        ("weekends", date(2026, 12, 25), date(2026, 12, 26)),
    ],
)
def test_a_business_day_is_what_the_country_works(calendar: str, closed: date, open_day: date) -> None:
    found = builtin_calendar(calendar, LIBRARY)
    assert found is not None
    assert (found.contains(closed), found.contains(open_day)) == (False, True)


def test_holidays_of_a_part_are_not_those_of_the_whole_country() -> None:
    whole, bavaria = builtin_calendar("holidays-de", LIBRARY), builtin_calendar("holidays-de-by", LIBRARY)
    assert whole is not None
    assert bavaria is not None
    epiphany = date(2026, 1, 6)
    assert (whole.contains(epiphany), bavaria.contains(epiphany)) == (False, True)


@pytest.mark.parametrize(
    "name",
    ["holidays", "holidays-", "holidays-zz", "holidays-de-", "holidays-de-zz", "holidays-DE-x", "business-days",
     "business-days-xx", "weekend", "holidays-germany", "holidays-deu", ""],
)  # fmt: skip
def test_what_is_no_country_is_no_built_in_name(name: str) -> None:
    assert builtin_definition(name, LIBRARY) is None
    assert builtin_calendar(name, LIBRARY) is None


def test_names_do_not_depend_on_the_language_of_the_machine() -> None:
    program = (
        "from scheduler_infrastructure.integrations.holiday_library import HolidayLibrary as L;"
        "from scheduler_application.ports.calendars import HolidayPlace as P;"
        "import datetime; print(ascii(L().holidays(P('DE'), 2026)[datetime.date(2026, 1, 1)]))"
    )
    names = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"LANGUAGE": language, "LANG": language, "LC_ALL": language},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for language in ("en_US.UTF-8", "de_DE.UTF-8", "C")
    }
    assert names == {b"'Neujahr'\n"}


def test_the_library_is_imported_when_it_is_first_asked_and_not_before() -> None:
    program = (
        "import sys; import scheduler_infrastructure.integrations.holiday_library as h; h.HolidayLibrary();"
        "import scheduler_application.schedule.calendars; print('holidays' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert found.stdout == b"False\n"

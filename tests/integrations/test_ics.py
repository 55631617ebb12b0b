"""iCalendar texts: which days they mean, and that none of them can hold anybody up."""

import asyncio
from datetime import date

import psutil
import pytest

from scheduler_domain.errors import InvalidDefinition
from scheduler_infrastructure.integrations.ics_process import IcsProcess
from tests.support.eventually import eventually

TODAY = date(2026, 6, 1)
CHRISTMAS = ("DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261227", "SUMMARY:Closed")


def text_of(*events: tuple[str, ...]) -> bytes:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN"]
    for number, event in enumerate(events):
        lines += ["BEGIN:VEVENT", f"UID:{number}@test", *event, "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


async def days(*events: tuple[str, ...], zone: str = "Europe/Berlin", year: int | None = 2026) -> list[str]:
    """The days of a year (of the whole window where it is ``None``) as ``MM-DD``."""
    found = await IcsProcess().read(text_of(*events), zone, TODAY)
    return [f"{day:%m-%d}" if year else str(day) for day in found.days if year in (None, day.year)]


async def refusal(content: bytes) -> tuple[str, str]:
    with pytest.raises(InvalidDefinition) as refused:
        await IcsProcess().read(content, "UTC", TODAY)
    (problem,) = refused.value.problems
    return problem.code, problem.message


async def test_an_event_of_whole_days_lasts_to_the_day_before_its_end() -> None:
    found = await IcsProcess().read(text_of(CHRISTMAS), "UTC", TODAY)
    assert found.days == {date(2026, 12, day): "Closed" for day in (24, 25, 26)}
    assert (found.first, found.last) == (date(2024, 1, 1), date(2036, 12, 31))


async def test_an_event_in_a_zone_of_its_own_has_the_days_of_that_zone() -> None:
    late = ("DTSTART;TZID=America/New_York:20261224T210000", "DTEND;TZID=America/New_York:20261224T230000")
    assert await days(late, zone="Asia/Tokyo") == ["12-24"]


async def test_an_instant_in_utc_has_its_day_in_the_zone_of_the_calendar() -> None:
    late = ("DTSTART:20261224T230000Z", "DTEND:20261224T233000Z")
    assert await days(late, zone="UTC") == ["12-24"]
    assert await days(late, zone="Europe/Berlin") == ["12-25"]


async def test_a_time_without_a_zone_has_the_day_that_it_names() -> None:
    assert await days(("DTSTART:20261224T233000", "DTEND:20261225T003000"), zone="Asia/Tokyo") == ["12-24", "12-25"]


async def test_an_end_at_midnight_belongs_to_the_day_before() -> None:
    assert await days(("DTSTART:20261224T180000", "DTEND:20261225T000000")) == ["12-24"]
    assert await days(("DTSTART:20261224T000000",)) == ["12-24"]


async def test_a_rule_with_exceptions_and_additions_is_followed() -> None:
    fridays = (
        "DTSTART;VALUE=DATE:20261204",
        "RRULE:FREQ=WEEKLY;COUNT=4",
        "EXDATE;VALUE=DATE:20261211",
        "RDATE;VALUE=DATE:20261209",
    )
    assert await days(fridays) == ["12-04", "12-09", "12-18", "12-25"]


async def test_one_occurrence_that_was_moved_is_where_it_was_moved_to() -> None:
    weekly = ("DTSTART;VALUE=DATE:20261204", "RRULE:FREQ=WEEKLY;COUNT=2")
    moved = ("UID:0@test", "RECURRENCE-ID;VALUE=DATE:20261211", "DTSTART;VALUE=DATE:20261214")
    content = text_of(weekly, moved).replace(b"UID:1@test\r\n", b"")
    found = await IcsProcess().read(content, "UTC", TODAY)
    assert list(found.days) == [date(2026, 12, 4), date(2026, 12, 14)]


async def test_an_event_that_was_called_off_has_no_days() -> None:
    assert await days((*CHRISTMAS, "STATUS:CANCELLED")) == []


async def test_a_rule_over_a_change_of_clocks_keeps_its_days() -> None:
    nightly = (
        "DTSTART;TZID=Europe/Berlin:20261023T003000",
        "DTEND;TZID=Europe/Berlin:20261023T010000",
        "RRULE:FREQ=DAILY;COUNT=4",
    )
    assert await days(nightly, zone="UTC") == ["10-23", "10-24", "10-25", "10-26"]


async def test_a_yearly_day_is_there_in_every_year_of_the_window_and_nowhere_else() -> None:
    yearly = ("DTSTART;VALUE=DATE:19700501", "RRULE:FREQ=YEARLY")
    assert await days(yearly, year=None) == [f"{year}-05-01" for year in range(2024, 2037)]


async def test_an_event_longer_than_the_window_fills_it_once() -> None:
    found = await days(("DTSTART;VALUE=DATE:10010101", "DTEND;VALUE=DATE:30010101"), year=None)
    assert len(found) == len(set(found)) == (date(2036, 12, 31) - date(2024, 1, 1)).days + 1


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (("DTSTART;VALUE=DATE:20261332", "SUMMARY:Fair"), "event 1 ('Fair'): DTSTART"),
        (("SUMMARY:Fair",), "event 1 ('Fair'): DTSTART is missing"),
        (("DTSTART;VALUE=DATE:20261224", "RRULE:FREQ=SOMETIMES"), "event 1: RRULE"),
        (("DTSTART;VALUE=DATE:20261224", "EXDATE:soon", "RRULE:FREQ=DAILY;COUNT=3"), "event 1: EXDATE"),
        (("DTSTART;VALUE=DATE:20261224", "DTSTART;VALUE=DATE:20261225"), "event 1: DTSTART is given more than once"),
    ],
)
async def test_what_decides_on_days_and_is_wrong_is_refused_with_its_event(event: tuple[str, ...], says: str) -> None:
    code, message = await refusal(text_of(event))
    assert code == "invalid_ics"
    assert says in message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>404</html>",
        bytes(range(256)),
        b"BEGIN:VEVENT\r\nDTSTART:20260101T000000\r\nEND:VEVENT\r\n",
        text_of(CHRISTMAS)[:-30],
        b"\0" * 1_000,
        b'{"kind": "dates"}',
    ],
)
async def test_what_is_no_icalendar_text_is_refused(content: bytes) -> None:
    code, message = await refusal(content)
    assert code == "invalid_ics"
    assert len(message) < 400


async def test_a_text_without_events_is_a_calendar_without_days() -> None:
    assert (await IcsProcess().read(text_of(), "UTC", TODAY)).days == {}


async def test_ten_thousand_events_are_read_and_one_more_is_refused() -> None:
    event = ("DTSTART;VALUE=DATE:20261224",)
    assert (await refusal(text_of(*[event] * 10_001)))[0] == "too_many_items"
    found = await IcsProcess(seconds=60).read(text_of(*[event] * 10_000), "UTC", TODAY)
    assert list(found.days) == [date(2026, 12, 24)]


async def test_a_text_that_is_too_large_is_refused() -> None:
    assert (await refusal(text_of(CHRISTMAS) + b"\n" * 1024 * 1024))[0] == "too_long"


@pytest.mark.parametrize("rule", ["FREQ=DAILY;INTERVAL=0", "FREQ=SECONDLY"])
async def test_a_rule_that_never_ends_is_given_up_and_holds_nobody_up(rule: str) -> None:
    """Everybody else goes on meanwhile, and no process is left behind."""
    loop = asyncio.get_running_loop()
    turns = 0

    over = asyncio.Event()

    def go_on() -> None:
        nonlocal turns
        turns += 1
        if not over.is_set():
            loop.call_later(0.01, go_on)

    go_on()
    reader = IcsProcess(seconds=1.5)
    with pytest.raises(InvalidDefinition) as refused:
        await reader.read(text_of(("DTSTART:20200101T000000Z", f"RRULE:{rule}")), "UTC", TODAY)
    over.set()
    assert refused.value.problems[0].code == "too_complex"
    assert turns > 20
    assert (await reader.read(text_of(CHRISTMAS), "UTC", TODAY)).days


async def test_a_reading_that_is_cancelled_leaves_no_process() -> None:
    endless = text_of(("DTSTART:20200101T000000Z", "RRULE:FREQ=DAILY;INTERVAL=0"))
    reading = asyncio.create_task(IcsProcess(seconds=30).read(endless, "UTC", TODAY))

    async def is_read() -> bool:
        return any("ics_child" in " ".join(child.cmdline()) for child in psutil.Process().children())

    await eventually(is_read, within=10)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not await is_read()

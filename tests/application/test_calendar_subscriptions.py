"""Calendars that others publish, over a real HTTP server: fetched, asked again, kept while the server fails."""

import asyncio
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from scheduler_application.errors import NotFound, Rejected
from scheduler_application.ports.calendars import Validators
from scheduler_application.ports.reading import CalendarView
from scheduler_application.schedule.calendar_texts import RefreshCalendarCommand
from scheduler_application.schedule.calendars import CalendarDaysCommand, SaveCalendarCommand
from scheduler_domain.errors import InvalidDefinition
from scheduler_infrastructure.execution.outbound.calendar_feed import GuardedFeeds
from tests.support.canned_server import CannedServer, canned_server
from tests.support.world import ACTOR, World

HOUR = 3_600
PATH = "GET /private-token/closed.ics"


def ics(*days: str) -> bytes:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN"]
    for day in days:
        lines += ["BEGIN:VEVENT", f"UID:{day}", f"DTSTART;VALUE=DATE:{day}", "SUMMARY:Closed", "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_server() as canned:
        canned.on(PATH, (200, ics("20261224")))
        yield canned


async def subscribe(world: World, server: CannedServer, **more: Any) -> CalendarView:
    definition = {"kind": "ics", "url": f"{server.url}/private-token/closed.ics", "refresh": "1h", **more}
    return await world.save_calendar.execute(SaveCalendarCommand("closed", definition), ACTOR)


async def december(world: World) -> list[int]:
    command = CalendarDaysCommand("closed", date(2026, 12, 1), date(2026, 12, 31))
    return [day.day.day for day in (await world.show_calendar_days.execute(command, ACTOR)).items]


async def seen(world: World) -> CalendarView:
    view = await world.reader.calendar(ACTOR.project, "closed")
    assert view is not None
    return view


async def lead(world: World, after: float = 0) -> int:
    """Turns the clock and lets the leader look; how many calendars it read again."""
    world.clock.advance(after)
    return await world.refresh_due_calendars.execute(await world.lead())


async def test_a_subscribed_calendar_has_its_days_when_it_is_made(world: World, server: CannedServer) -> None:
    view = await subscribe(world, server)
    assert await december(world) == [24]
    assert (view.fetched_at, view.error) == (world.clock.now(), None)
    assert view.refresh_at == world.clock.now() + timedelta(hours=1)


async def test_the_leader_fetches_it_again_when_it_is_time_and_not_before(world: World, server: CannedServer) -> None:
    await subscribe(world, server)
    server.on(PATH, (200, ics("20261224", "20261231")))
    assert await lead(world, HOUR - 1) == 0
    assert await lead(world, 1) == 1
    assert await december(world) == [24, 31]
    assert (await seen(world)).version == 2
    assert await lead(world) == 0


async def test_a_server_that_says_that_nothing_changed_is_believed(world: World, server: CannedServer) -> None:
    server.headers[PATH] = {"ETag": '"v1"', "Last-Modified": "Sun, 01 Nov 2026 10:00:00 GMT"}
    await subscribe(world, server)
    server.on(PATH, (304, b""))
    assert await lead(world, HOUR) == 1
    asked = server.received[-1].headers
    assert (asked["if-none-match"], asked["if-modified-since"]) == ('"v1"', "Sun, 01 Nov 2026 10:00:00 GMT")
    view = await seen(world)
    assert (view.fetched_at, view.error, view.version) == (world.clock.now(), None, 1)
    assert await december(world) == [24]


async def test_the_same_text_again_is_no_new_version(world: World, server: CannedServer) -> None:
    await subscribe(world, server)
    assert await lead(world, HOUR) == 1
    assert ((await seen(world)).version, (await seen(world)).fetched_at) == (1, world.clock.now())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((500, b"oops"), "status 500"),
        ((404, b"gone"), "status 404"),
        ((200, b"<html>Sign in</html>"), "not an iCalendar text"),
        ((200, b"x" * (1024 * 1024 + 1)), "larger than 1048576 bytes"),
        ((304, b""), "status 304"),
    ],
)
async def test_while_it_cannot_be_read_the_last_good_days_stay_and_the_reason_is_shown(
    world: World, server: CannedServer, answer: tuple[int, bytes], says: str
) -> None:
    made = await subscribe(world, server)
    server.on(PATH, answer)
    assert await lead(world, HOUR) == 1
    view = await seen(world)
    assert await december(world) == [24]
    assert view.error is not None
    assert says in view.error
    assert "private-token" not in view.error
    assert (view.fetched_at, view.version) == (made.fetched_at, made.version)
    assert view.refresh_at == world.clock.now() + timedelta(minutes=15)
    server.on(PATH, (200, ics("20261231")))
    assert await lead(world, HOUR / 4) == 1
    assert (await seen(world)).error is None
    assert await december(world) == [31]


async def test_what_cannot_be_fetched_is_not_made(world: World, server: CannedServer) -> None:
    server.on(PATH, (404, b""))
    with pytest.raises(Rejected) as refused:
        await subscribe(world, server)
    assert refused.value.code == "feed_status"
    server.on(PATH, (200, b"hello"))
    with pytest.raises(InvalidDefinition):
        await subscribe(world, server)
    assert await world.rows("select id from calendars") == []


async def test_a_person_may_fetch_it_now(world: World, server: CannedServer) -> None:
    await subscribe(world, server)
    server.on(PATH, (200, ics("20261225")), (500, b""))
    assert (await world.refresh_calendar.execute(RefreshCalendarCommand("closed"), ACTOR)).version == 2
    assert await december(world) == [25]
    failed = await world.refresh_calendar.execute(RefreshCalendarCommand("closed"), ACTOR)
    assert "status 500" in (failed.error or "")
    assert await december(world) == [25]
    await world.save_calendar.execute(SaveCalendarCommand("dates", {"kind": "dates", "dates": ["12-24"]}), ACTOR)
    with pytest.raises(Rejected) as refused:
        await world.refresh_calendar.execute(RefreshCalendarCommand("dates"), ACTOR)
    assert refused.value.code == "not_subscribed"
    with pytest.raises(NotFound):
        await world.refresh_calendar.execute(RefreshCalendarCommand("holidays-de"), ACTOR)


async def test_a_calendar_that_is_replaced_while_it_is_fetched_stays_as_it_was_replaced(
    world: World, server: CannedServer
) -> None:
    await subscribe(world, server)
    row = await world.store.transact(lambda tx: tx.calendars.find(ACTOR.project, "closed"))
    assert row is not None
    server.on(PATH, (200, ics("20261231")))
    values = await world.calendar_texts.again(row, world.clock.now())
    await world.save_calendar.execute(SaveCalendarCommand("closed", {"kind": "dates", "dates": ["12-26"]}), ACTOR)
    assert not await world.store.transact(lambda tx: tx.calendars.renew(row["id"], row["version"], values))
    assert await december(world) == [26]


async def test_a_calendar_that_is_being_read_is_not_taken_by_another_leader(world: World, server: CannedServer) -> None:
    await subscribe(world, server)
    world.clock.advance(HOUR)
    now = world.clock.now()
    until = now + timedelta(minutes=1)
    first = await world.store.transact(lambda tx: tx.calendars.take_due(now, until))
    second = await world.store.transact(lambda tx: tx.calendars.take_due(now, until))
    assert first is not None
    assert second is None
    # Whoever took it is gone: its turn comes again.
    assert await world.store.transact(lambda tx: tx.calendars.take_due(until, until + timedelta(minutes=1)))


# Where it may be fetched from ----------------------------------------------------------------------------------------


async def refusal(feeds: GuardedFeeds, url: str) -> str:
    with pytest.raises(Rejected) as refused:
        await feeds.fetch(url, Validators())
    return refused.value.code


async def test_private_addresses_are_not_reached_unless_they_are_allowed(server: CannedServer) -> None:
    url = f"{server.url}/private-token/closed.ics"
    assert await refusal(GuardedFeeds(), url) == "address_not_allowed"
    assert await refusal(GuardedFeeds(allowed_networks=["10.0.0.0/8"]), url) == "address_not_allowed"
    assert server.received == []
    assert await GuardedFeeds(allowed_networks=["127.0.0.0/8"]).fetch(url, Validators()) is not None


async def test_a_redirect_is_followed_and_leads_no_further_than_the_first_address(server: CannedServer) -> None:
    feeds = GuardedFeeds(allowed_networks=["127.0.0.1/32"])
    server.on("GET /moved", (302, b""))
    server.headers["GET /moved"] = {"Location": "/private-token/closed.ics"}
    fetched = await feeds.fetch(f"{server.url}/moved", Validators())
    assert fetched is not None
    assert fetched.content == ics("20261224")
    for place in ("http://169.254.169.254/latest", "http://127.0.0.2/x", "http://[::1]/x", "file:///etc/passwd"):
        server.headers["GET /moved"] = {"Location": place}
        assert await refusal(feeds, f"{server.url}/moved") in ("address_not_allowed", "feed_unreachable")
    server.headers["GET /moved"] = {"Location": "/moved"}
    before = len(server.received)
    assert await refusal(feeds, f"{server.url}/moved") == "feed_unreachable"
    assert len(server.received) - before == 4


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    feeds = GuardedFeeds(allowed_networks=["127.0.0.0/8"], seconds=0.2)
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        assert await refusal(feeds, url) == "feed_unreachable"
    assert await refusal(feeds, url) == "feed_unreachable"


async def test_webcal_is_https() -> None:
    asked = []

    async def resolver(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["10.0.0.1"]

    assert await refusal(GuardedFeeds(resolver=resolver), "webcal://example.com/x.ics") == "address_not_allowed"
    assert asked == [("example.com", 443)]

"""Calendars over HTTP, in front of the real use cases and a store."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from scheduler_api.dependencies import ApiServices
from scheduler_api.main import create_app
from tests.api.fakes import FakeReadiness
from tests.api.test_over_a_real_store import WorldUseCases
from tests.support.canned_server import canned_server
from tests.support.world import World, open_world, sqlite_url

XMAS: dict[str, Any] = {"kind": "dates", "dates": ["12-24/12-26"]}
ICS = b"""\
BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//test//EN\r
BEGIN:VEVENT\r
UID:1\r
SUMMARY:Late fair\r
DTSTART:20261224T233000Z\r
DTEND:20261224T235900Z\r
END:VEVENT\r
END:VCALENDAR\r
"""
CALENDAR = {"Content-Type": "text/calendar"}


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(sqlite_url(tmp_path)) as world:
        yield world


@pytest_asyncio.fixture
async def api(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with the admin's key."""
    key = await world.ensure_admin.execute()
    assert key is not None
    services = ApiServices(WorldUseCases(world), world.reader, world.live, FakeReadiness(), lambda: b"")
    transport = httpx2.ASGITransport(app=create_app(services))
    headers = {"Authorization": f"Bearer {key.text}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://orrery.test/api/v1", headers=headers) as client:
        yield client


async def days(api: httpx2.AsyncClient, name: str) -> list[tuple[str, str]]:
    response = await api.get(f"/calendars/{name}/days?from=2026-12-23&to=2026-12-27")
    assert response.status_code == 200, response.text
    return [(item["day"], item["name"]) for item in response.json()["items"]]


async def refused(response: httpx2.Response, status: int, code: str) -> Any:
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


async def test_a_calendar_is_made_read_replaced_and_deleted(api: httpx2.AsyncClient) -> None:
    made = await api.post("/calendars", json={"name": "closed", **XMAS})
    assert (made.status_code, made.headers["location"]) == (201, "/api/v1/calendars/closed")
    assert await days(api, "closed") == [("2026-12-24", ""), ("2026-12-25", ""), ("2026-12-26", "")]
    assert (await api.get("/calendars/closed")).json() == made.json()
    assert [item["name"] for item in (await api.get("/calendars")).json()["items"]] == ["closed"]
    replaced = await api.put("/calendars/closed", json={"kind": "dates", "dates": ["2026-12-23"]})
    assert (replaced.status_code, replaced.json()["version"]) == (200, 2)
    assert await days(api, "closed") == [("2026-12-23", "")]
    assert (await api.delete("/calendars/closed")).status_code == 204
    await refused(await api.delete("/calendars/closed"), 404, "not_found")
    await refused(await api.get("/calendars/closed"), 404, "not_found")


async def test_what_is_shown_can_be_sent_back(api: httpx2.AsyncClient) -> None:
    for definition in (
        XMAS,
        {"kind": "holidays", "country": "de", "subdivision": "by", "categories": ["public", "catholic"]},
        {"kind": "business_days", "weekdays": "MON-THU", "except": ["holidays-de-by"]},
    ):
        made = await api.put("/calendars/some", json=definition)
        assert made.json()["definition"] == definition
        assert (await api.put("/calendars/some", json=made.json()["definition"])).status_code == 200


async def test_lists_go_page_by_page(api: httpx2.AsyncClient) -> None:
    for name in ("c", "a", "b"):
        await api.put(f"/calendars/{name}", json=XMAS)
    first = (await api.get("/calendars?limit=2")).json()
    assert [item["name"] for item in first["items"]] == ["a", "b"]
    rest = (await api.get("/calendars", params={"cursor": first["next_cursor"]})).json()
    assert ([item["name"] for item in rest["items"]], rest["next_cursor"]) == (["c"], None)


async def test_built_in_calendars_are_read_like_others(api: httpx2.AsyncClient) -> None:
    view = (await api.get("/calendars/holidays-us-ca")).json()
    assert (view["built_in"], view["definition"]["subdivision"]) == (True, "CA")
    assert await days(api, "holidays-fr") == [("2026-12-25", "Noël")]
    assert [day for day, _ in await days(api, "business-days-de")] == ["2026-12-23", "2026-12-24"]
    await refused(await api.get("/calendars/holidays-zz"), 404, "not_found")
    await refused(await api.get("/calendars/holidays-zz/days"), 404, "unknown_calendar")
    await refused(await api.delete("/calendars/holidays-fr"), 404, "not_found")


async def test_an_icalendar_file_is_taken_as_it_is(api: httpx2.AsyncClient) -> None:
    made = await api.put("/calendars/fairs?timezone=Europe/Berlin", content=ICS, headers=CALENDAR)
    assert (made.status_code, made.json()["definition"]) == (200, {"kind": "ics", "timezone": "Europe/Berlin"})
    assert await days(api, "fairs") == [("2026-12-25", "Late fair")]
    await api.put("/calendars/fairs", content=ICS, headers=CALENDAR)
    assert await days(api, "fairs") == [("2026-12-24", "Late fair")]


async def test_a_subscription_is_fetched_now_on_request(api: httpx2.AsyncClient) -> None:
    with canned_server() as server:
        server.on("GET /closed.ics", (200, ICS), (503, b""))
        made = await api.post("/calendars", json={"name": "fairs", "kind": "ics", "url": f"{server.url}/closed.ics"})
        assert made.status_code == 201, made.text
        again = (await api.post("/calendars/fairs/refresh")).json()
        assert "status 503" in again["error"]
        assert await days(api, "fairs") == [("2026-12-24", "Late fair")]
        await refused(
            await api.put("/calendars/other", json={"kind": "ics", "url": f"{server.url}/none.ics"}), 422, "feed_status"
        )


async def test_what_is_wrong_is_422_with_its_place_and_changes_nothing(api: httpx2.AsyncClient, world: World) -> None:
    many = {"name": "many", "kind": "dates", "dates": ["12-24"] * 10_001}
    (error,) = (await refused(await api.post("/calendars", json=many), 422, "too_many_items"))["errors"]
    assert error["loc"] == ["body", "dates"]
    wrong = {"name": "wrong", "kind": "dates", "dates": ["12-24", "2026-02-30"]}
    (error,) = (await refused(await api.post("/calendars", json=wrong), 422, "invalid_date"))["errors"]
    assert error["loc"] == ["body", "dates", 1]
    unknown = {"name": "x", "kind": "holidays", "country": "XX"}
    await refused(await api.post("/calendars", json=unknown), 422, "unknown_country")
    await refused(await api.put("/calendars/x", content=b"BEGIN:VCALENDAR", headers=CALENDAR), 422, "invalid_ics")
    await refused(await api.put("/calendars/x", content=b"\xff\xfe", headers=CALENDAR), 400, "invalid_unicode")
    await refused(await api.put("/calendars/x", content=b"", headers=CALENDAR), 422, "empty")
    await refused(
        await api.put("/calendars/x", content=b"a: 1", headers={"Content-Type": "text/x"}),
        415,
        "unsupported_media_type",
    )
    await refused(await api.put("/calendars/Closed", json=XMAS), 422, "invalid_name")
    await refused(await api.post("/calendars", json=XMAS), 422, "invalid_name")
    await refused(await api.put("/calendars/x?timezone=UTC", json=XMAS), 422, "unknown_parameter")
    await refused(await api.put("/calendars/x", json={}), 422, "missing_key")
    too_large = await api.put("/calendars/x", content=b"x" * (1024 * 1024 + 1), headers=CALENDAR)
    await refused(too_large, 413, "body_too_large")
    assert await world.rows("select id from calendars") == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("from=2026-12-24T00:00:00Z", "invalid_date"),
        ("from=2026-02-30", "invalid_date"),
        ("from=9999-01-01", "invalid_date"),
        ("from=2026-12-24&to=2026-12-23", "invalid_window"),
        ("from=2026-01-01&to=2050-01-01", "invalid_window"),
        ("first=2026-01-01", "unknown_parameter"),
    ],
)
async def test_a_wrong_range_of_days_is_refused(api: httpx2.AsyncClient, query: str, code: str) -> None:
    await refused(await api.get(f"/calendars/weekends/days?{query}"), 422, code)


async def test_a_calendar_in_use_is_409(api: httpx2.AsyncClient) -> None:
    await api.put("/calendars/closed", json=XMAS)
    await api.put("/calendars/office", json={"kind": "business_days", "except": ["closed"]})
    problem = await refused(await api.delete("/calendars/closed"), 409, "in_use")
    assert "calendar office" in problem["detail"]
    await refused(await api.post("/calendars", json={"name": "closed", **XMAS}), 409, "already_exists")

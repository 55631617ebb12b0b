"""Deadlines over HTTP, in front of the real use cases and a store: heartbeats, their pings, expectations and alerts."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from fastapi import FastAPI
from structlog.testing import capture_logs

from scheduler_api.dependencies import ApiServices
from scheduler_api.main import create_app
from tests.api.fakes import FakeReadiness
from tests.api.test_over_a_real_store import WorldUseCases, contents
from tests.support.world import World, open_world, sqlite_url

API = "/api/v1"
HOUR = 3_600
BACKUP = {"name": "backup", "every": "1h", "grace": "5m"}
PUNCTUAL = {
    "workflow": "punctual",
    "expect": {"by": "10:00", "name": "by-ten", "within": "2h"},
    "tasks": {"a": {"shell": "true"}},
}


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(sqlite_url(tmp_path)) as world:
        yield world


@pytest.fixture
def app(world: World) -> FastAPI:
    return create_app(ApiServices(WorldUseCases(world), world.reader, world.live, FakeReadiness(), lambda: b""))


@pytest_asyncio.fixture
async def client(world: World, app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """With the admin's key."""
    key = await world.ensure_admin.execute()
    assert key is not None
    headers = {"Authorization": f"Bearer {key.text}"}
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://orrery.test", headers=headers) as client:
        yield client


@pytest_asyncio.fixture
async def job(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Somewhere else: without any credential."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://orrery.test") as client:
        yield client


async def judge(world: World, after: float) -> None:
    world.clock.advance(after)
    await world.judge_deadlines.execute(await world.lead())


async def create(client: httpx2.AsyncClient, **settings: Any) -> str:
    """The ping address of a new heartbeat."""
    response = await client.post(f"{API}/heartbeats", json={**BACKUP, **settings})
    assert response.status_code == 201, response.text
    path: str = response.json()["ping_path"]
    return path


async def shown(client: httpx2.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"{API}/heartbeats/backup")).json()
    return found


async def kinds(client: httpx2.AsyncClient, query: str = "") -> list[str]:
    """Of the alerts, the newest first."""
    return [alert["kind"] for alert in (await client.get(f"{API}/alerts{query}")).json()["items"]]


async def test_a_job_without_a_credential_pings_its_address(
    client: httpx2.AsyncClient, job: httpx2.AsyncClient, world: World
) -> None:
    response = await client.post(f"{API}/heartbeats", json=BACKUP)
    assert response.headers["location"] == f"{API}/heartbeats/backup"
    address, view = response.json()["ping_path"], response.json()["heartbeat"]
    assert address.startswith("/heartbeat/orh_")
    assert (view["state"], view["every"], view["grace"]) == ("new", "1h", "5m")
    assert (view["due_at"], view["down_at"]) == ("2026-11-02T10:00:00Z", "2026-11-02T10:05:00Z")
    for method, signal in (("GET", ""), ("POST", ""), ("HEAD", ""), ("POST", "/start"), ("GET", "/start")):
        answer = await job.request(method, address + signal)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        found = await shown(client)
        assert (found["state"], found["last_signal"]) == ("up", signal.removeprefix("/") or "ping")
    await judge(world, 2 * HOUR)
    assert (await shown(client))["state"] == "down"
    assert (await job.post(address, content=b"done, 12 files")).json() == {"status": "ok"}
    assert await kinds(client) == ["heartbeat_recovered", "heartbeat_missed"]
    assert (await shown(client))["last_message"] == "done, 12 files"
    assert (await job.post(f"{address}/fail", content=b"\xff\x00")).status_code == 200
    assert await kinds(client, "?open=true") == ["heartbeat_failed"]


async def test_the_address_is_shown_once_and_kept_nowhere(
    client: httpx2.AsyncClient, job: httpx2.AsyncClient, world: World
) -> None:
    """Nor is it given again to who sends the request twice: the answers that are kept for that have no secrets."""
    key = {"Idempotency-Key": "k1"}
    first = await client.post(f"{API}/heartbeats", json=BACKUP, headers=key)
    again = await client.post(f"{API}/heartbeats", json=BACKUP, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == {**first.json(), "ping_path": None}
    rotated = await client.post(f"{API}/heartbeats/backup/rotate", headers={"Idempotency-Key": "k2"})
    old, new = first.json()["ping_path"], rotated.json()["ping_path"]
    assert (await job.get(old)).status_code == 404
    assert (await job.get(new)).status_code == 200
    stored = json.dumps(await contents(world), default=repr)
    for address in (old, new):
        assert address.removeprefix("/heartbeat/") not in stored
    assert "orh_" not in (await client.get(f"{API}/heartbeats")).text + (await client.get(f"{API}/alerts")).text


async def test_no_log_line_has_the_address(client: httpx2.AsyncClient, job: httpx2.AsyncClient, world: World) -> None:
    address = await create(client)
    await judge(world, 2 * HOUR)
    with capture_logs() as lines:
        await job.post(address)
        await job.get(f"{address}/typo")
        await job.get(f"/typo{address}")
    assert [line["path"] for line in lines if "path" in line] == [
        "/heartbeat/orh_***",
        "/heartbeat/orh_***/typo",
        "/typo/heartbeat/orh_***",
    ]
    assert address.removeprefix("/heartbeat/") not in repr(lines)
    raised = [line for line in lines if line["event"] == "an alert was raised"]
    assert [(line["kind"], line["key"]) for line in raised] == [("heartbeat_recovered", "heartbeat/backup")]


async def test_the_life_of_a_heartbeat(client: httpx2.AsyncClient, job: httpx2.AsyncClient) -> None:
    address = await create(client)
    changed = {"schedule": "0 2 * * *", "timezone": "Europe/Berlin"}
    edited = (await client.put(f"{API}/heartbeats/backup", json=changed)).json()
    assert (edited["schedule"], edited["every"], edited["timezone"]) == ("0 2 * * *", None, "Europe/Berlin")
    assert (await client.post(f"{API}/heartbeats/backup/pause")).json()["state"] == "paused"
    assert (await client.post(f"{API}/heartbeats/backup/resume")).json()["state"] == "new"
    assert [item["name"] for item in (await client.get(f"{API}/heartbeats")).json()["items"]] == ["backup"]
    assert (await client.delete(f"{API}/heartbeats/backup")).status_code == 204
    assert (await job.get(address)).status_code == 404
    assert (await client.get(f"{API}/heartbeats/backup")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "request_", "status", "code"),
    [
        ("POST", "/heartbeats", {"json": BACKUP}, 409, "already_exists"),
        ("POST", "/heartbeats", {"json": {"name": "b"}}, 422, "exactly_one_of"),
        ("POST", "/heartbeats", {"json": {"name": "b", "every": "1h", "grace": 5}}, 422, "invalid_duration"),
        ("POST", "/heartbeats", {"json": {"name": "b", "every": "1h", "token": "x"}}, 422, "unknown_key"),
        ("POST", "/heartbeats", {"json": []}, 422, "object_expected"),
        ("POST", "/heartbeats", {"content": b"name: b"}, 415, "unsupported_media_type"),
        ("PUT", "/heartbeats/zz", {"json": {"every": "1h"}}, 404, "not_found"),
        ("PUT", "/heartbeats/backup", {"json": {"name": "b", "every": "1h"}}, 422, "name_mismatch"),
        ("PUT", "/heartbeats/backup", {"json": {}}, 422, "exactly_one_of"),
        ("DELETE", "/heartbeats/zz", {}, 404, "not_found"),
        ("POST", "/heartbeats/zz/pause", {}, 404, "not_found"),
        ("POST", "/heartbeats/backup/pause", {"json": {"for": "1h"}}, 422, "unknown_field"),
        ("POST", "/heartbeats/zz/rotate", {}, 404, "not_found"),
        ("GET", "/heartbeats?state=up", {}, 422, "unknown_parameter"),
        ("GET", "/heartbeats?cursor=A+B", {}, 422, "invalid_cursor"),
        ("GET", "/alerts?kind=nonsense", {}, 422, "not_in_list"),
        ("GET", "/alerts?open=yes", {}, 422, "boolean_expected"),
        ("GET", "/alerts?cursor=zz", {}, 422, "invalid_cursor"),
        ("GET", "/alerts/zz", {}, 404, "not_found"),
        ("GET", "/alerts/01990000-0000-7000-8000-0000000000ff", {}, 404, "not_found"),
        ("GET", "/workflows/zz/expectations", {}, 404, "not_found"),
    ],
)
async def test_what_is_refused_changes_nothing(
    client: httpx2.AsyncClient, world: World, method: str, path: str, request_: Any, status: int, code: str
) -> None:
    await create(client)
    before = await contents(world)
    response = await client.request(method, f"{API}{path}", **request_)
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert await contents(world) == before


async def test_a_ping_larger_than_any_request_may_be_is_refused(
    client: httpx2.AsyncClient, job: httpx2.AsyncClient
) -> None:
    address = await create(client)
    assert (await job.post(address, content=b"x" * 20_000)).status_code == 200
    found = await shown(client)
    assert (len(found["last_message"]), found["message_truncated"]) == (10 * 1024, True)
    assert (await job.post(address, content=b"x" * 2_000_000)).status_code == 413


async def test_a_missed_deadline_is_listed_shown_and_filtered(client: httpx2.AsyncClient, world: World) -> None:
    await client.post(f"{API}/workflows?deploy=true", json=PUNCTUAL)
    await create(client)
    await judge(world, HOUR)
    await judge(world, HOUR)
    assert await kinds(client) == ["heartbeat_missed", "expectation_missed"]
    assert await kinds(client, "?workflow=punctual") == ["expectation_missed"]
    assert await kinds(client, "?kind=heartbeat_missed&open=true") == ["heartbeat_missed"]
    assert await kinds(client, "?open=false") == []
    page = (await client.get(f"{API}/alerts?limit=1")).json()
    rest = (await client.get(f"{API}/alerts?limit=1&cursor={page['next_cursor']}")).json()
    (alert,) = rest["items"]
    assert (alert["workflow"], alert["heartbeat"], rest["next_cursor"]) == ("punctual", None, None)
    assert (await client.get(f"{API}/alerts/{alert['id']}")).json() == alert
    (expectation,) = (await client.get(f"{API}/workflows/punctual/expectations")).json()["items"]
    assert (expectation["name"], expectation["last_result"]) == ("by-ten", "missed")
    assert expectation["next_at"] == "2026-11-03T10:00:00Z"
    await client.post(f"{API}/workflows/punctual/undeploy")
    assert await kinds(client, "?open=true") == ["heartbeat_missed"]


async def test_what_belongs_to_another_project_is_as_absent_as_what_does_not_exist(
    client: httpx2.AsyncClient, world: World
) -> None:
    await client.post(f"{API}/workflows?deploy=true", json=PUNCTUAL)
    await create(client)
    await judge(world, 2 * HOUR)
    alert = (await client.get(f"{API}/alerts")).json()["items"][0]["id"]
    other = world.ids.new()
    await world.write("insert into projects (id, name, created_at) values (?, ?, ?)", other, "other", world.clock.now())
    for table in ("alerts", "heartbeats", "expectations"):
        await world.write(f"update {table} set project_id = ?", other)
    assert await kinds(client) == []
    assert (await client.get(f"{API}/alerts/{alert}")).status_code == 404
    assert (await client.get(f"{API}/heartbeats")).json()["items"] == []
    assert (await client.get(f"{API}/heartbeats/backup")).status_code == 404
    assert (await client.delete(f"{API}/heartbeats/backup")).status_code == 404
    assert (await client.get(f"{API}/workflows/punctual/expectations")).json()["items"] == []

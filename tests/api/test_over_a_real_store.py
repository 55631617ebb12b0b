"""The API in front of the real use cases and a store: what is refused changes nothing, what is accepted can be read."""

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from scheduler_api.dependencies import ApiServices
from scheduler_api.main import create_app
from scheduler_domain.run.outcome import Failed, Outcome, TaskError
from tests.api.fakes import FakeReadiness
from tests.architecture.source import ROOT
from tests.support.canned_server import canned_server
from tests.support.command_line import CommandLine
from tests.support.world import World, open_world, sqlite_url

YAML = {"Content-Type": "application/yaml"}
JSON = {"Content-Type": "application/json"}
NIGHTLY = b"""\
workflow: nightly
inputs:
  day: {type: string}
triggers:
  - schedule: "30 2 * * *"
    timezone: Europe/Berlin
    inputs: {day: today}
  - manual: {confirm: true}
tasks:
  extract: {shell: "true"}
  load: {shell: "true", needs: [extract]}
"""
HOURLY = b"""\
workflow: hourly
triggers:
  - schedule: "0 * * * *"
    name: each-hour
tasks:
  load: {shell: "true"}
"""
DRAFT = b"workflow: draft\ntasks: {a: {shell: 'true'}}\n"
RUN = "/workflows/nightly/run"
NEVER = "01990000-0000-7000-8000-0000000000ff"


class WorldUseCases:
    """The world's use cases under the names that the container gives them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Callable[[], Any]:
        return lambda: getattr(self._world, name)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(sqlite_url(tmp_path)) as world:
        yield world


@pytest_asyncio.fixture
async def api(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with the admin's key; ``nightly`` is deployed and ``draft`` is a draft."""
    key = await world.ensure_admin.execute()
    assert key is not None
    services = ApiServices(WorldUseCases(world), world.reader, world.live, FakeReadiness(), lambda: b"")
    transport = httpx2.ASGITransport(app=create_app(services))
    headers = {"Authorization": f"Bearer {key.text}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://orrery.test/api/v1", headers=headers) as client:
        assert (await client.post("/workflows?deploy=true", content=NIGHTLY, headers=YAML)).status_code == 201
        assert (await client.post("/workflows", content=DRAFT, headers=YAML)).status_code == 201
        yield client


async def contents(world: World) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    tables = [row["name"] for row in await world.rows("select name from sqlite_master where type = 'table'")]
    return {table: [dict(row) for row in await world.rows(f"select * from {table} order by 1")] for table in tables}


async def test_a_workflow_is_deployed_started_worked_and_read(api: httpx2.AsyncClient, world: World) -> None:
    started = await api.post(RUN, json={"inputs": {"day": "monday"}})
    run_id = started.json()["run_id"]
    assert await world.work() == ["extract", "load"]
    run = (await api.get(f"/runs/{run_id}")).json()
    assert (run["state"], run["workflow"], run["inputs"]) == ("succeeded", "nightly", {"day": "monday"})
    assert {task["task"]: task["state"] for task in run["tasks"]} == {"extract": "succeeded", "load": "succeeded"}
    task_run = (await api.get(f"/task-runs/{run['tasks'][0]['id']}")).json()
    assert [attempt["outcome"] for attempt in task_run["attempts"]] == ["succeeded"]
    assert (await api.get(f"/runs/{run_id}/logs")).headers["orrery-finished"] == "true"
    assert [item["id"] for item in (await api.get("/runs?workflow=nightly&state=succeeded")).json()["items"]] == [
        run_id
    ]
    assert (await api.get(f"/why?run={run_id}")).status_code == 200


async def test_every_reading_route_reads(api: httpx2.AsyncClient, world: World) -> None:
    run_id = (await api.post(RUN, json={"inputs": {"day": "x"}})).json()["run_id"]
    await world.work()
    for path in (
        "/workflows",
        "/workflows/nightly",
        "/workflows/nightly/deployment",
        "/workflows/nightly/triggers",
        "/workflows/nightly/versions",
        "/workflows/nightly/versions/1",
        "/workflows/nightly/runs",
        "/workflows/nightly/next?count=3",
        f"/runs/{run_id}/task-runs",
        "/schedules",
        "/schedules/preview?schedule=@daily&timezone=Europe/Berlin",
        "/schedules/forecast?hours=168",
        "/ledger",
        "/ledger?workflow=nightly",
        "/why?workflow=nightly",
        "/workers",
        "/queues",
    ):
        response = await api.get(path)
        assert response.status_code == 200, (path, response.text)


async def test_a_plan_reads_and_changes_nothing(api: httpx2.AsyncClient, world: World) -> None:
    before = await contents(world)
    changed = NIGHTLY.replace(b"30 2 * * *", b"30 4 * * *")
    response = await api.post("/workflows:plan", content=changed, headers={**YAML, "Idempotency-Key": "k1"})
    plan = response.json()
    assert (response.status_code, plan["live_version"], plan["version"]) == (200, 1, 2)
    assert sum(trigger["fires"]["appear_total"] for trigger in plan["triggers"]) == 30
    assert (await api.post("/workflows:plan", content=NIGHTLY, headers=YAML)).json()["unchanged"] is True
    assert await contents(world) == before


async def test_pages_neither_repeat_nor_skip_a_run(api: httpx2.AsyncClient) -> None:
    items = [{"workflow": "nightly", "inputs": {"day": str(n)}} for n in range(7)]
    started = (await api.post("/runs:batch", json={"items": items})).json()["items"]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/runs", params=query)).json()
        seen += [run["id"] for run in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(outcome["run_id"] for outcome in started)
    assert len(seen) == len(set(seen)) == 7


async def test_one_key_starts_one_run(api: httpx2.AsyncClient) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await api.post(RUN, json={"inputs": {"day": "x"}}, headers=key)
    second = await api.post(RUN, json={"inputs": {"day": "x"}}, headers=key)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["run_id"] == second.json()["run_id"]
    assert second.headers["idempotent-replayed"] == "true"
    assert len((await api.get("/runs")).json()["items"]) == 1
    other = await api.post(RUN, json={"inputs": {"day": "y"}}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_write_that_starts_nothing_is_answered_twice_under_one_key(api: httpx2.AsyncClient) -> None:
    key = {"Idempotency-Key": "k2"}
    first = await api.post("/workflows/nightly/disable", headers=key)
    assert (await api.post("/workflows/nightly/enable")).json()["enabled"] is True
    again = await api.post("/workflows/nightly/disable", headers=key)
    assert again.content == first.content
    assert (await api.get("/workflows/nightly")).json()["enabled"] is True


async def test_a_run_is_cancelled_once_and_run_again(api: httpx2.AsyncClient) -> None:
    run_id = (await api.post(RUN, json={"inputs": {"day": "x"}})).json()["run_id"]
    assert (await api.post(f"/runs/{run_id}/rerun")).json()["code"] == "still_running"
    assert (await api.post(f"/runs/{run_id}/cancel")).json()["state"] == "cancelled"
    assert (await api.post(f"/runs/{run_id}/cancel")).json()["code"] == "already_finished"
    again = (await api.post(f"/runs/{run_id}/rerun")).json()["run_id"]
    assert (await api.get(f"/runs/{again}")).json()["rerun_of"] == run_id
    assert (await api.post("/workflows/nightly/stop")).json() == {"run_ids": [again]}


async def test_a_failed_task_is_retried_as_a_new_run(api: httpx2.AsyncClient, world: World) -> None:
    run_id = (await api.post(RUN, json={"inputs": {"day": "x"}})).json()["run_id"]
    failed: Outcome = Failed(TaskError("broken", "it broke"), retryable=False)
    await world.work(lambda _: failed)
    run = (await api.get(f"/runs/{run_id}")).json()
    assert run["state"] == "failed"
    task = next(task for task in run["tasks"] if task["state"] == "failed")
    again = (await api.post(f"/task-runs/{task['id']}/retry")).json()["run_id"]
    assert (await api.get(f"/runs/{again}")).json()["rerun_of"] == run_id


async def test_the_life_of_a_draft(api: httpx2.AsyncClient) -> None:
    task = {"name": "b", "shell": "true", "needs": ["a"]}
    assert (await api.post("/workflows/draft/tasks", json=task)).status_code == 201
    assert (await api.post("/workflows/draft/deploy")).json()["version"] == 1
    assert (await api.post("/workflows/draft/deploy")).json()["created"] is False
    changed = await api.put("/workflows/draft/tasks/b", json={"shell": "false", "needs": ["a"]})
    assert changed.json()["draft"]["tasks"]["b"]["shell"] == "false"
    assert (await api.post("/workflows/draft/deploy")).json()["version"] == 2
    assert (await api.post("/workflows/draft/undeploy")).json()["live_version"] is None
    assert (await api.get("/workflows/draft/deployment")).status_code == 404


_REFUSED: list[tuple[str, str, dict[str, Any], int, str]] = [
    # A definition.
    ("POST", "/workflows", {"content": NIGHTLY, "headers": YAML}, 409, "already_exists"),
    ("PUT", "/workflows/other", {"content": NIGHTLY, "headers": YAML}, 422, "name_mismatch"),
    ("POST", "/workflows", {"content": b"{", "headers": JSON}, 400, "malformed_json"),
    ("POST", "/workflows", {"content": b"[]", "headers": JSON}, 422, "object_expected"),
    ("POST", "/workflows", {"content": b"a: &x 1", "headers": YAML}, 422, "invalid_yaml"),
    ("POST", "/workflows", {"content": b"!!python/object/apply:os.system [id]", "headers": YAML}, 422, "invalid_yaml"),
    ("POST", "/workflows", {"content": b"a: 1\n---\nb: 1\n", "headers": YAML}, 422, "invalid_yaml"),
    ("POST", "/workflows", {"content": b"a:\n\t- 1\n", "headers": YAML}, 422, "invalid_yaml"),
    ("POST", "/workflows", {"content": b"#" * 2_000_000, "headers": YAML}, 413, "body_too_large"),
    (
        "POST",
        "/workflows",
        {"content": NIGHTLY, "headers": {"Content-Type": "text/html"}},
        415,
        "unsupported_media_type",
    ),
    ("POST", "/workflows", {"json": {"workflow": "w", "tasks": {"a": {"ssh": 1}}}}, 422, "unknown_executor"),
    (
        "POST",
        "/workflows?deploy=true",
        {
            "json": {
                "workflow": "w",
                "tasks": {"a": {"shell": "x", "needs": ["b"]}, "b": {"shell": "x", "needs": ["a"]}},
            }
        },
        422,
        "cycle",
    ),
    (
        "POST",
        "/workflows?deploy=true",
        {"json": {"workflow": "w", "triggers": [{"schedule": "* * *"}], "tasks": {"a": {"shell": "x"}}}},
        422,
        "invalid_cron",
    ),
    (
        "POST",
        "/workflows?deploy=true",
        {
            "json": {
                "workflow": "w",
                "triggers": [{"schedule": "@daily", "timezone": "Mars/Base"}],
                "tasks": {"a": {"shell": "x"}},
            }
        },
        422,
        "unknown_timezone",
    ),
    ("DELETE", "/workflows/nightly/tasks/extract", {}, 422, "unknown_task"),
    ("POST", "/workflows/nightly/tasks", {"json": {"name": "load", "shell": "x"}}, 409, "already_exists"),
    ("POST", "/workflows/nightly/tasks", {"json": {"shell": "x"}}, 422, "invalid_name"),
    ("PUT", "/workflows/nightly/tasks/zz", {"json": {"shell": "x"}}, 404, "not_found"),
    # Starting.
    ("POST", "/workflows/zz/run", {"json": {}}, 404, "not_found"),
    ("POST", "/workflows/draft/run", {"json": {}}, 409, "not_deployed"),
    ("POST", RUN, {"json": {}}, 422, "missing_input"),
    ("POST", RUN, {"json": {}, "headers": {"Idempotency-Key": "k"}}, 422, "missing_input"),
    ("POST", RUN, {"json": {"inputs": {"day": "x", "more": 1}}}, 422, "unknown_input"),
    ("POST", "/workflows/nightly/trigger/manual", {"json": {"inputs": {"day": "x"}}}, 403, "confirmation_required"),
    ("POST", "/runs:batch", {"json": {"items": []}}, 422, "too_few_items"),
    # What is not there.
    ("POST", f"/runs/{NEVER}/cancel", {}, 404, "not_found"),
    ("POST", f"/runs/{NEVER}/rerun", {}, 404, "not_found"),
    ("POST", f"/task-runs/{NEVER}/retry", {}, 404, "not_found"),
    ("POST", f"/workers/{NEVER}/drain", {}, 404, "not_found"),
    ("POST", "/workflows/zz/deploy", {"headers": {"Idempotency-Key": "k"}}, 404, "not_found"),
    ("POST", "/workflows/nightly/triggers/zz/pause", {}, 404, "not_found"),
    # What is in the way.
    ("DELETE", "/workflows/nightly", {}, 409, "in_use"),
    # Reading.
    ("GET", "/runs?cursor=zz", {}, 422, "invalid_cursor"),
    ("GET", "/ledger?cursor=zz", {}, 422, "invalid_cursor"),
    ("GET", f"/runs/{NEVER}/logs", {}, 404, "not_found"),
    ("GET", "/workflows/zz/next", {}, 404, "not_found"),
    ("GET", "/why?workflow=zz", {}, 404, "not_found"),
    ("GET", "/schedules/preview?schedule=", {}, 422, "invalid_cron"),
    ("GET", "/schedules/preview?schedule=0+0+30+2+*", {}, 422, "never_fires"),
    ("GET", "/schedules/preview?schedule=@daily&timezone=Mars", {}, 422, "unknown_timezone"),
]


@pytest.mark.parametrize(("method", "path", "request_", "status", "code"), _REFUSED)
async def test_what_is_refused_changes_nothing(
    api: httpx2.AsyncClient, world: World, method: str, path: str, request_: dict[str, Any], status: int, code: str
) -> None:
    before = await contents(world)
    response = await api.request(method, path, **request_)
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert await contents(world) == before


async def test_a_foreign_project_sees_nothing(api: httpx2.AsyncClient, world: World) -> None:
    run_id = (await api.post(RUN, json={"inputs": {"day": "x"}})).json()["run_id"]
    known = await api.get(f"/runs/{run_id}")
    await world.write("insert into projects (id, name, created_at) values (?, ?, ?)", NEVER, "other", world.clock.now())
    await world.write("update workflows set project_id = ?", NEVER)
    await world.write("update runs set project_id = ?", NEVER)
    hidden, absent = await api.get(f"/runs/{run_id}"), await api.get(f"/runs/{NEVER}")
    assert (known.status_code, hidden.status_code) == (200, 404)
    assert hidden.json() | {"request_id": ""} == absent.json() | {"request_id": ""}
    assert (await api.get("/runs")).json()["items"] == []
    assert (await api.post(f"/runs/{run_id}/cancel")).status_code == 404
    assert (await api.get("/workflows/nightly")).status_code == 404


async def hourly(api: httpx2.AsyncClient, world: World, hours: int = 5) -> dict[str, Any]:
    """The body of a backfill of so many hours of the workflow ``hourly``, which is deployed by this."""
    assert (await api.post("/workflows?deploy=true", content=HOURLY, headers=YAML)).status_code == 201
    now = world.clock.now()
    return {"workflow": "hourly", "from": (now - timedelta(hours=hours)).isoformat(), "to": now.isoformat()}


async def test_a_backfill_is_previewed_made_followed_and_its_runs_are_found(
    api: httpx2.AsyncClient,
    world: World,
) -> None:
    body = await hourly(api, world)
    preview = (await api.post("/backfills", json={**body, "dry_run": True})).json()
    assert (preview["trigger"], preview["due_times"], preview["missing"]) == ("each-hour", 5, 5)
    assert (await api.get("/backfills")).json()["items"] == []
    made = [await api.post("/backfills", json=body, headers={"Idempotency-Key": "one"}) for _ in range(2)]
    assert [response.status_code for response in made] == [202, 202]
    assert made[0].json() == made[1].json()
    path = f"/backfills/{made[0].json()['id']}"
    await world.advance_backfills.execute(await world.lead())
    await world.work()
    assert (await api.post(f"{path}/pause")).json()["state"] == "paused"
    assert (await api.post(f"{path}/resume")).json()["state"] == "running"
    await world.advance_backfills.execute(await world.lead())
    shown = (await api.get(path)).json()
    assert (shown["total"], shown["started"], shown["runs"]) == (5, 2, {"running": 1, "succeeded": 1})
    listed = (await api.get("/backfills?workflow=hourly")).json()["items"]
    assert [(item["id"], item["runs"]) for item in listed] == [(shown["id"], None)]
    runs = (await api.get(f"/runs?backfill={shown['id']}")).json()["items"]
    assert [(run["backfill_id"], run["trigger"]) for run in runs] == [(shown["id"], None)] * 2
    assert (await api.get("/runs?backfill=abc")).json()["items"] == []
    assert (await api.post(f"{path}/cancel")).status_code == 202
    await world.advance_backfills.execute(await world.lead())
    over = (await api.get(path)).json()
    assert (over["state"], over["runs"]) == ("cancelled", {"succeeded": 1, "cancelled": 1})
    again = await api.post(f"{path}/resume")
    assert (again.status_code, again.json()["code"]) == (409, "already_finished")


async def test_what_is_refused_makes_nothing(api: httpx2.AsyncClient, world: World) -> None:
    body = await hourly(api, world)
    now = world.clock.now()
    backwards = {"from": body["to"], "to": body["from"]}
    ten_years = {"workflow": "minutely", "from": (now - timedelta(days=3_650)).isoformat()}
    minutely = HOURLY.replace(b"hourly", b"minutely").replace(b"0 * * * *", b"* * * * *")
    assert (await api.post("/workflows?deploy=true", content=minutely, headers=YAML)).status_code == 201
    before = await contents(world)
    for changed, status, code in (
        (backwards, 422, "invalid_window"),
        ({"to": (now + timedelta(hours=1)).isoformat()}, 422, "in_the_future"),
        ({"from": (now - timedelta(days=3_661)).isoformat()}, 422, "range_too_long"),
        (ten_years, 422, "too_many_runs"),
        ({"workflow": "nobody"}, 422, "reference_not_found"),
        ({"trigger": "nobody"}, 422, "reference_not_found"),
        ({"workflow": "draft"}, 409, "not_deployed"),
    ):
        for dry_run in (True, False):
            response = await api.post("/backfills", json={**body, **changed, "dry_run": dry_run})
            assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert "about 5,25" in (await api.post("/backfills", json={**body, **ten_years})).json()["detail"]
    assert await contents(world) == before
    assert (await api.post("/backfills", json=body)).status_code == 202
    overlapping = await api.post("/backfills", json=body)
    assert (overlapping.status_code, overlapping.json()["code"]) == (409, "overlapping_backfill")


def document(kind: str) -> str:
    """The only block of this kind in the page about backfills."""
    (block,) = re.findall(
        rf"^```{kind}\n(.*?)^```$", (ROOT / "docs/concepts/backfill.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return str(block)


async def test_the_example_of_the_page_about_backfills_is_as_it_says(api: httpx2.AsyncClient, world: World) -> None:
    assert (await api.post("/workflows?deploy=true", content=document("yaml"), headers=YAML)).status_code == 201
    for minutes in (60, 60, 330, 30):
        world.clock.advance(minutes * 60)
        await world.fire_due_schedules.execute(await world.lead())
        for claimed in await world.claim():
            world.clock.advance(10)
            await world.finish(claimed)
            world.clock.advance(-10)
    world.clock.advance(30 * 60)
    await world.write("update workers set state = 'gone'")
    await world.new_worker()
    body = json.loads(document("json"))
    preview = (await api.post("/backfills", json=body)).json()
    with canned_server() as server:
        server.on("POST /backfills", (200, preview))
        orrery = CommandLine({"ORRERY_URL": server.url, "ORRERY_API_KEY": "ork_test"})
        shown = await asyncio.to_thread(orrery, *shlex.split(document("sh"))[1:])
        assert server.received[0].json == body
    assert shown.out == document("text")
    made = (await api.post("/backfills", json={**body, "dry_run": False})).json()
    for _ in range(4):
        await world.advance_backfills.execute(await world.lead())
        await world.work()
    over = (await api.get(f"/backfills/{made['id']}")).json()
    assert (over["state"], over["started"], over["skipped"]) == ("finished", 5, 3)
    hours = {run["inputs"]["hour"] for run in (await api.get(f"/runs?backfill={made['id']}")).json()["items"]}
    assert hours == {f"2026-11-02T{hour}:00:00+00:00" for hour in range(12, 17)}

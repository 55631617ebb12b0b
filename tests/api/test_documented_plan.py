"""The examples of the page about plans and forecasts, done as it says."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest_asyncio

from orrery.cli.forecast import forecast_lines
from orrery.cli.plan import plan_lines
from scheduler_api.dependencies import ApiServices
from scheduler_api.main import create_app
from scheduler_application.ports.rows import WorkerRow
from tests.api.fakes import FakeReadiness
from tests.api.test_over_a_real_store import YAML, WorldUseCases
from tests.architecture.source import ROOT
from tests.support.flows import flow
from tests.support.world import World, open_world, sqlite_url

PAGE = ROOT / "docs/concepts/plan-and-forecast.md"


def example(name: str) -> str:
    """What the page shows under a mark."""
    found = re.search(rf"<!-- example: {name} -->\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None, f"the page has no example '{name}'"
    return found[1]


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(sqlite_url(tmp_path)) as world:
        yield world


@pytest_asyncio.fixture
async def api(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    key = await world.ensure_admin.execute()
    assert key is not None
    services = ApiServices(WorldUseCases(world), world.reader, world.live, FakeReadiness(), lambda: b"")
    transport = httpx2.ASGITransport(app=create_app(services))
    headers = {"Authorization": f"Bearer {key.text}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://orrery.test/api/v1", headers=headers) as client:
        yield client


async def test_the_documented_change_has_the_documented_plan(api: httpx2.AsyncClient) -> None:
    assert (await api.post("/workflows?deploy=true", content=example("before"), headers=YAML)).status_code == 201
    plan = (await api.post("/workflows:plan", content=example("after"), headers=YAML)).json()
    assert "".join(f"{line}\n" for line in plan_lines(plan)) == example("plan")


async def test_the_documented_herd_has_the_documented_forecast(api: httpx2.AsyncClient, world: World) -> None:
    hourly = {"name": "hourly", "schedule": "0 * * * *"}
    for number in range(1, 7):
        await world.deploy(flow(name=f"sync-{number}", triggers=[hourly]))
    await world.deploy(flow(name="report", triggers=[{"name": "nightly", "schedule": "0 12 * * *"}]))
    await world.register_worker.execute(WorkerRow(world.ids.new(), "node-1", "0", ["default"], 4))
    # Where an H comes to lie depends on the identity of its trigger, which is chance: the page's were these.
    for number in range(1, 7):
        fixed = f"0192f000-0000-7000-8000-00000000000{number}"
        workflow = f"select id from workflows where name = 'sync-{number}'"
        await world.write(f"update triggers set id = $1 where workflow_id = ({workflow})", fixed)
    forecast = (await api.get("/schedules/forecast?hours=6")).json()
    assert "".join(f"{line}\n" for line in forecast_lines(forecast, 80, "·░▒▓█")) == example("forecast")

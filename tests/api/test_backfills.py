"""Backfills over HTTP: which bodies are taken, and what is said of the others."""

from typing import Any

import httpx2
import pytest

from tests.api.fakes import BACKFILL_ID, RUN_ID, Installation

PATH = "/api/v1/backfills"
DAY = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00+01:00"}


async def test_a_body_becomes_a_command(client: httpx2.AsyncClient, installation: Installation) -> None:
    more = {"trigger": "each-hour", "only_missing": True, "max_parallel": 4, "priority": "normal"}
    response = await client.post(PATH, json={"workflow": "nightly", **DAY, **more})
    assert (response.status_code, response.headers["location"]) == (202, f"{PATH}/{BACKFILL_ID}")
    (command,) = installation.commands("start_backfill")
    assert (command.from_at.isoformat(), command.to_at.isoformat()) == (
        "2026-03-01T00:00:00+00:00",
        "2026-03-01T23:00:00+00:00",
    )
    assert (command.trigger, command.only_missing, command.max_parallel, command.priority) == (
        "each-hour",
        True,
        4,
        "normal",
    )
    assert installation.commands("plan_backfill") == []


async def test_a_dry_run_makes_nothing(client: httpx2.AsyncClient, installation: Installation) -> None:
    response = await client.post(PATH, json={"workflow": "nightly", **DAY, "dry_run": True})
    assert (response.status_code, response.json()["due_times"]) == (200, 24)
    assert installation.commands("start_backfill") == []


@pytest.mark.parametrize(
    ("changed", "code", "loc"),
    [
        ({"from": "2026-03-01"}, "invalid_instant", "from"),
        ({"to": "2026-03-01T00:00:00"}, "invalid_instant", "to"),
        ({"from": 5}, "string_expected", "from"),
        ({"to": None}, "string_expected", "to"),
        ({"max_parallel": 0}, "number_out_of_range", "max_parallel"),
        ({"max_parallel": 101}, "number_out_of_range", "max_parallel"),
        ({"max_parallel": "4"}, "integer_expected", "max_parallel"),
        ({"only_missing": 1}, "boolean_expected", "only_missing"),
        ({"priority": "urgent"}, "not_in_list", "priority"),
        ({"workflow": ""}, "too_short", "workflow"),
        ({"state": "paused"}, "read_only_field", "state"),
        ({"start": "2026-03-01T00:00:00Z"}, "unknown_field", "start"),
    ],
)
async def test_a_wrong_field_is_named(
    client: httpx2.AsyncClient, installation: Installation, changed: dict[str, Any], code: str, loc: str
) -> None:
    response = await client.post(PATH, json={"workflow": "nightly", **DAY, **changed})
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert response.json()["errors"][0]["loc"] == ["body", loc]
    assert installation.commands("start_backfill") == []


async def test_all_that_is_missing_is_said_at_once(client: httpx2.AsyncClient) -> None:
    response = await client.post(PATH, json={"max_parallel": 101})
    codes = {tuple(error["loc"]): error["code"] for error in response.json()["errors"]}
    assert codes == {
        ("body", "workflow"): "missing_field",
        ("body", "from"): "missing_field",
        ("body", "to"): "missing_field",
        ("body", "max_parallel"): "number_out_of_range",
    }


@pytest.mark.parametrize("action", ["", "/pause", "/resume", "/cancel"])
async def test_an_id_that_is_none_is_unknown(client: httpx2.AsyncClient, action: str) -> None:
    send = client.post if action else client.get
    for unknown in ("abc", "..%2f", "1" * 300):
        assert (await send(f"{PATH}/{unknown}{action}")).status_code == 404
    assert (await client.get(f"{PATH}/{RUN_ID}")).status_code == 404


async def test_runs_are_filtered_by_backfill(client: httpx2.AsyncClient, installation: Installation) -> None:
    await client.get(f"/api/v1/runs?backfill={BACKFILL_ID}")
    ((_, (where, _)),) = [asked for asked in installation.reader.asked if asked[0] == "runs"]
    assert where.backfill == BACKFILL_ID

"""What a deploy would change, and what the clock will start, over HTTP."""

import httpx2
import pytest

from scheduler_domain.errors import InvalidDefinition, Problem
from tests.api.fakes import Installation

PLAN = "/api/v1/workflows:plan"
FORECAST = "/api/v1/schedules/forecast"
DOCUMENT = b"workflow: nightly\ntasks: {a: {shell: 'true'}}\n"
YAML = {"Content-Type": "application/yaml"}


async def test_a_plan_takes_what_a_deploy_takes(client: httpx2.AsyncClient, installation: Installation) -> None:
    response = await client.post(f"{PLAN}?source=/code", content=DOCUMENT, headers=YAML)
    assert response.status_code == 200
    assert response.json()["planned_until"] == "2026-03-31T12:00:00Z"
    assert (await client.post(PLAN, json={"workflow": "nightly"})).json()["version"] == 1
    one, two = installation.commands("plan_workflow")
    assert (one.text, one.format, one.source) == (DOCUMENT, "yaml", "/code")
    assert (two.text, two.format, two.source) == (b'{"workflow":"nightly"}', "json", None)


async def test_a_plan_of_a_wrong_document_names_every_fault(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    problems = [
        Problem(("tasks", "a"), "unknown_key", "unknown key", 2, 9),
        Problem(("triggers",), "invalid_cron", "no"),
    ]
    installation.answers("plan_workflow", InvalidDefinition(problems))
    response = await client.post(PLAN, content=DOCUMENT, headers=YAML)
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
    assert [(error["code"], error.get("line")) for error in response.json()["errors"]] == [
        ("unknown_key", 2),
        ("invalid_cron", None),
    ]


@pytest.mark.parametrize(
    ("query", "body", "kind", "status", "code"),
    [
        ("", b"{", "application/json", 400, "malformed_json"),
        ("", b"[]", "application/json", 422, "object_expected"),
        ("", DOCUMENT, "text/html", 415, "unsupported_media_type"),
        ("?deploy=true", DOCUMENT, "application/yaml", 422, "unknown_parameter"),
        ("?source=", DOCUMENT, "application/yaml", 422, "too_short"),
    ],
)
async def test_what_cannot_be_planned_is_refused(
    client: httpx2.AsyncClient, installation: Installation, query: str, body: bytes, kind: str, status: int, code: str
) -> None:
    response = await client.post(PLAN + query, content=body, headers={"Content-Type": kind})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert installation.commands("plan_workflow") == []


async def test_a_plan_keeps_no_idempotency_key(client: httpx2.AsyncClient, installation: Installation) -> None:
    """It changes nothing, so the same question later may have another answer."""
    for _ in range(2):
        response = await client.post(PLAN, content=DOCUMENT, headers={**YAML, "Idempotency-Key": "k"})
        assert "idempotent-replayed" not in response.headers
    assert len(installation.commands("plan_workflow")) == 2
    assert installation.use_cases.made["idempotency_keys"].kept == {}


async def test_a_forecast_is_asked_for_hours_and_a_queue(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    body = (await client.get(f"{FORECAST}?hours=48&queue=gpu")).json()
    assert (body["starts"], body["peak"]["at"]) == ([0, 1], "2026-03-01T12:01:00Z")
    await client.get(FORECAST)
    asked = [(command.hours, command.queue) for command in installation.commands("forecast_starts")]
    assert asked == [(48, "gpu"), (24, None)]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("hours=0", "number_out_of_range"),
        ("hours=169", "number_out_of_range"),
        ("hours=1d", "integer_expected"),
        ("queue=", "too_short"),
        ("minutes=5", "unknown_parameter"),
    ],
)
async def test_a_forecast_that_cannot_be_made_is_refused(client: httpx2.AsyncClient, query: str, code: str) -> None:
    response = await client.get(f"{FORECAST}?{query}")
    assert (response.status_code, response.json()["code"]) == (422, code)


@pytest.mark.parametrize(("method", "path"), [("POST", PLAN), ("GET", FORECAST)])
async def test_both_need_a_credential(stranger: httpx2.AsyncClient, method: str, path: str) -> None:
    assert (await stranger.request(method, path)).status_code == 401

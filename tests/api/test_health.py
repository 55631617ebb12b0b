"""Probes, figures, the page at the root and the description of the API."""

import base64
import hashlib
import re
from typing import Any

import httpx2
import pytest
from jsonschema_rs import validator_for

from tests.api.fakes import RUN_ID, TASK_RUN_ID, Installation


async def test_a_process_lives_even_when_nothing_else_does(
    stranger: httpx2.AsyncClient, installation: Installation
) -> None:
    installation.readiness.parts = [("store", False, "the store does not answer")]
    assert (await stranger.get("/livez")).status_code == 200


@pytest.mark.parametrize("path", ["/readyz", "/health"])
async def test_readiness_names_the_part_that_fails(
    stranger: httpx2.AsyncClient, installation: Installation, path: str
) -> None:
    assert (await stranger.get(path)).json()["status"] == "ready"
    installation.readiness.parts = [("store", True, "answers"), ("broker", False, "cannot be reached")]
    response = await stranger.get(path)
    assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
    assert response.headers["retry-after"] == "1"
    assert response.json()["errors"] == [{"loc": ["broker"], "code": "not_ready", "msg": "cannot be reached"}]
    assert [check["ok"] for check in response.json()["checks"]] == [True, False]


async def test_figures_are_in_prometheus_text(stranger: httpx2.AsyncClient) -> None:
    response = await stranger.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert response.text == "orrery_up 1\n"


async def test_the_page_needs_nothing_from_elsewhere_and_its_policy_allows_its_style(
    stranger: httpx2.AsyncClient,
) -> None:
    response = await stranger.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "/api/v1/openapi.json" in response.text
    assert not re.findall(r"(?:src|href)=\"(?!/)", response.text)
    style = re.findall(r"<style>(.*?)</style>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in response.headers["content-security-policy"]
    assert "unsafe" not in response.headers["content-security-policy"]


async def _schema(client: httpx2.AsyncClient) -> dict[str, Any]:
    schema: dict[str, Any] = (await client.get("/api/v1/openapi.json")).json()
    return schema


async def test_every_operation_has_words_a_credential_and_problems(client: httpx2.AsyncClient) -> None:
    schema = await _schema(client)
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            assert operation.get("summary"), (method, path)
            if path.startswith("/api/"):
                assert operation["security"] == [{"key": []}]
                assert operation["responses"]["401"]["content"].keys() == {"application/problem+json"}
                named = {parameter["name"] for parameter in operation["parameters"]}
                assert set(re.findall(r"{(\w+)}", path)) <= named, path
            if path.startswith("/api/") and method != "get":
                assert "Idempotency-Key" in named


async def test_the_description_has_every_path_of_the_interface(client: httpx2.AsyncClient) -> None:
    paths = (await _schema(client))["paths"]
    for path in (
        "/workflows",
        "/workflows/{workflow}",
        "/workflows/{workflow}/tasks/{task}",
        "/workflows/{workflow}/deploy",
        "/workflows/{workflow}/run",
        "/workflows/{workflow}/trigger/manual",
        "/runs:batch",
        "/runs/{run}/logs",
        "/task-runs/{task_run}/retry",
        "/schedules/preview",
        "/ledger",
        "/why",
        "/workers/{worker}/drain",
        "/queues",
        "/stream",
    ):
        assert f"/api/v1{path}" in paths


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/workflows", "/workflows"),
        ("/workflows/nightly", "/workflows/{workflow}"),
        ("/workflows/nightly/deployment", "/workflows/{workflow}/deployment"),
        ("/workflows/nightly/triggers", "/workflows/{workflow}/triggers"),
        ("/workflows/nightly/versions", "/workflows/{workflow}/versions"),
        ("/workflows/nightly/next", "/workflows/{workflow}/next"),
        ("/runs", "/runs"),
        (f"/runs/{RUN_ID}", "/runs/{run}"),
        (f"/task-runs/{TASK_RUN_ID}", "/task-runs/{task_run}"),
        ("/schedules", "/schedules"),
        ("/schedules/preview?schedule=@daily", "/schedules/preview"),
        ("/ledger", "/ledger"),
        ("/why?workflow=nightly", "/why"),
        ("/workers", "/workers"),
        ("/queues", "/queues"),
    ],
)
async def test_answers_are_what_the_description_says(client: httpx2.AsyncClient, path: str, template: str) -> None:
    schema = await _schema(client)
    answer = schema["paths"][f"/api/v1{template}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    validator = validator_for({**answer, "components": schema["components"]})
    assert [str(error) for error in validator.iter_errors((await client.get(f"/api/v1{path}")).json())] == []


async def test_refusals_are_what_the_description_says(client: httpx2.AsyncClient) -> None:
    schema = await _schema(client)
    validator = validator_for(schema["components"]["schemas"]["Problem"])
    for path in ("/api/v1/runs/x", "/api/v1/runs?limit=0", "/nowhere"):
        assert [str(error) for error in validator.iter_errors((await client.get(path)).json())] == []

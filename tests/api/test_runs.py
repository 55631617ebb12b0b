"""Runs over HTTP: started once, listed, cancelled, started again."""

from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from scheduler_application.errors import Conflict, Forbidden, NotFound
from scheduler_domain.errors import InvalidDefinition, Problem
from tests.api.fakes import RUN_ID, TASK_RUN_ID, Installation

RUN = "/api/v1/workflows/nightly/run"
MANUAL = "/api/v1/workflows/nightly/trigger/manual"
BATCH = "/api/v1/runs:batch"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_run_is_accepted_with_its_id(client: httpx2.AsyncClient, installation: Installation) -> None:
    response = await client.post(RUN, json={"inputs": {"day": "x"}, "priority": "high"})
    assert (response.status_code, response.json()) == (202, {"run_id": RUN_ID, "state": "running", "replayed": False})
    assert response.headers["location"] == f"/api/v1/runs/{RUN_ID}"
    command = installation.commands("start_run")[0]
    assert (command.workflow, command.inputs, command.priority) == ("nightly", {"day": "x"}, "high")
    assert (command.trigger, command.idempotency_key) == (None, None)


async def test_no_body_is_no_inputs(client: httpx2.AsyncClient, installation: Installation) -> None:
    assert (await client.post(RUN)).status_code == 202
    assert installation.commands("start_run")[0].inputs == {}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("there is no such workflow"), 404, "not_found"),
        (Conflict("never deployed", code="not_deployed"), 409, "not_deployed"),
        (Conflict("disabled", code="disabled"), 409, "disabled"),
        (Conflict("one is running", code="skipped"), 409, "skipped"),
        (Forbidden("confirm", code="confirmation_required"), 403, "confirmation_required"),
        (InvalidDefinition([Problem(("inputs", "day"), "missing_input", "day is missing")]), 422, "missing_input"),
    ],
)
async def test_what_cannot_be_started_says_why(
    client: httpx2.AsyncClient, installation: Installation, error: Exception, status: int, code: str
) -> None:
    installation.answers("start_run", error)
    response = await client.post(RUN, json={})
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_a_wrong_input_is_named_by_its_place_in_the_body(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    installation.answers(
        "start_run", InvalidDefinition([Problem(("inputs", "day"), "missing_input", "day is missing")])
    )
    response = await client.post(RUN, json={})
    assert response.json()["errors"][0]["loc"] == ["body", "inputs", "day"]


async def test_the_manual_trigger_carries_its_confirmation(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    assert (await client.post(MANUAL, json={"confirmation": True})).status_code == 202
    command = installation.commands("start_run")[0]
    assert (command.trigger, command.confirmation) == ("manual", True)


@pytest.mark.parametrize(("given", "kept"), [(TRACE, TRACE), ("00-zz-1-01", None), ("", None), (TRACE + "0", None)])
async def test_a_valid_trace_travels_with_the_run(
    client: httpx2.AsyncClient, installation: Installation, given: str, kept: str | None
) -> None:
    await client.post(RUN, json={}, headers={"traceparent": given})
    assert installation.commands("start_run")[0].traceparent == kept


async def test_each_item_of_a_batch_has_its_own_outcome(client: httpx2.AsyncClient) -> None:
    items: list[Any] = [
        {"workflow": "nightly", "inputs": {"n": 1}},
        {"workflow": "unknown"},
        {"inputs": {}},
        {"workflow": "nightly", "priority": "x"},
        7,
        {"workflow": "nightly"},
    ]
    response = await client.post(BATCH, json={"items": items})
    outcomes = response.json()["items"]
    assert response.status_code == 200
    assert [outcome["status"] for outcome in outcomes] == [202, 404, 422, 422, 422, 202]
    assert outcomes[0]["run_id"] == RUN_ID
    assert outcomes[1]["problem"]["code"] == "not_found"
    assert outcomes[2]["problem"]["errors"][0]["loc"] == ["body", "items", 2, "workflow"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"items": []}, "too_few_items"),
        ({"items": [{"workflow": "nightly"}] * 1_001}, "too_many_items"),
        ({"items": {}}, "array_expected"),
        ({}, "missing_field"),
        ({"items": [{"workflow": "nightly"}], "all": True}, "unknown_field"),
    ],
)
async def test_a_batch_of_the_wrong_shape_starts_nothing(
    client: httpx2.AsyncClient, installation: Installation, body: Any, code: str
) -> None:
    response = await client.post(BATCH, json=body)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert installation.commands("start_runs") == []


async def test_an_unforeseen_error_of_one_item_is_not_the_others(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    installation.answers("start_runs", [ValueError("secret detail"), Conflict("off", code="disabled")])
    response = await client.post(BATCH, json={"items": [{"workflow": "nightly"}] * 2})
    assert [outcome["status"] for outcome in response.json()["items"]] == [500, 409]
    assert "secret" not in response.text


async def test_a_batch_under_one_key_gives_each_item_its_own(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    items = [{"workflow": "nightly"}, {"workflow": "nightly", "idempotency_key": "mine"}, {"workflow": "nightly"}]
    for _ in range(2):
        await client.post(BATCH, json={"items": items}, headers={"Idempotency-Key": "batch-1"})
    first, second = installation.commands("start_runs")
    keys = [command.idempotency_key for command in first]
    assert keys[1] == "mine"
    assert len({*keys}) == 3
    assert [(c.idempotency_key, c.request_hash) for c in first] == [(c.idempotency_key, c.request_hash) for c in second]


async def test_filters_reach_the_reader(client: httpx2.AsyncClient, installation: Installation) -> None:
    query = "workflow=nightly&state=running,failed&state=pending&trigger=t&created_after=2026-01-01T01:00:00%2B01:00"
    assert (await client.get(f"/api/v1/runs?{query}&created_before=2026-01-02T00:00:00Z")).status_code == 200
    where, _ = installation.reader.asked[0][1]
    assert (where.workflow, where.states, where.trigger) == ("nightly", ("running", "failed", "pending"), "t")
    assert where.created_after == datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_plus_sign_that_was_not_encoded_is_understood(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    await client.get("/api/v1/runs?created_after=2026-01-01T01:00:00+01:00")
    assert installation.reader.asked[0][1][0].created_after == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-02-30T00:00:00Z",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "1767225600000",
        "now-1d",
        "2026-13-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "2026-01-01T00:00:00+99:99",
        "2026-W01-1T00:00:00Z",
        "",
    ],
)
async def test_a_time_without_offset_or_outside_the_calendar_is_422(client: httpx2.AsyncClient, value: str) -> None:
    response = await client.get("/api/v1/runs", params={"created_after": value})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_instant")


@pytest.mark.parametrize("state", ["done", "running,", "", "RUNNING", "running;failed"])
async def test_an_unknown_state_is_422_with_the_list(client: httpx2.AsyncClient, state: str) -> None:
    response = await client.get("/api/v1/runs", params={"state": state})
    assert (response.status_code, response.json()["code"]) == (422, "not_in_list")
    assert "timed_out" in response.json()["detail"]


async def test_a_run_is_cancelled_and_shown(client: httpx2.AsyncClient, installation: Installation) -> None:
    response = await client.post(f"/api/v1/runs/{RUN_ID}/cancel")
    assert (response.status_code, response.json()["state"]) == (202, "cancelling")
    installation.answers("cancel_run", Conflict("it has succeeded", code="already_finished"))
    response = await client.post(f"/api/v1/runs/{RUN_ID}/cancel")
    assert (response.status_code, response.json()["code"]) == (409, "already_finished")


async def test_a_rerun_says_what_it_repeats(client: httpx2.AsyncClient, installation: Installation) -> None:
    assert (await client.post(f"/api/v1/runs/{RUN_ID}/rerun", json={"from_failed": True})).status_code == 202
    assert (await client.post(f"/api/v1/runs/{RUN_ID}/rerun")).status_code == 202
    assert [command.from_failed for command in installation.commands("rerun_run")] == [True, False]
    response = await client.post(f"/api/v1/runs/{RUN_ID}/rerun", json={"from_failed": "yes"})
    assert (response.status_code, response.json()["code"]) == (422, "boolean_expected")
    installation.answers("rerun_run", Conflict("it is running", code="still_running"))
    assert (await client.post(f"/api/v1/runs/{RUN_ID}/rerun")).status_code == 409


async def test_task_runs_are_shown_cancelled_and_retried(client: httpx2.AsyncClient) -> None:
    path = f"/api/v1/task-runs/{TASK_RUN_ID}"
    assert (await client.get(path)).json()["task"] == "load"
    assert (await client.post(f"{path}/cancel")).json()["state"] == "cancelled"
    assert (await client.post(f"{path}/retry")).json()["run_id"] == RUN_ID


async def test_a_workflow_is_stopped(client: httpx2.AsyncClient, installation: Installation) -> None:
    response = await client.post("/api/v1/workflows/nightly/stop")
    assert (response.status_code, response.json()) == (202, {"run_ids": [RUN_ID]})

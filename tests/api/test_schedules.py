"""Due times over HTTP: previews, pauses, the ledger and its reasons; workers and queues."""

from datetime import UTC, datetime

import httpx2
import pytest

from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.schedule.dst import DstPolicy, GapRule, RepeatRule
from tests.api.fakes import RUN_ID, WORKER_ID, Installation

PREVIEW = "/api/v1/schedules/preview"


async def test_a_preview_needs_no_workflow(client: httpx2.AsyncClient, installation: Installation) -> None:
    query = {"schedule": "30 2 * * *", "timezone": "Europe/Berlin", "after": "2026-03-28T00:00:00Z", "count": "3"}
    response = await client.get(PREVIEW, params=query)
    assert response.json() == {"fires": [{"at": "2026-03-01T12:00:00Z", "local": "2026-03-01T12:00:00Z", "note": None}]}
    command = installation.commands("preview_schedule")[0]
    assert (command.kind, command.expression, command.timezone) == ("schedule", "30 2 * * *", "Europe/Berlin")
    assert (command.after, command.count) == (datetime(2026, 3, 28, tzinfo=UTC), 3)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "missing_parameter"),
        ({"schedule": "@daily", "every": "1h"}, "unknown_parameter"),
        ({"schedule": "* " * 200}, "too_long"),
        ({"schedule": "@daily", "timezone": "x" * 65}, "too_long"),
        ({"schedule": "@daily", "count": "0"}, "number_out_of_range"),
        ({"schedule": "@daily", "count": "101"}, "number_out_of_range"),
        ({"schedule": "@daily", "after": "9999-01-01T00:00:00Z"}, "invalid_instant"),
        ({"schedule": "@daily", "from": "2026-01-01T00:00:00Z"}, "unknown_parameter"),
    ],
)
async def test_a_preview_of_what_cannot_be_asked_is_422(
    client: httpx2.AsyncClient, installation: Installation, params: dict[str, str], code: str
) -> None:
    response = await client.get(PREVIEW, params=params)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert installation.commands("preview_schedule") == []


async def test_what_can_never_be_due_is_422_and_points_at_the_query(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    problem = Problem(("schedule",), "never_fires", "has no date in the next 10 years")
    installation.answers("preview_schedule", InvalidDefinition([problem]))
    response = await client.get(PREVIEW, params={"schedule": "0 0 30 2 *"})
    assert (response.status_code, response.json()["code"]) == (422, "never_fires")
    assert response.json()["errors"][0]["loc"] == ["query", "schedule"]


async def test_triggers_are_paused_one_or_all(client: httpx2.AsyncClient, installation: Installation) -> None:
    base = "/api/v1/workflows/nightly"
    assert (await client.post(f"{base}/pause")).json()["items"][0]["paused"] is True
    assert (await client.post(f"{base}/triggers/schedule-1/pause")).status_code == 200
    assert (await client.post(f"{base}/triggers/schedule-1/resume")).json()["items"][0]["paused"] is False
    assert [command.trigger for command in installation.commands("pause_triggers")] == [None, "schedule-1"]


async def test_the_next_due_times_of_a_workflow(client: httpx2.AsyncClient, installation: Installation) -> None:
    response = await client.get("/api/v1/workflows/nightly/next?count=2")
    assert response.json()["items"][0]["fires"][0]["at"] == "2026-03-01T12:00:00Z"
    assert installation.commands("next_fires")[0].count == 2


async def test_the_ledger_is_read_between_instants(client: httpx2.AsyncClient, installation: Installation) -> None:
    query = "workflow=nightly&due_from=2026-01-01T00:00:00Z&due_to=2026-02-01T00:00:00Z"
    assert (await client.get(f"/api/v1/ledger?{query}")).json()["items"][0]["outcome"] == "fired"
    assert installation.reader.asked[0][1]["workflow"] == "nightly"
    swapped = "due_from=2026-02-01T00:00:00Z&due_to=2026-01-01T00:00:00Z"
    assert (await client.get(f"/api/v1/ledger?{swapped}")).json()["code"] == "invalid_window"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("workflow=nightly&at=2026-01-01T00:00:00Z", 200, None),
        (f"run={RUN_ID}&task=load", 200, None),
        ("", 422, "exactly_one_of"),
        (f"workflow=nightly&run={RUN_ID}", 422, "exactly_one_of"),
        ("workflow=nightly&task=load", 422, "unknown_parameter"),
        (f"run={RUN_ID}&at=2026-01-01T00:00:00Z", 422, "unknown_parameter"),
        ("run=abc", 404, "not_found"),
    ],
)
async def test_why_is_asked_of_a_workflow_or_of_a_run(
    client: httpx2.AsyncClient, query: str, status: int, code: str | None
) -> None:
    response = await client.get(f"/api/v1/why?{query}")
    assert (response.status_code, response.json().get("code")) == (status, code)


async def test_workers_and_queues_are_listed_and_a_worker_is_drained(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    assert (await client.get("/api/v1/workers")).json()["items"][0]["id"] == WORKER_ID
    assert (await client.get("/api/v1/queues")).json()["items"][0]["name"] == "default"
    assert (await client.get("/api/v1/schedules")).json()["items"][0]["kind"] == "schedule"
    assert (await client.post(f"/api/v1/workers/{WORKER_ID}/drain")).status_code == 202
    assert (await client.post("/api/v1/workers/host-1/drain")).status_code == 404
    assert [command.worker_id for command in installation.commands("drain_worker")] == [WORKER_ID]


@pytest.mark.parametrize(
    ("query", "dst"),
    [
        ("gap=skip", DstPolicy(GapRule.SKIP)),
        ("repeat=twice", DstPolicy(repeat=RepeatRule.TWICE)),
        ("gap=run_after&repeat=once", DstPolicy(GapRule.RUN_AFTER, RepeatRule.ONCE)),
    ],
)
async def test_a_preview_takes_what_the_schedule_says_about_clock_changes(
    client: httpx2.AsyncClient, installation: Installation, query: str, dst: DstPolicy
) -> None:
    assert (await client.get(f"/api/v1/schedules/preview?schedule=@daily&{query}")).status_code == 200
    assert installation.commands("preview_schedule")[0].dst == dst


async def test_a_preview_refuses_another_word_about_clock_changes(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v1/schedules/preview?schedule=@daily&gap=twice")
    assert answer.status_code == 422
    assert "run_after, skip" in answer.text

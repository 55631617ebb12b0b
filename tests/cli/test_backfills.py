"""Backfills from the command line."""

import json
from typing import Any

import pytest

from tests.support.canned_server import CannedServer
from tests.support.command_line import CommandLine

ID = "0190aaaa-0000-7000-8000-000000000001"
RANGE = ("--from", "2026-03-01T00:00:00Z", "--to", "2026-03-02T01:00:00+01:00")
QUEUE = {"name": "default", "ready": 2, "running": 1, "oldest_ready_at": None, "workers": 1, "slots": 4}
PREVIEW: dict[str, Any] = {
    "workflow": "report",
    "trigger": "hourly",
    "from_at": "2026-03-01T00:00:00Z",
    "to_at": "2026-03-02T00:00:00Z",
    "due_times": 24,
    "missing": 7,
    "to_start": 7,
    "first_at": "2026-03-01T00:00:00Z",
    "last_at": "2026-03-01T23:00:00Z",
    "at_a_time": 2,
    "mean_run_seconds": 90.0,
    "expected_seconds": 360.0,
    "queues": [QUEUE, {**QUEUE, "name": "gpu", "workers": 0}],
}


def a_backfill(state: str = "running", **changed: Any) -> dict[str, Any]:
    values = {
        "id": ID,
        "workflow": "report",
        "trigger": "hourly",
        "from_at": "2026-03-01T00:00:00Z",
        "to_at": "2026-03-02T00:00:00Z",
        "only_missing": False,
        "max_parallel": 2,
        "priority": "low",
        "state": state,
        "reason": None,
        "next_at": None,
        "total": 24,
        "started": 20,
        "skipped": 3,
        "created_at": "2026-03-03T00:00:00Z",
        "created_by": "key:x",
        "finished_at": None,
        "runs": {"succeeded": 20},
    }
    return {**values, **changed}


def test_a_backfill_is_made_and_its_id_printed(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /backfills", (202, a_backfill()))
    finished = orrery(
        "backfill",
        "report",
        *RANGE,
        "--trigger",
        "hourly",
        "--only-missing",
        "--max-parallel",
        "2",
        "--priority",
        "high",
    )
    assert (finished.code, finished.out) == (0, f"{ID}\n")
    assert server.received[0].json == {
        "workflow": "report",
        "trigger": "hourly",
        "from": "2026-03-01T00:00:00Z",
        "to": "2026-03-02T00:00:00Z",
        "only_missing": True,
        "max_parallel": 2,
        "priority": "high",
    }


def test_a_dry_run_tells_the_cost(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /backfills", (200, PREVIEW))
    finished = orrery("backfill", "report", *RANGE, "--dry-run")
    assert server.received[0].json["dry_run"] is True
    lines = [" ".join(line.split()) for line in finished.out.splitlines()]
    assert "due times 24" in lines
    assert "without a run 7" in lines
    assert "expected 6m 0s" in lines
    assert "queue default: 4 slots, 1 running, 2 waiting" in lines
    assert "queue gpu: no live worker serves it" in lines
    assert json.loads(orrery("backfill", "report", *RANGE, "--dry-run", "--json").out) == PREVIEW


@pytest.mark.parametrize(
    ("over", "code"),
    [
        (a_backfill("finished"), 0),
        (a_backfill("finished", runs={}), 0),
        (a_backfill("finished", runs={"succeeded": 3, "failed": 1}), 1),
        (a_backfill("cancelled"), 1),
        (a_backfill("paused", reason="the workflow is disabled"), 1),
    ],
)
def test_waiting_ends_with_the_backfill_and_says_how(
    orrery: CommandLine, server: CannedServer, over: dict[str, Any], code: int
) -> None:
    server.on("POST /backfills", (202, a_backfill()))
    server.on(f"GET /backfills/{ID}", (200, a_backfill()), (200, over))
    finished = orrery("backfill", "report", *RANGE, "--wait")
    assert (finished.code, finished.out) == (code, f"{ID}\n")
    assert finished.err.startswith(over["state"])
    assert (over["reason"] or "") in finished.err


@pytest.mark.parametrize(
    "argv",
    [
        ("backfill", "report"),
        ("backfill", "report", "--from", "2026-03-01", "--to", "2026-03-02T00:00:00Z"),
        ("backfill", "report", "--from", "yesterday", "--to", "2026-03-02T00:00:00Z"),
        ("backfill", "report", *RANGE, "--max-parallel", "0"),
        ("backfill", "report", *RANGE, "--priority", "urgent"),
        ("backfill", "report", *RANGE, "--dry-run", "--wait"),
        ("backfills", "pause"),
        ("backfills", "stop", ID),
        ("backfills", "show", ID, "--workflow", "report"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_asked(
    orrery: CommandLine, server: CannedServer, argv: tuple[str, ...]
) -> None:
    assert orrery(*argv).code == 2
    assert server.received == []


def test_backfills_are_listed_shown_and_switched(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /backfills", (200, {"items": [a_backfill(runs=None)], "next_cursor": "c"}))
    listed = orrery("backfills", "--workflow", "report")
    assert "23/24" in listed.out
    assert listed.err == "more: --cursor c\n"
    server.on(f"GET /backfills/{ID}", (200, a_backfill(runs={"succeeded": 19, "failed": 1})))
    shown = [" ".join(line.split()) for line in orrery("backfills", "show", ID).out.splitlines()]
    assert "runs 1 failed, 19 succeeded" in shown
    for action, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelling")):
        server.on(f"POST /backfills/{ID}/{action}", (200, a_backfill(state)))
        assert orrery("backfills", action, ID).out == f"{ID} {state}\n"


def test_runs_are_listed_by_backfill(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /runs", (200, {"items": [], "next_cursor": None}))
    orrery("runs", "--backfill", ID)
    assert server.received[0].query["backfill"] == ID

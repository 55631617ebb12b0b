"""Alerts and heartbeats from the command line."""

import json
from typing import Any

import pytest

from tests.support.canned_server import CannedServer
from tests.support.command_line import CommandLine

ALERT: dict[str, Any] = {
    "id": "01990000-0000-7000-8000-00000000000e",
    "kind": "heartbeat_missed",
    "message": "the heartbeat backup did not ping",
    "at": "2026-03-29T01:00:00Z",
    "resolved_at": None,
}
HEARTBEAT: dict[str, Any] = {
    "name": "backup",
    "state": "up",
    "every": "1h",
    "schedule": None,
    "timezone": "UTC",
    "grace": "5m",
    "due_at": "2026-03-29T02:00:00Z",
    "down_at": "2026-03-29T02:05:00Z",
    "last_ping_at": "2026-03-29T01:00:00Z",
    "started_at": None,
    "took_ms": 90_500,
    "last_signal": "ping",
    "last_signal_at": "2026-03-29T01:00:00Z",
    "last_message": "12 files",
    "message_truncated": True,
}
PATH = "/heartbeat/orh_token"


def test_alerts_are_listed_and_filtered(orrery: CommandLine, server: CannedServer) -> None:
    resolved = {**ALERT, "resolved_at": "2026-03-29T03:00:00Z"}
    server.on("GET /alerts", (200, {"items": [ALERT, resolved], "next_cursor": "c1"}))
    finished = orrery("alerts", "--open", "--kind", "heartbeat_missed", "--workflow", "w", "--limit", "2")
    lines = finished.out.splitlines()
    assert lines[1].split("  ") == ["2026-03-29 01:00:00Z", "heartbeat_missed", "open", *[""] * 8, ALERT["message"]]
    assert "2026-03-29 03:00:00Z" in lines[2]
    assert finished.err == "more: --cursor c1\n"
    assert server.received[0].query == {"kind": "heartbeat_missed", "open": "true", "workflow": "w", "limit": "2"}
    assert json.loads(orrery("alerts", "--json").out)["items"] == [ALERT, resolved]
    assert server.received[1].query == {"limit": "50"}


def test_without_alerts_the_list_says_so(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /alerts", (200, {"items": [], "next_cursor": None}))
    assert orrery("alerts").out == "no alerts\n"


def test_a_new_heartbeat_prints_its_address_alone_on_standard_output(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /heartbeats", (201, {"heartbeat": HEARTBEAT, "ping_path": PATH}))
    finished = orrery("heartbeats", "create", "backup", "--every", "1h", "--grace", "10m")
    assert (finished.code, finished.out) == (0, f"{server.url}{PATH}\n")
    assert finished.err == "backup: due 2026-03-29 02:00:00Z; the address is not shown again\n"
    assert server.received[0].json == {"name": "backup", "every": "1h", "grace": "10m"}
    orrery("heartbeats", "create", "nightly", "--schedule", "0 2 * * *", "--timezone", "Europe/Berlin")
    assert server.received[1].json == {"name": "nightly", "schedule": "0 2 * * *", "timezone": "Europe/Berlin"}
    shown = json.loads(orrery("heartbeats", "create", "backup", "--every", "1h", "--json").out)
    assert shown["ping_url"] == f"{server.url}{PATH}"


def test_an_address_that_was_lost_with_its_answer_is_said_so(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /heartbeats", (201, {"heartbeat": HEARTBEAT, "ping_path": None}))
    finished = orrery("heartbeats", "create", "backup", "--every", "1h")
    assert (finished.code, finished.out) == (1, "")
    assert "orrery heartbeats rotate backup makes another" in finished.err


@pytest.mark.parametrize("argv", [(), ("--every", "1h", "--schedule", "@daily")])
def test_a_heartbeat_has_either_an_interval_or_a_schedule(orrery: CommandLine, argv: tuple[str, ...]) -> None:
    finished = orrery("heartbeats", "create", "backup", *argv)
    assert (finished.code, finished.err) == (2, "orrery: give either --every INTERVAL or --schedule EXPR\n")


def test_every_fault_of_a_heartbeat_is_a_line(orrery: CommandLine, server: CannedServer) -> None:
    faults = [{"loc": ["body", "grace"], "code": "invalid_duration", "msg": "expected a duration"}]
    server.on("POST /heartbeats", (422, {"code": "invalid_duration", "detail": "no", "errors": faults}))
    finished = orrery("heartbeats", "create", "backup", "--every", "1h", "--grace", "5 min")
    assert (finished.code, finished.err) == (1, "backup: grace: expected a duration\norrery: no\n")


def test_heartbeats_are_listed_and_shown(orrery: CommandLine, server: CannedServer) -> None:
    nightly = {**HEARTBEAT, "name": "nightly", "every": None, "schedule": "0 2 * * *", "timezone": "Europe/Berlin"}
    down = {**nightly, "state": "down", "down_at": None}
    server.on("GET /heartbeats", (200, {"items": [HEARTBEAT, down], "next_cursor": None}))
    server.on("GET /heartbeats/backup", (200, HEARTBEAT))
    up, silent = orrery("heartbeats", "list").out.splitlines()[1:]
    assert up.split() == ["backup", "up", "every", "1h", "5m", "2026-03-29", "01:00:00Z", "2026-03-29", "02:00:00Z"]
    assert silent.split()[:8] == ["nightly", "down", "0", "2", "*", "*", "*", "Europe/Berlin"]
    assert silent.count("Z") == 1  # nothing is due of what is down
    shown = orrery("heartbeats", "show", "backup").out
    assert "last message  12 files (cut)" in shown
    assert "took          90.5s" in shown
    assert json.loads(orrery("heartbeats", "show", "backup", "--json").out) == HEARTBEAT


def test_a_heartbeat_is_paused_resumed_rotated_and_deleted(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /heartbeats/backup/pause", (200, {**HEARTBEAT, "state": "paused"}))
    server.on("POST /heartbeats/backup/resume", (200, {**HEARTBEAT, "state": "new"}))
    server.on("POST /heartbeats/backup/rotate", (200, {"heartbeat": HEARTBEAT, "ping_path": PATH}))
    server.on("DELETE /heartbeats/backup", (204, b""))
    assert orrery("heartbeats", "pause", "backup").out == "backup: paused\n"
    assert orrery("heartbeats", "resume", "backup").out == "backup: new, due 2026-03-29 02:00:00Z\n"
    assert orrery("heartbeats", "rotate", "backup").out == f"{server.url}{PATH}\n"
    assert orrery("heartbeats", "delete", "backup").out == "backup: deleted\n"


def test_an_unknown_command_below_heartbeats_is_a_usage_error(orrery: CommandLine) -> None:
    finished = orrery("heartbeats", "frobnicate")
    assert (finished.code, finished.err.count("\n")) == (2, 1)

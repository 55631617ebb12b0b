"""Which server a command talks to, with which key, and what it says when that fails."""

import json
from pathlib import Path

from tests.support.canned_server import CannedServer
from tests.support.command_line import CommandLine

NOTHING: dict[str, object] = {"items": [], "next_cursor": None}


def test_the_local_admin_is_used_where_no_key_is_set(orrery: CommandLine, server: CannedServer, tmp_path: Path) -> None:
    del orrery.environ["ORRERY_API_KEY"]
    (tmp_path / "orrery-data").mkdir()
    (tmp_path / "orrery-data/admin.json").write_text(json.dumps({"user": "admin", "api_key": "ork_local"}))
    server.on("GET /workflows", (200, NOTHING))
    assert orrery("workflows").code == 0
    assert server.received[0].headers["authorization"] == "Bearer ork_local"


def test_no_server_is_one_line(orrery: CommandLine) -> None:
    orrery.environ["ORRERY_URL"] = "http://127.0.0.1:1"
    finished = orrery("workflows")
    assert (finished.code, finished.err.count("\n")) == (1, 1)
    assert finished.err.startswith("orrery: no server answers at http://127.0.0.1:1")


def test_a_missing_key_tells_how_to_give_one(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /workflows", (401, {"code": "missing_credential", "detail": "a credential is needed"}))
    finished = orrery("workflows")
    assert finished.code == 1
    assert "a credential is needed (set ORRERY_API_KEY" in finished.err


def test_what_is_no_orrery_server_is_said_so(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /workflows", (200, b"<html>"))
    assert orrery("workflows").err == "orrery: what answers there is not an Orrery server\n"


def test_a_server_that_is_overloaded_is_asked_again_with_the_same_key(
    orrery: CommandLine, server: CannedServer
) -> None:
    workflow = {"name": "report"}
    server.on("POST /workflows/report/enable", (503, {"code": "unavailable"}), (200, workflow))
    assert orrery("enable", "report").out == "report: enabled\n"
    assert len({request.headers["idempotency-key"] for request in server.received}) == 1
    assert len(server.received) == 2


def test_what_a_server_sends_cannot_rewrite_the_screen(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /workflows", (404, {"code": "not_found", "detail": "no \x1b]0;title\x07 here"}))
    assert orrery("workflows").err == "orrery: no \\x1b]0;title\\x07 here\n"

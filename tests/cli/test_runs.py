"""Starting, watching and ending runs from the command line."""

import json
from typing import Any

from tests.support.canned_server import CannedServer
from tests.support.command_line import CommandLine

RUN = "0190aaaa-0000-7000-8000-000000000001"


def a_run(**fields: Any) -> dict[str, Any]:
    return {
        "id": RUN,
        "workflow": "report",
        "version": 2,
        "state": "succeeded",
        "trigger": None,
        "started_by": "key:ab12cd34",
        "due_at": None,
        "inputs": {},
        "priority": "normal",
        "created_at": "2026-03-29T01:00:00Z",
        "started_at": "2026-03-29T01:00:00Z",
        "finished_at": "2026-03-29T01:01:05Z",
        "tasks_total": 1,
        "tasks_left": 0,
        "tasks_failed": 0,
        "error": None,
        "tasks": None,
        **fields,
    }


def a_line(number: int, text: str, **fields: Any) -> dict[str, Any]:
    return {
        "cursor": str(number),
        "task": "extract",
        "item_index": None,
        "attempt": 1,
        "stream": "stdout",
        "at": "2026-03-29T01:00:00Z",
        "text": text,
        "truncated": False,
        **fields,
    }


def events(*lines: dict[str, Any], end: bool = True) -> bytes:
    text = "".join(f"event: line\nid: {line['cursor']}\ndata: {json.dumps(line)}\n\n" for line in lines)
    return ("retry: 1000\n\n: ping\n\n" + text + ('event: end\ndata: {"finished": true}\n\n' if end else "")).encode()


def test_run_prints_the_id_and_returns_at_once(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /workflows/report/run", (202, {"run_id": RUN, "state": "running"}))
    finished = orrery("run", "report")
    assert (finished.code, finished.out, finished.err) == (0, f"{RUN}\n", "")
    (request,) = server.received
    assert request.json == {"inputs": {}}
    assert request.headers["authorization"] == "Bearer ork_test"
    assert len(request.headers["idempotency-key"]) == 36


def test_inputs_become_what_the_live_version_declares(orrery: CommandLine, server: CannedServer) -> None:
    declared = {"day": {"type": "string"}, "count": {"type": "integer"}, "regions": {"type": "array"}}
    server.on("GET /workflows/report", (200, {"live_version": 2}))
    server.on("GET /workflows/report/versions/2", (200, {"definition": {"inputs": declared}}))
    server.on("POST /workflows/report/run", (202, {"run_id": RUN, "state": "running"}))
    argv = ["-i", "day=2026", "-i", "count=5", "--input", 'regions=["eu"]', "-i", "free=a=b"]
    assert orrery("run", "report", *argv).code == 0
    assert server.received[-1].json == {"inputs": {"day": "2026", "count": 5, "regions": ["eu"], "free": "a=b"}}


def test_inputs_may_come_from_standard_input(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /workflows/report/run", (202, {"run_id": RUN, "state": "running"}))
    assert orrery("run", "report", "--inputs", "-", stdin='{"day": "x"}').code == 0
    assert server.received[-1].json == {"inputs": {"day": "x"}}
    assert orrery("run", "report", "--inputs", "-", stdin="").code == 2
    assert orrery("run", "report", "-i", "novalue").code != 0


def test_wrong_inputs_are_named_one_by_one(orrery: CommandLine, server: CannedServer) -> None:
    errors = [
        {"loc": ["body", "inputs", "day"], "code": "missing_input", "msg": "is required"},
        {"loc": ["body", "inputs", "x"], "code": "unknown_input", "msg": "is not an input"},
    ]
    problem = {"code": "invalid_definition", "detail": "is required; and 1 more", "errors": errors}
    server.on("POST /workflows/report/run", (422, problem))
    finished = orrery("run", "report")
    assert finished.code == 1
    assert "report: inputs.day: is required\nreport: inputs.x: is not an input\n" in finished.err


def test_wait_ends_with_the_run_and_tells_its_state_by_the_exit_code(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /workflows/report/run", (202, {"run_id": RUN, "state": "running"}))
    server.on(f"GET /runs/{RUN}", (200, a_run(state="running")), (200, a_run()))
    finished = orrery("run", "report", "--wait")
    assert (finished.code, finished.out, finished.err) == (0, f"{RUN}\n", "succeeded 1m 5s\n")
    server.on(f"GET /runs/{RUN}", (200, a_run(state="failed")))
    assert orrery("run", "report", "--wait").code == 1


def test_follow_prints_the_log_and_comes_back_after_a_cut(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /workflows/report/run", (202, {"run_id": RUN, "state": "running"}))
    server.on(f"GET /runs/{RUN}", (200, a_run()))
    server.on(f"GET /runs/{RUN}/logs", (200, events(a_line(1, "one"), end=False)), (200, events(a_line(2, "two"))))
    finished = orrery("run", "report", "--follow")
    assert finished.out == f"{RUN}\nextract | one\nextract | two\n"
    assert server.received[2].headers["last-event-id"] == "1"


def test_logs_page_to_the_end_and_mark_what_was_cut(orrery: CommandLine, server: CannedServer) -> None:
    full = {"items": [a_line(n, str(n)) for n in range(1000)], "next_cursor": "999", "finished": True}
    last = {"items": [a_line(1000, "x", item_index=3, truncated=True)], "next_cursor": "1000", "finished": True}
    server.on(f"GET /runs/{RUN}/logs", (200, full), (200, last))
    lines = orrery("logs", RUN, "extract").out.splitlines()
    assert len(lines) == 1001
    assert lines[-1] == "extract[3] | x [truncated: the rest went over the limit]"
    assert [request.query.get("cursor") for request in server.received] == [None, "999"]
    assert server.received[0].query["task"] == "extract"


def test_runs_are_listed_for_people_and_for_programs(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /runs", (200, {"items": [a_run()], "next_cursor": "next"}))
    finished = orrery("runs", "--workflow", "report", "--state", "succeeded")
    assert finished.out.splitlines()[0].split() == ["RUN", "WORKFLOW", "VERSION", "STATE", "BY", "CREATED", "TOOK"]
    assert f"{RUN}  report    2        succeeded  key:ab12cd34  2026-03-29 01:00:00Z  1m 5s" in finished.out
    assert finished.err == "more: --cursor next\n"
    assert server.received[0].query == {"workflow": "report", "state": "succeeded", "limit": "50"}
    assert json.loads(orrery("runs", "--json").out)["items"][0]["id"] == RUN


def test_show_tells_a_run_from_a_workflow(orrery: CommandLine, server: CannedServer) -> None:
    task = {
        "task": "load",
        "item_index": None,
        "state": "failed",
        "attempt": 3,
        "started_at": "2026-03-29T01:00:00Z",
        "finished_at": "2026-03-29T01:00:01Z",
        "error": {"code": "exit_code", "message": "ended with 75"},
    }
    server.on(f"GET /runs/{RUN}", (200, a_run(tasks=[task])))
    out = orrery("show", RUN).out
    assert "workflow  report (version 2)" in out
    assert "load  failed  3        2026-03-29 01:00:00Z  1.0s  ended with 75" in out


def test_cancel_and_rerun(orrery: CommandLine, server: CannedServer) -> None:
    server.on(f"POST /runs/{RUN}/cancel", (202, a_run(state="cancelling")))
    server.on(f"POST /runs/{RUN}/rerun", (202, {"run_id": "new", "state": "running"}))
    assert orrery("cancel", RUN).out == f"{RUN} cancelling\n"
    assert orrery("rerun", RUN, "--from-failed").out == "new\n"
    assert server.received[-1].json == {"from_failed": True}


def test_a_conflict_is_one_plain_line(orrery: CommandLine, server: CannedServer) -> None:
    problem = {"code": "already_finished", "detail": "the run has already succeeded"}
    server.on(f"POST /runs/{RUN}/cancel", (409, problem))
    finished = orrery("cancel", RUN)
    assert (finished.code, finished.err) == (1, "orrery: the run has already succeeded\n")

"""The clock, the explanation and the workers from the command line."""

import json
from typing import Any

from tests.support.canned_server import CannedServer
from tests.support.command_line import CommandLine

RUN = "0190aaaa-0000-7000-8000-000000000001"
FIRE = {"at": "2026-03-29T01:00:00Z", "local": "2026-03-29T03:00:00+02:00", "note": "the hour was skipped"}
TRIGGER: dict[str, Any] = {"workflow": "report", "name": "schedule-1", "paused": False, "next_at": FIRE["at"]}


def a_worker(worker_id: str, state: str = "active") -> dict[str, Any]:
    return {
        "id": worker_id,
        "name": "node-1",
        "state": state,
        "queues": ["default", "gpu"],
        "slots": 8,
        "running": 3,
        "version": "0.1.0",
    }


def test_next_lists_what_each_trigger_will_do(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /workflows/report/next", (200, {"items": [{"trigger": TRIGGER, "fires": [FIRE]}]}))
    finished = orrery("next", "report", "-n", "3")
    assert "schedule-1  2026-03-29 01:00:00Z  2026-03-29 03:00:00+02:00  the hour was skipped" in finished.out
    assert server.received[0].query == {"count": "3"}


def test_next_wants_either_a_workflow_or_a_schedule(orrery: CommandLine) -> None:
    for argv in (
        ["next"],
        ["next", "report", "--schedule", "* * * * *"],
        ["next", "report", "--timezone", "Europe/Rome"],
    ):
        assert orrery(*argv).code == 2
    for argv in (["-n", "0"], ["-n", "101"], ["--after", "tomorrow"], ["--after", "2026-03-29T00:00:00"]):
        assert orrery("next", "--schedule", "* * * * *", *argv).code == 2


def test_pause_and_resume_tell_what_happens_next(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /workflows/report/pause", (200, {"items": [{**TRIGGER, "paused": True}]}))
    server.on("POST /workflows/report/resume", (200, {"items": [TRIGGER]}))
    assert orrery("pause", "report").out == "report schedule-1: paused\n"
    assert orrery("resume", "report").out == "report schedule-1: resumed, next 2026-03-29 01:00:00Z\n"


def test_why_explains_a_time_a_run_and_a_task(orrery: CommandLine, server: CannedServer) -> None:
    facts = [{"code": "paused", "text": "It was paused."}, {"code": "since", "text": "paused since noon"}]
    explanation = {"summary": "It was paused.", "facts": facts}
    server.on("GET /why", (200, explanation))
    assert orrery("why", "report", "--at", FIRE["at"]).out == "It was paused.\n  - paused since noon\n"
    assert json.loads(orrery("why", RUN, "load", "--json").out) == explanation
    assert orrery("why", "report", "load").code == 2
    assert [request.query for request in server.received] == [
        {"workflow": "report", "at": FIRE["at"]},
        {"run": RUN, "task": "load"},
    ]


def test_a_worker_is_drained_by_its_name_or_its_id(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /workers", (200, {"items": [a_worker("w1"), a_worker("w0", "gone")]}))
    server.on("POST /workers/w1/drain", (202, a_worker("w1", "draining")))
    assert orrery("drain", "node-1").out == "node-1 w1: draining\n"
    assert orrery("drain", "w1").code == 0


def test_a_name_that_two_live_workers_have_is_not_guessed(orrery: CommandLine, server: CannedServer) -> None:
    server.on("GET /workers", (200, {"items": [a_worker("w1"), a_worker("w2")]}))
    finished = orrery("drain", "node-1")
    assert (finished.code, finished.err) == (1, "orrery: 2 workers are named node-1: give an id of w1, w2\n")


def test_workers_and_queues_are_listed(orrery: CommandLine, server: CannedServer) -> None:
    queue = {"name": "gpu", "ready": 4, "running": 3, "oldest_ready_at": None, "workers": 1, "slots": 8}
    server.on("GET /workers", (200, {"items": [a_worker("w1")]}))
    server.on("GET /queues", (200, {"items": [queue]}))
    assert "w1      node-1  active  3/8   default, gpu  0.1.0" in orrery("workers").out
    assert "gpu    4        3        1        8" in orrery("queues").out
    assert json.loads(orrery("queues", "--json").out) == {"items": [queue]}


FREEZE: dict[str, Any] = {
    "id": RUN,
    "label": None,
    "reason": "stock-taking",
    "starts_at": "2026-12-24T12:00:00Z",
    "ends_at": "2026-12-27T06:00:00Z",
    "lifted_at": None,
    "created_at": "2026-12-01T12:00:00Z",
    "created_by": "key:admin",
    "held": 3,
}


def test_schedules_are_frozen_listed_and_unfrozen(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /freezes", (201, FREEZE))
    server.on("GET /freezes", (200, {"items": [FREEZE], "next_cursor": None}))
    server.on(f"POST /freezes/{RUN}/lift", (200, {**FREEZE, "lifted_at": "2026-12-25T00:00:00Z"}))
    said = orrery("freeze", "--reason", "stock-taking", "--until", "2026-12-27T07:00:00+01:00").out
    assert said == f"{RUN}: the project frozen until 2026-12-27 06:00:00Z\n"
    assert json.loads(server.received[0].body) == {
        "reason": "stock-taking",
        "ends_at": "2026-12-27T06:00:00+00:00",
        "starts_at": None,
        "label": None,
    }
    assert "stock-taking" in orrery("freezes").out
    assert json.loads(orrery("freezes", "--json").out)["items"] == [FREEZE]
    assert orrery("unfreeze", RUN).out == f"{RUN}: over since 2026-12-25 00:00:00Z\n"


def test_a_freeze_may_last_a_span_from_a_start(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /freezes", (201, {**FREEZE, "label": "payroll"}))
    start = "2026-12-24T12:00:00Z"
    said = orrery("freeze", "--reason", "x", "--since", start, "--span", "1d12h", "--label", "payroll").out
    assert "label payroll frozen" in said
    assert json.loads(server.received[0].body)["ends_at"] == "2026-12-26T00:00:00+00:00"


def test_a_freeze_wants_one_end(orrery: CommandLine) -> None:
    until = ["--until", "2026-12-27T06:00:00Z"]
    for argv in (
        [],
        [*until, "--span", "1h"],
        ["--until", "soon"],
        ["--span", "soon"],
        ["--span", "1h", "--since", "x"],
    ):
        assert orrery("freeze", "--reason", "x", *argv).code == 2
